"""What a model says about a split: counted by hand on a fake speaker, and row by row on a real model."""

import copy
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.trainables.small import (
    CPU,
    assert_near,
    encoded,
    lively,
    measured,
    small_config,
    told,
)
from tests.unit.trainables.tasks.fake_speaker import FakeSpeaker
from trainables.datasets.encoded import EncodedSplit
from trainables.families.base import Family, Inputs
from trainables.families.blip.model import Blip
from trainables.signals import Batch, Signals, Want, Wants
from trainables.tasks import pool as module
from trainables.tasks.captioning import Captioning
from trainables.tasks.pool import EvaluationSize, Pool
from trainables.tasks.vqa import Vqa
from trainables.teachers.teacher import Teacher

ALL = EvaluationSize(images=24, captions_per_image=4, questions_per_image=4)
IMAGE, TEXT = Want("image", "embedding"), Want("text", "embedding")


@pytest.fixture(scope="module")
def split(teacher: Teacher) -> EncodedSplit:
    return encoded(teacher, "val", val_images=24)


def rows(split: EncodedSplit, kind: str) -> list[list[int]]:
    """Return the token ids of every caption or question row, without padding."""
    table = split.tables[kind]
    return [table.ids[r, : table.lengths[r]].tolist() for r in range(len(table.ids))]


def caption_accuracy(model: Family, split: EncodedSplit) -> dict[str, float]:
    return Captioning(Captioning.Config()).evaluate(Pool(model, split, CPU, size=ALL))


def answer_accuracy(model: Family, split: EncodedSplit) -> dict[str, float]:
    return Vqa(Vqa.Config()).evaluate(Pool(model, split, CPU, size=ALL))


def commonest_successors(texts: list[list[int]]) -> dict[int, int]:
    pairs = Counter(pair for text in texts for pair in pairwise(text))
    best: dict[int, int] = {}
    for (token, following), _ in reversed(pairs.most_common()):
        best[token] = following
    return best


def test_caption_token_accuracy_counts_every_token_after_the_first(split: EncodedSplit) -> None:
    v = small_config().vocabulary
    texts = [[v.dec, *row[1:]] for row in rows(split, "caption")]
    successors = commonest_successors(texts)
    pairs = [pair for text in texts for pair in pairwise(text)]
    right = sum(successors[a] == b for a, b in pairs)
    found = caption_accuracy(FakeSpeaker(small_config(), successors), split)
    assert found == {"caption_token_accuracy": 100 * right / len(pairs)}
    assert 0.2 < right / len(pairs) < 0.9


def test_vqa_counts_answers_that_are_said_whole_and_ended(split: EncodedSplit, teacher: Teacher) -> None:
    v, tokenizer = small_config().vocabulary, teacher.tokenizer
    assert tokenizer is not None
    yes, question_mark = (tokenizer.captions([word])[0][1] for word in ("yes", "?"))
    said = [row[-2] for row in rows(split, "question")]
    speaker = FakeSpeaker(small_config(), {question_mark: yes, yes: v.sep})
    assert answer_accuracy(speaker, split) == {"vqa_accuracy": 100 * said.count(yes) / 96}
    assert 5 < said.count(yes) < 60
    endless = FakeSpeaker(small_config(), {question_mark: yes, yes: yes})
    assert answer_accuracy(endless, split) == {"vqa_accuracy": 0.0}


