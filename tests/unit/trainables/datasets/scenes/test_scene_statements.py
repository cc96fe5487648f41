"""Statements about two scenes say what a second reading of their words finds, and cannot be guessed from the words."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spaces.errors import DatasetError
from tests.unit.trainables import small
from tests.unit.trainables.datasets.scenes.scene_truth import COLORS, NUMBERS, OBJECT, SHAPES, Thing, things
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.scenes import language
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.datasets.scenes.drawn import hash_of
from trainables.preprocess import Framing
from trainables.signals import STATEMENT
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize, PoolRows


def make(**options: Any) -> ScenesDataset:
    sizes = {"train_images": 120, "val_images": 80, "test_images": 8, "mismatched": 0.0, "statements": 3}
    return ScenesDataset(ScenesDataset.Config(**(sizes | options)))


def read(dataset: ScenesDataset, name: str) -> Split:
    return dataset.split(name, framing=Framing(64), progress=small.silent)


def scenes_of(dataset: ScenesDataset, name: str) -> list[list[Thing]]:
    return [things(numbers) for numbers in dataset.scenes(name, small.silent)]


def shown(scene: list[Thing], words: str) -> int:
    """Return how many things of a scene are a `red ring`, a `red object`, a `ring` or `red`."""
    asked = set(words.split()) - {"object"}
    return sum(asked <= {thing.color, thing.shape} for thing in scene)


def is_true(left: list[Thing], right: list[Thing], text: str) -> bool:
    """Return whether a statement holds, by its words alone."""
    if match := re.fullmatch(rf"there is a ({OBJECT}) on the left and a ({OBJECT}) on the right", text):
        return shown(left, match[1]) > 0 and shown(right, match[2]) > 0
    kind = rf"(?:{'|'.join(COLORS)}) object|{'|'.join(SHAPES)}"
    if match := re.fullmatch(rf"there is a ({kind}) on the left and on the right", text):
        return shown(left, match[1]) > 0 and shown(right, match[1]) > 0
    pattern = (
        rf"there (is|are) ({'|'.join(NUMBERS)}) ({'|'.join(COLORS + SHAPES)}) (shapes?) on the left and right"
    )
    match = re.fullmatch(pattern, text)
    assert match, text
    assert (match[1] == "is") == (match[4] == "shape") == (match[2] == "one")
    return shown(left, match[3]) + shown(right, match[3]) == NUMBERS.index(match[2])


@pytest.mark.parametrize("name", ["train", "val", "test"])
@pytest.mark.parametrize("variant", ["plain", "harder"])
def test_a_statement_holds_of_its_pictures_where_it_says_so(name: str, variant: str) -> None:
    dataset = make(variant=variant)
    said, scenes = read(dataset, name).statements, scenes_of(dataset, name)
    assert len(said.texts) == len(said.images) == len(said.holds) == 2 * 3 * len(scenes)
    for text, (left, right), holds in zip(said.texts, said.images, said.holds, strict=True):
        assert left != right
        assert is_true(scenes[left], scenes[right], text) == holds, (text, scenes[left], scenes[right])


def test_each_sentence_is_as_often_true_as_false_so_that_words_alone_tell_nothing() -> None:
    said = read(make(), "val").statements
    by_text: dict[str, list[bool]] = {}
    for text, holds in zip(said.texts, said.holds.tolist(), strict=True):
        by_text.setdefault(text, []).append(holds)
    assert all(sum(each) * 2 == len(each) for each in by_text.values())
    kinds = Counter(len(text.split()) for text in by_text)
    assert len(kinds) == 4, "two sorts of both (`red object`, `ring`), each, and numbers"


def test_one_picture_with_the_words_leaves_half_of_them_open() -> None:
    """Of a sentence and its left picture both are told in half of all cases, and so of its right one."""
    said = read(make(statements=4), "val").statements
    for side in (0, 1):
        seen: dict[tuple[str, int], set[bool]] = {}
        keys = [(text, int(pair[side])) for text, pair in zip(said.texts, said.images, strict=True)]
        for key, holds in zip(keys, said.holds.tolist(), strict=True):
            seen.setdefault(key, set()).add(holds)
        open_ones = sum(len(seen[key]) == 2 for key in keys)
        assert open_ones >= len(keys) / 2


def test_guessing_scores_one_half_and_a_model_that_says_always_true_no_more(tmp_path: Path) -> None:
    split = EncodedSplit(read(make(), "val"), small.tokenizer(tmp_path), small.PREPROCESS)
    size = EvaluationSize(images=80)
    (task,) = make_tasks({"nlvr2": {}}).values()
    chance = task.chance(PoolRows(split, size))
    assert chance is not None
    assert chance.level == 50.0
    blip = small.lively(small.small_config(merged=(1,)), seed=3)
    with torch.no_grad():
        assert isinstance(blip.pair_head, nn.Sequential)
        blip.pair_head[-1].weight.zero_()
        blip.pair_head[-1].bias.copy_(torch.tensor([0.0, 1.0]))
    metrics = evaluate(blip, split, tasks=[task], size=size)
    assert metrics["nlvr2_accuracy"] == 50.0


def test_texts_of_mismatched_pictures_take_their_statements_along() -> None:
    clean, noisy = read(make(), "train"), read(make(mismatched=0.4), "train")

    def of(split: Split, left: int) -> list[tuple[str, int, bool]]:
        rows = np.flatnonzero(split.statements.images[:, 0] == left)
        said = split.statements
        return [(said.texts[row], int(said.images[row, 1]), bool(said.holds[row])) for row in rows]

    captions = [tuple(clean.captions[4 * k : 4 * k + 4]) for k in range(120)]
    source = [captions.index(tuple(noisy.captions[4 * k : 4 * k + 4])) for k in range(120)]
    assert sum(row != image for image, row in enumerate(source)) == 48
    for image, row in enumerate(source):
        assert of(noisy, image) == of(clean, row)


def test_statements_are_told_of_where_they_are_asked_for_alone() -> None:
    assert STATEMENT in make().kinds
    assert STATEMENT not in make(statements=0).kinds
    assert read(make(statements=0), "val").statements.texts == []
    again, other = read(make(), "val").statements, read(make(seed=1), "val").statements
    assert read(make(), "val").statements.texts == again.texts != other.texts


def test_statements_use_the_words_of_the_task() -> None:
    texts = read(make(), "train").statements.texts
    assert {word for text in texts for word in text.split()} <= set(language.VOCABULARY)
    assert max(len(text.split()) + 2 for text in texts) <= small.MAX_TOKENS


def test_options_leave_the_fingerprint_of_older_data_as_it_was() -> None:
    """An older run names it, and caches of teachers are found by it."""
    plain = make(statements=0)
    older = {"train_images": 120, "mismatched": 0.0, "val_images": 80, "test_images": 8, "seed": 0}
    assert plain.fingerprint == hash_of({"specification": plain.specification, **older})
    assert len({plain.fingerprint, make().fingerprint, make(variant="harder").fingerprint}) == 3


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"dataset.variant: got 'hard'; allowed: plain, harder"):
        make(variant="hard")
