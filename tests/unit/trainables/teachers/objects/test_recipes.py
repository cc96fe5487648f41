"""The parts of the recipes against torch's and transformers' own, and against numbers worked by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPTokenizer

from trainables.datasets.scenes import language
from trainables.teachers.objects import beit, clip, dino
from trainables.teachers.objects.recipe import Schedule, crops, normalised, relit

LABELS = torch.tensor([0, 5])
CAPTIONS = ["a small red ring left of a large blue star", "three shapes : red ring"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_rate_warms_up_in_a_line_and_falls_as_a_cosine() -> None:
    schedule = Schedule(steps=100, lr=0.2, warmup_steps=10)
    assert schedule.rate(0) == pytest.approx(0.02)
    assert schedule.rate(50) == pytest.approx(0.1)
    assert schedule.rate(25) == pytest.approx(0.2 * (1 + math.sqrt(0.5)) / 2)


def test_pixels_are_normalised_with_mean_and_deviation() -> None:
    pixels = torch.zeros(1, 48, 48, 3, dtype=torch.uint8)
    pixels[..., 1] = 255
    found = normalised(pixels)
    assert found.shape == (1, 3, 48, 48)
    assert found[0, :, 0, 0].tolist() == pytest.approx([-1.6, 2.4, -1.6])


def test_crops_show_a_part_of_the_picture() -> None:
    plain = torch.arange(3.0)[None, :, None, None].expand(8, 3, 48, 48)
    assert torch.allclose(crops(plain, 24, (0.1, 0.4)), plain[..., :24, :24], atol=1e-5)
    ramp = torch.linspace(0, 1, 48).expand(64, 3, 48, 48)
    found = crops(ramp, 24, (0.25, 0.25), mirrored=False)
    assert found.shape == (64, 3, 24, 24)
    across = found[..., -1] - found[..., 0]
    # a quarter of the area is between 0.43 and 0.58 wide; 23 of 24 steps lie between the centres of the first and last pixel
    assert float(across.min()) > 0.43 * 23 / 24 * 48 / 47 - 0.01
    assert float(across.max()) < 0.58 * 23 / 24 * 48 / 47 + 0.01
    turned = crops(ramp, 24, (0.25, 0.25))
    share = ((turned[..., -1] - turned[..., 0]).mean((1, 2)) < 0).float().mean()
    assert 0.25 < float(share) < 0.75


def test_relit_pictures_differ_by_a_gain_and_a_gradient_only() -> None:
    picture = torch.randn(1, 3, 16, 16)
    found = relit(picture)
    steps = torch.ones(16 * 16), torch.linspace(-1, 1, 16).expand(16, 16)
    for channel in range(3):
        best = []
        for ramp in (steps[1], steps[1].T):
            columns = torch.stack([picture[0, channel].flatten(), steps[0], ramp.flatten()], dim=1)
            fit = torch.linalg.lstsq(columns, found[0, channel].flatten()[:, None]).solution
            best.append(float((columns @ fit - found[0, channel].flatten()[:, None]).abs().max()))
        assert min(best) < 1e-4


def test_every_word_is_one_token_and_any_text_can_be_spelled() -> None:
    vocabulary, merges = clip.pair_encoding(language.VOCABULARY)
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges)
    for word in language.VOCABULARY:
        assert tokenizer.tokenize(word) == [f"{word}</w>"]
    assert vocabulary[clip.END] == len(vocabulary) - 1
    read = tokenizer("a Zebra runs ünder 9 trees!")["input_ids"]
    assert (read[0], read[-1], read.count(vocabulary[clip.END])) == (
        vocabulary[clip.BEGIN],
        vocabulary[clip.END],
        1,
    )
    assert tokenizer.decode(read, skip_special_tokens=True) == "a zebra runs ünder 9 trees !"


def test_pairs_are_merged_from_the_most_frequent_on() -> None:
    _, merges = clip.pair_encoding(["abab", "ab", "c"])
    assert merges == [("a", "b</w>"), ("a", "b"), ("ab", "ab</w>")], "a word ends in a letter of its own"


def test_clip_loss_is_that_of_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip, "SHORT", 0.0)
    recipe = clip.Clip()
    pixels = torch.randn(2, 3, 48, 48)
    read = recipe.tokenizer(CAPTIONS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = recipe.model(pixel_values=pixels, **read, return_loss=True)
        found = recipe.loss(pixels, CAPTIONS, labels=LABELS, done=0.0)
        assert torch.allclose(found, expected.loss, atol=1e-6)


def test_a_short_caption_is_true_of_all_pictures_of_its_class() -> None:
    labels, short = torch.tensor([0, 5, 0, 5]), torch.tensor([True, False, False, False])
    texts, true = clip.short_captions(["k", "l", "m", "n"], labels, short)
    assert texts == ["a large red circle", "l", "m", "n"]
    assert true.tolist() == [
        [True, False, False, False],
        [False, True, False, False],
        [True, False, True, False],
        [False, False, False, True],
    ]


def test_what_is_true_of_a_picture_shares_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip, "SHORT", 1.0)
    recipe, pixels, labels = clip.Clip(), torch.randn(3, 3, 48, 48), torch.tensor([7, 3, 7])
    names = ["a large green square", "a large red star", "a large green square"]
    with torch.no_grad():
        found = recipe.loss(pixels, ["a", "b", "c"], labels=labels, done=0.0)
        read = recipe.tokenizer(names, padding=True, return_tensors="pt")
        logits = recipe.model(pixel_values=pixels, **read).logits_per_image
        of_pictures, of_texts = logits.log_softmax(1), logits.log_softmax(0)
        by_hand = [of_pictures[0, [0, 2]].mean(), of_pictures[1, 1], of_pictures[2, [0, 2]].mean()]
        by_hand += [of_texts[[0, 2], 0].mean(), of_texts[1, 1], of_texts[[0, 2], 2].mean()]
    assert torch.allclose(found, -torch.stack(by_hand).mean(), atol=1e-6)


def test_the_scale_of_clip_stays_in_range() -> None:
    recipe = clip.Clip()
    recipe.model.logit_scale.data.fill_(9.0)
    recipe.after_step(0.5)
    assert float(recipe.model.logit_scale.detach().exp()) == pytest.approx(100, rel=1e-5)


def test_words_are_those_of_the_nearest_entries() -> None:
    pixels = torch.randn(4, 3, 48, 48)
    patches = beit.patches_of(pixels)
    assert patches.shape == (4, 36, 48)
    third_row_second_column = F.avg_pool2d(pixels[1, :, 16:24, 8:16], 2)
    assert torch.allclose(patches[1, 13].view(3, 4, 4), third_row_second_column, atol=1e-6)
    codebook = torch.randn(10, 48)
    assert torch.equal(beit.words_of(patches, codebook), torch.cdist(patches, codebook).argmin(-1))


def test_codebook_finds_the_kinds_of_patches_that_there_are() -> None:
    kinds = 3 * torch.randn(beit.WORDS, 48)
    patches = kinds.repeat(4, 1) + 0.01 * torch.randn(4 * beit.WORDS, 48)
    found = beit.make_codebook(patches)
    assert found.shape == kinds.shape
    assert float(torch.cdist(kinds, found).min(1).values.max()) < 0.1


def test_enough_patches_are_hidden_in_blocks() -> None:
    hidden = beit.hidden_blocks(50)
    shares = hidden.float().mean(1)
    assert hidden.shape == (50, 36)
    assert bool((shares >= 0.4).all())
    assert bool((shares < 0.4 + 9 / 36).all()), "the last block has nine patches at most"


def test_beit_looks_at_labels_in_the_second_part_only() -> None:
    recipe = beit.Beit().eval()
    pixels = torch.randn(2, 3, 48, 48)
    recipe.prepare(torch.randn(40, 3, 48, 48))
    recipe.loss(pixels, [], labels=LABELS, done=0.0).backward()
    assert recipe.classes.weight.grad is None
    recipe.zero_grad()
    recipe.loss(pixels, [], labels=LABELS, done=0.9).backward()
    assert float(recipe.classes.weight.grad.abs().sum()) > 0
    assert recipe.words[1].weight.grad is None


def test_dino_teaches_itself_without_gradient_to_the_average() -> None:
    recipe = dino.Dino()
    recipe.loss(torch.randn(2, 3, 48, 48), [], labels=LABELS, done=0.0).backward()
    assert all(one.grad is None for one in recipe.teacher.parameters())
    assert all(one.grad is not None for one in recipe.student.projection.parameters())
    assert float(recipe.center.abs().sum()) > 0


def test_dino_looks_at_labels_in_the_second_part_only() -> None:
    recipe = dino.Dino()
    recipe.loss(torch.randn(2, 3, 48, 48), [], labels=LABELS, done=0.0).backward()
    assert recipe.classes.weight.grad is None
    recipe.zero_grad()
    recipe.loss(torch.randn(2, 3, 48, 48), [], labels=LABELS, done=0.9).backward()
    assert float(recipe.classes.weight.grad.abs().sum()) > 0
    assert recipe.student.projection.prototypes.weight.grad is None


def test_dino_average_moves_by_the_momentum_of_the_schedule() -> None:
    recipe = dino.Dino()
    with torch.no_grad():
        for one in recipe.student.parameters():
            one.add_(1.0)
    before = [one.clone() for one in recipe.teacher.parameters()]
    recipe.after_step(0.5)  # halfway: 0.99 has risen to 0.995
    for old, new in zip(before, recipe.teacher.parameters(), strict=True):
        assert torch.allclose(new - old, torch.full_like(old, 0.005), atol=1e-6)
    recipe.after_step(1.0)
    moved = next(iter(recipe.teacher.parameters())) - before[0]
    assert torch.allclose(moved, torch.full_like(moved, 0.005), atol=1e-6), "at the end it stands still"