def trained_a_little(split: EncodedSplit) -> Blip:
    """Return a real model that gets some tokens and answers right, and others not."""
    model = lively(small_config(), seed=5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    everything = np.arange(24)
    for step in range(24):
        texts = everything * 4 + step % 4
        batch = split.batch({"picture": everything, "caption": texts, "question": texts}, CPU)
        tokens = model.encode_image(batch["picture.pixels"])
        loss = torch.zeros(())
        for kind, said in (
            ("caption", batch["caption.mask"][:, 1:]),
            ("question", batch["question.targets"][:, :-1]),
        ):
            ids = batch[f"{kind}.ids"]
            logits = model.decode(ids, batch[f"{kind}.mask"], tokens)
            loss = loss + torch.nn.functional.cross_entropy(logits[:, :-1][said], ids[:, 1:][said])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def following(model: Blip, tokens: Tensor, ids: list[int]) -> int:
    """Return the most likely token after those of one text, which is not padded."""
    text = torch.tensor([ids])
    return int(model.decode(text, torch.ones_like(text).bool(), tokens)[0, -1].argmax())


@torch.no_grad()
def row_by_row(model: Blip, split: EncodedSplit) -> dict[str, Any]:
    """Return the counts from one text at a time, without padding; answers by decoding word after word."""
    v, counts = model.architecture.vocabulary, Counter[str]()
    images, texts = [], []
    for image in range(24):
        pixels = split.images(np.array([image]), CPU)
        tokens = model.encode_image(pixels)
        for row in range(4 * image, 4 * image + 4):
            caption, whole = rows(split, "caption")[row], rows(split, "question")[row]
            ids = torch.tensor([caption])
            said = model(told(pixels, ids, torch.ones_like(ids).bool()), frozenset({IMAGE, TEXT}))
            texts.append(said[TEXT])
            for place in range(1, len(caption)):
                counts["tokens"] += 1
                counts["tokens right"] += following(model, tokens, caption[:place]) == caption[place]
            answered = whole[:-2]  # answers of scenes are one word
            while len(answered) < len(whole) and answered[-1] != v.sep:
                answered = [*answered, following(model, tokens, answered)]
            counts["answers"] += 1
            counts["answers right"] += answered == whole
        images.append(said[IMAGE])
    return counts | {"images": torch.cat(images), "texts": torch.cat(texts)}  # type: ignore[operator]


def test_a_real_model_gives_what_it_says_row_by_row(
    split: EncodedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained_a_little(split)
    expected = row_by_row(model, split)
    metrics = []
    for chunk in (100, 7, 1):
        monkeypatch.setattr(module, "CHUNK", chunk)
        found = Pool(model, split, CPU, size=ALL)
        assert_near(found.of_pictures(IMAGE), expected["images"])
        assert_near(found.of_texts("caption", TEXT), expected["texts"])
        assert found.rows("caption")[1].tolist() == [image for image in range(24) for _ in range(4)]
        metrics.append(measured(model, split, ALL))
        for kind, name in (("tokens", "caption_token_accuracy"), ("answers", "vqa_accuracy")):
            assert metrics[-1][name] == 100 * expected[f"{kind} right"] / expected[kind]
    assert 0 < expected["answers right"] < expected["answers"]
    assert 0 < expected["tokens right"] < expected["tokens"]
    assert metrics[0] == metrics[1] == metrics[2] == measured(model, split, ALL)


def test_size_takes_the_first_pictures_and_their_first_texts(split: EncodedSplit, teacher: Teacher) -> None:
    def pool(**size: int) -> Pool:
        return Pool(teacher.model, split, CPU, size=EvaluationSize(**size))

    found = pool(images=5, captions_per_image=2, questions_per_image=1)
    assert found.of_pictures(IMAGE).shape[0] == 5
    texts, owners = found.rows("caption")
    assert owners.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert texts.tolist() == [0, 1, 4, 5, 8, 9, 12, 13, 16, 17]
    assert found.rows("question")[0].tolist() == [0, 4, 8, 12, 16]
    whole = Pool(teacher.model, split, CPU, size=ALL).of_texts("caption", TEXT)
    first = whole.view(24, 4, -1)[:5, :2].flatten(0, 1)
    assert_near(found.of_texts("caption", TEXT), first)
    more = pool(images=999, captions_per_image=99)
    assert more.of_pictures(IMAGE).shape[0] == 24
    assert len(more.of_texts("caption", TEXT)) == 96


def test_pictures_of_others_are_shown_in_turn(split: EncodedSplit) -> None:
    small = EvaluationSize(images=5, captions_per_image=2)
    pool = Pool(FakeSpeaker(small_config(), {}), split, CPU, size=small)
    wants = frozenset({Want("decoder", "logits")})
    assert pool.asked.strangers("caption").tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 0, 0]
    for places, pictures in (
        (None, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
        (pool.asked.strangers("caption"), [1, 1, 2, 2, 3, 3, 4, 4, 0, 0]),
    ):
        (batch, _), *rest = pool.chunks("caption", wants, places=places)
        assert not rest
        assert batch.rows["picture"].tolist() == pictures
        assert batch.rows["caption"].tolist() == pool.rows("caption")[0].tolist()
        assert torch.equal(batch["picture.pixels"], split.images(np.array(pictures), CPU))


def test_a_picture_is_encoded_once_for_all_tasks(
    split: EncodedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = lively(small_config()), 0
    original = model.image_encoder.forward

    def count(images: Tensor, *args: Any) -> Any:
        nonlocal seen
        seen += len(images)
        return original(images, *args)

    monkeypatch.setattr(model.image_encoder, "forward", count)
    monkeypatch.setattr(module, "CHUNK", 7)
    measured(model, split, ALL, ("vqa", "captioning", "matching", "retrieval"))
    assert seen <= 2 * 24, "once for its tokens, and once for its embedding where that is asked for later"


def test_a_blind_model_sees_black_and_retrieves_nothing(split: EncodedSplit) -> None:
    speaker = FakeSpeaker(small_config(), {})
    pool = Pool(speaker, split, CPU, size=ALL, blind=True)
    pool.of_pictures(IMAGE)
    Captioning(Captioning.Config()).evaluate(pool)
    Vqa(Vqa.Config()).evaluate(pool)
    assert len(speaker.seen_images) == 3
    assert all(not bool(images.any()) for images in speaker.seen_images)
    model = lively(small_config())
    blind, seeing = (measured(model, split, ALL, blind=flag) for flag in (True, False))
    assert blind["ir_at_1"] == blind["ir_at_10"] == 0.0
    found = Pool(model, split, CPU, size=ALL, blind=True).of_pictures(IMAGE)
    torch.testing.assert_close(found, found[:1].expand_as(found))
    assert seeing["ir_at_10"] > 0.0


class Parrot(FakeSpeaker):
    """Says what the teacher says."""

    def inputs(self, wants: Wants) -> Inputs:
        return Inputs(fields=super().inputs(wants).fields, source=wants)

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        assert given is not None
        return given.only(wants)


def test_a_student_that_reads_its_teacher_is_told_what_it_says(split: EncodedSplit, teacher: Teacher) -> None:
    parrot = Parrot(small_config(), {})
    mine = Pool(parrot, split, CPU, size=ALL, source=teacher)
    theirs = Pool(teacher.model, split, CPU, size=ALL)
    assert torch.equal(mine.of_pictures(IMAGE), theirs.of_pictures(IMAGE))
    assert torch.equal(mine.of_texts("caption", TEXT), theirs.of_texts("caption", TEXT))
    with pytest.raises(ValueError, match=r"image.embedding is not filled"):
        Pool(parrot, split, CPU, size=ALL).of_pictures(IMAGE)


def test_a_dual_encoder_has_retrieval_alone(split: EncodedSplit) -> None:
    tasks = ("retrieval", "vqa", "captioning", "matching")
    found = measured(lively(small_config(fusion=())), split, ALL, tasks)
    assert set(found) == {f"{way}_at_{k}" for way in ("tr", "ir") for k in (1, 5, 10)} | {"mean_recall"}


def test_no_questions_no_vqa(split: EncodedSplit) -> None:
    silent = copy.copy(split)
    silent.tables = {"caption": split.tables["caption"]}
    found = measured(lively(small_config()), silent, ALL)
    assert "vqa_accuracy" not in found
    assert "caption_token_accuracy" in found


def test_evaluation_leaves_mode_and_weights_as_they_were(split: EncodedSplit) -> None:
    for training in (True, False):
        model = lively(small_config()).train(training)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        measured(model, split, EvaluationSize(images=8))
        assert model.training is training
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())


def test_of_a_large_pool_few_image_tokens_are_kept_and_the_figures_stay(
    teacher: Teacher, split: EncodedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained_a_little(split)
    tasks = ("retrieval", "captioning", "vqa", "matching")
    monkeypatch.setattr(module, "CHUNK", 5)
    expected = measured(model, split, ALL, tasks)
    made: list[Pool] = []
    remember = Pool.__init__

    def noted(self: Pool, *args: Any, **options: Any) -> None:
        remember(self, *args, **options)
        made.append(self)

    most: list[int] = []
    look = Pool._look

    def counting(self: Pool, number: int, wants: Wants) -> Signals:
        found = look(self, number, wants)
        most.append(len(self._reused))
        return found

    monkeypatch.setattr(Pool, "__init__", noted)
    monkeypatch.setattr(Pool, "_look", counting)
    monkeypatch.setattr(module, "LARGEST_KEPT", 1)
    assert measured(model, split, ALL, tasks) == expected
    assert max(most) == module.FEWEST_KEPT < 24 // 5
    assert list(made[0]._kept) == [IMAGE], "what is kept whole is small"
