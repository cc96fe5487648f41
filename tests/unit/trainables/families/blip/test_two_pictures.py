"""Statements about two pictures: against the pass with one, by hand, through costs and folders, and learnt from nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from spaces.errors import ExportError, ShapeError
from tests.unit.trainables import small
from trainables.configs import made_config
from trainables.costs.flops import flops_by_mode
from trainables.costs.subject import Subject
from trainables.datasets.base import Split, Statements
from trainables.datasets.encoded import EncodedSplit
from trainables.export import load
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig, merged_layers
from trainables.families.blip.drafting import drafted
from trainables.families.blip.model import Blip
from trainables.families.blip.options import BlipOptions, resolved
from trainables.families.blip.two_pictures import begin_second
from trainables.losses.base import Ends
from trainables.losses.logits.nlvr2 import Nlvr2 as Loss
from trainables.model_folder import Reading, write_model_folder
from trainables.preprocess import PreprocessConfig
from trainables.signals import HOLDS, PIXELS, PIXELS_2, Batch, Serving, Signals, Want
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.training.sampler import ExampleSampler

PAIRED = Want("paired", "logits")
STATEMENTS = ("two red circle shapes", "a red circle and nothing else")
SIDE = 64


def model(**changes: object) -> Blip:
    return small.lively(small.small_config(**{"merged": (1,), **changes}), seed=3)


def asked(pictures: Tensor, others: Tensor, ids: Tensor) -> Batch:
    mask = ids != small.vocabulary().pad
    fields = {PIXELS: pictures, PIXELS_2: others, "statement.ids": ids, "statement.mask": mask}
    return Batch(fields=fields, rows={})


def ids_of(folder: Path, texts: tuple[str, ...] = STATEMENTS) -> Tensor:
    rows = small.tokenizer(folder).captions(list(texts))
    width = max(map(len, rows))
    return torch.tensor([row + [small.vocabulary().pad] * (width - len(row)) for row in rows])


def drawn(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def test_the_upper_half_of_the_layers_merges() -> None:
    """Of 12 layers 6 to 11, as published; of fewer, those from the middle on."""
    assert merged_layers(12, tuple(range(12))) == (6, 7, 8, 9, 10, 11)
    assert merged_layers(6, (1, 3, 5)) == (3, 5)
    assert merged_layers(3, (0, 1, 2)) == (2,)
    assert merged_layers(2, (0,)) == ()


@torch.no_grad()
def test_twice_the_same_picture_is_the_pass_with_one(tmp_path: Path) -> None:
    """Where both blocks are alike and what they see is averaged: by the mean, or by a linear layer that takes it."""
    ids, pictures = ids_of(tmp_path), drawn(2)
    for merged in ((), (1,), (0, 1)):
        blip = model(merged=merged)
        begin_second(blip)
        half = torch.eye(32) / 2
        for layer in blip.text_network.layers:
            if layer.second.merge is not None:
                layer.second.merge.weight.copy_(torch.cat([half, half], dim=1))
                layer.second.merge.bias.zero_()
        batch = asked(pictures, pictures, ids)
        batch.fields |= {"caption.ids": ids, "caption.mask": batch["statement.mask"]}
        state = Want("fused", "hidden", 1)
        expected = blip.pair_head(blip(batch, frozenset({state}))[state][:, 0])  # type: ignore[misc]
        found = blip(batch, frozenset({PAIRED}))[PAIRED]
        small.assert_near(found, expected)
        other = blip(asked(pictures, drawn(2, seed=1), ids), frozenset({PAIRED}))[PAIRED]
        assert (other - expected).abs().max() > 1e-3


@torch.no_grad()
def test_only_merging_layers_tell_left_from_right(tmp_path: Path) -> None:
    ids, left, right = ids_of(tmp_path), drawn(2), drawn(2, seed=1)
    for merged in ((), (1,)):
        blip = model(merged=merged)
        begin_second(blip)
        first, second = (
            blip(asked(one, two, ids), frozenset({PAIRED}))[PAIRED]
            for one, two in ((left, right), (right, left))
        )
        if merged:
            assert (first - second).abs().max() > 1e-3
        else:
            small.assert_near(first, second)


@torch.no_grad()
def test_padding_of_statements_changes_nothing(tmp_path: Path) -> None:
    ids, blip = ids_of(tmp_path), model()
    both = blip(asked(drawn(2), drawn(2, seed=1), ids), frozenset({PAIRED}))[PAIRED]
    short = ids[:1, : int((ids[0] != small.vocabulary().pad).sum())]
    alone = blip(asked(drawn(2)[:1], drawn(2, seed=1)[:1], short), frozenset({PAIRED}))[PAIRED]
    small.assert_near(both[:1], alone)


def test_a_student_has_the_head_where_its_space_asks_for_it_and_its_id_stays_without() -> None:
    side = {"width": 16, "depth": 4, "heads": 2}
    teacher = small.small_config(text=EncoderConfig(width=32, depth=4, heads=2), fusion=(0, 1, 2, 3))
    sizes = Blip.sizes(teacher)

    def made(**fusion: object) -> tuple[dict[str, object], BlipArchitecture]:
        options = resolved({"image": side, "text": side, "fusion": {"layers": 3, **fusion}}, sizes).options
        architecture = drafted(made_config(BlipOptions, options, "student"), small.around(teacher))
        return options, architecture

    without, plain = made()
    assert made(two_pictures=False) == (without, plain)
    assert "two_pictures" not in without["fusion"]  # type: ignore[operator]
    assert plain.merged is None
    assert "merged" not in plain.to_dict()
    options, architecture = made(two_pictures=True)
    assert options["fusion"] == {"layers": 3, "placement": "last", "two_pictures": True}
    assert architecture.merged == (2, 3)
    assert BlipArchitecture.from_dict(architecture.to_dict()) == architecture
    assert made(layers=0, two_pictures=True)[1].has_pairs is False
    assert PAIRED not in Blip.offers(made(layers=0, two_pictures=True)[1])


def test_what_does_not_read_statements_is_deployed_without() -> None:
    whole = small.small_config(merged=(1,))
    assert Blip.deployed(whole, frozenset({Want("image", "embedding")})).merged is None
    assert Blip.deployed(whole, frozenset({Want("fused", "logits")})).merged is None
    part = Blip.deployed(whole, frozenset({PAIRED}))
    assert part.merged == (1,)
    assert not part.decoder
    assert not part.matching
    assert part.fusion == (0, 1)


def test_flops_of_repeated_layers_are_those_of_the_whole_model() -> None:
    deep = replace(
        small.small_config(),
        text=EncoderConfig(width=32, depth=5, heads=2),
        fusion=(0, 1, 3, 4),
        merged=(3, 4),
    )
    counted = flops_by_mode(
        Subject(blueprint=Blueprint("blip", deep), servings=(Serving(mode="paired", tokens=9),))
    )
    width, tokens, inner, words = 32, deep.image_tokens, 128, 9
    attended = 4 * words * width * width + 2 * words * words * width
    crossed = 2 * words * width * width + 2 * tokens * width * width + 2 * words * tokens * width
    merged = words * 2 * width * width
    layers = 5 * (attended + 2 * words * width * inner) + 4 * 2 * crossed + 2 * merged
    assert counted == {"paired": 2 * (layers + width * width + 2 * width)}


def test_both_blocks_begin_with_the_same_weights_where_the_teacher_has_one() -> None:
    teacher, student = small.lively(small.small_config(), seed=1), model()
    side = {"width": 32, "depth": 2, "init": "inherit"}
    config = made_config(
        BlipOptions, {"image": side, "text": side, "fusion": {"layers": 2, "two_pictures": True}}, "student"
    )
    student.inherit(teacher, config)
    for layer, origin in zip(student.text_network.layers, teacher.text_network.layers, strict=True):
        assert torch.equal(layer.second.attention.query.weight, origin.cross_attention.query.weight)
        assert torch.equal(layer.second.attention.query.weight, layer.cross_attention.query.weight)
    taught = model()
    narrow = small.lively(
        small.small_config(merged=(1,), text=EncoderConfig(width=16, depth=2, heads=2)), seed=8
    )
    narrow.inherit(taught, config)
    whole, part = (one.text_network.layers[1].second.merge.weight for one in (taught, narrow))
    assert torch.equal(part, torch.cat([whole[:16, :16], whole[:16, 32:48]], dim=1))
    assert torch.equal(narrow.pair_head[0].weight, taught.pair_head[0].weight[:16, :16])  # type: ignore[index]


def test_a_model_is_extended_by_the_head_and_says_all_else_as_before(tmp_path: Path) -> None:
    plain = small.lively(small.small_config(), seed=1)
    made = plain.extended(frozenset({PAIRED}))
    assert plain.extended(frozenset({Want("fused", "logits")})) is plain
    assert isinstance(made, Blip)
    assert made.architecture.merged == (1,)
    assert not made.training
    for name, weight in plain.state_dict().items():
        assert torch.equal(made.state_dict()[name], weight)
    first, second = (made.text_network.layers[0], made.text_network.layers[0].second)
    assert torch.equal(first.cross_attention.value.weight, second.attention.value.weight)
    assert made(asked(drawn(2), drawn(2), ids_of(tmp_path)), frozenset({PAIRED}))[PAIRED].shape == (2, 2)
    with pytest.raises(ShapeError, match=r"model: cannot be made to say paired\.logits"):
        small.lively(small.small_config(fusion=())).extended(frozenset({PAIRED}))


def test_a_student_with_the_head_loads_elsewhere(tmp_path: Path) -> None:
    blip = model()
    tokenizer = small.tokenizer(tmp_path / "student")
    write_model_folder(
        tmp_path / "student",
        blip,
        kind="blip",
        reading=Reading(preprocess=small.PREPROCESS, tokenizer=tokenizer, folder=tmp_path / "student"),
        measured={},
    )
    student = load(tmp_path / "student")
    random = np.random.default_rng(0)
    left, right = (random.integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8) for _ in range(2))
    pixels = [small.PREPROCESS.normalise(torch.from_numpy(one)) for one in (left, right)]
    with torch.no_grad():
        logits = blip(asked(*pixels, ids_of(tmp_path)), frozenset({PAIRED}))[PAIRED]
    small.assert_near(student.holds(left, right, list(STATEMENTS)), logits.softmax(dim=-1)[:, 1])
    assert len(student.caption(left, beams=3)) == 2
    with pytest.raises(ExportError, match="holds: got 1 images and 2 texts"):
        student.holds(left[:1], right, list(STATEMENTS))
    with pytest.raises(ExportError, match=r"caption: beams: got 0; allowed: a whole number from 1 on"):
        student.caption(left, beams=0)
    write_model_folder(
        tmp_path / "without",
        small.lively(small.small_config()),
        kind="blip",
        reading=Reading(preprocess=small.PREPROCESS, tokenizer=tokenizer, folder=tmp_path / "student"),
        measured={},
    )
    with pytest.raises(ExportError, match="holds: this student was not made for the task 'nlvr2'"):
        load(tmp_path / "without").holds(left, right, list(STATEMENTS))


def pairs(folder: Path, name: str, count: int, seed: int) -> EncodedSplit:
    """Return pictures that are dark or bright, and statements on pairs of them: `two red shapes` holds where both are bright."""
    random = np.random.default_rng(seed)
    bright = random.integers(0, 2, count)
    pixels = (random.integers(0, 60, (count, SIDE, SIDE, 3)) + 160 * bright[:, None, None, None]).astype(
        np.uint8
    )
    left = np.arange(count - 2)  # the last two are the first picture of nothing
    right = random.integers(0, count, len(left))
    both, none = bright[left] + bright[right] == 2, bright[left] + bright[right] == 0
    kinds = np.arange(len(left)) % 2
    statements = Statements(
        texts=["two red shapes" if kind else "nothing" for kind in kinds],
        images=np.stack([left, right], axis=1),
        holds=np.where(kinds == 1, both, none),
    )
    nothing = np.zeros(0, dtype=np.int64)
    split = Split(
        name=name, pixels=pixels, captions=[], caption_images=nothing, questions=[], answers=[],
        question_images=nothing, statements=statements,
    )  # fmt: skip
    return EncodedSplit(split, small.tokenizer(folder), PreprocessConfig(image_size=SIDE))


def test_batches_hold_the_second_picture_and_whether_the_statement_holds(tmp_path: Path) -> None:
    split = pairs(tmp_path, "train", 8, seed=0)
    assert {PIXELS_2, HOLDS, "statement.ids"} <= split.fields
    rows = {"picture": np.array([3, 7]), "statement": np.array([3, -1])}
    batch = split.batch(rows, small.CPU)
    other = int(batch.numbers("picture_2")[0])
    assert torch.equal(batch[PIXELS_2][0], split.images(np.array([other]), small.CPU)[0])
    assert torch.equal(batch[PIXELS_2][1], batch[PIXELS][1]), "of no statement the picture itself"
    assert batch[HOLDS].tolist() == [int(split.holds(np.array([3]))[0]), -1]
    blind = batch.blinded()
    assert not blind[PIXELS].any()
    assert not blind[PIXELS_2].any()
    assert PIXELS_2 not in split.batch(rows, small.CPU, pixels=False)


def test_a_small_model_learns_statements_from_nothing(tmp_path: Path) -> None:
    train, val = pairs(tmp_path, "train", 64, seed=0), pairs(tmp_path, "val", 40, seed=1)
    torch.manual_seed(0)
    blip = Blip(small.small_config(merged=(1,)))
    loss = Loss(Loss.Config(), Ends(name="nlvr2", student=Blip.offers(blip.architecture)))
    optimizer = torch.optim.AdamW(blip.parameters(), lr=2e-3)
    task, size = make_tasks({"nlvr2": {}}).values(), EvaluationSize(images=40)
    sampler = ExampleSampler(train, seed=0, batch_size=32, pairs_per_epoch=64)
    for epoch in range(30):
        for rows in sampler.epoch(epoch):
            batch = train.batch(rows, small.CPU)
            loss(blip(batch, loss.needs.student), Signals(), batch).backward()
            optimizer.step()
            optimizer.zero_grad()
    found = evaluate(blip, val, tasks=task, size=size)["nlvr2_accuracy"]
    blind = evaluate(blip, val, tasks=task, size=size, blind=True)["nlvr2_accuracy"]
    assert found > 90.0
    assert blind < found - 10.0
