"""Captions made false: false of their scene, by a second reading; as long; and of words that do not tell."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from tests.unit.trainables.datasets.scenes.scene_truth import COLORS, SHAPES, caption_is_true, things
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.datasets.scenes.drawing import Shape
from trainables.datasets.scenes.drawn import drawn_rows
from trainables.datasets.scenes.falsehoods import false_caption, is_true
from trainables.datasets.scenes.integers import IntegerStream
from trainables.datasets.scenes.language import VOCABULARY

NUM_SCENES = 200
RING, STAR = Shape(0, 5, 0, 8, 8), Shape(2, 3, 1, 40, 24)  # small red, top left; large blue, in the center
OPPOSITES = [{"left", "right"}, {"above", "below"}, {"top", "bottom"}]


@pytest.fixture(scope="module")
def told() -> list[tuple[list[Shape], list[int], str]]:
    """Scenes as shapes and as integers, with each of their captions."""
    rows: list[dict[str, Any]] = list(
        drawn_rows(11, NUM_SCENES, ScenesDataset(ScenesDataset.Config()).draw, unique=False)
    )
    return [
        ([Shape(*row["scene"][i : i + 5]) for i in range(0, len(row["scene"]), 5)], row["scene"], text)
        for row in rows
        for text in row["captions"]
    ]


def changed(before: str, after: str) -> list[tuple[str, str]]:
    return [(a, b) for a, b in zip(before.split(), after.split(), strict=True) if a != b]


def test_a_caption_made_false_is_false_of_its_scene(told: list[tuple[list[Shape], list[int], str]]) -> None:
    for number, (scene, numbers, text) in enumerate(told):
        made = false_caption(IntegerStream(1, number), scene, text)
        assert caption_is_true(things(numbers), text)
        assert not caption_is_true(things(numbers), made), (text, made)
        assert 1 <= len(changed(text, made)) <= 2
        assert set(made.split()) <= set(VOCABULARY)


def test_what_is_true_is_told_as_the_second_reading_tells_it(
    told: list[tuple[list[Shape], list[int], str]],
) -> None:
    for number, (scene, numbers, text) in enumerate(told):
        assert is_true(scene, text)
        _, others, _ = told[(number + 4 * (number % 7 + 1)) % len(told)]
        if len(others) == len(numbers):  # how many there are is not looked at
            other = [Shape(*others[i : i + 5]) for i in range(0, len(others), 5)]
            assert is_true(other, text) == caption_is_true(things(others), text)


def test_each_kind_of_change_is_drawn(told: list[tuple[list[Shape], list[int], str]]) -> None:
    kinds: Counter[str] = Counter()
    for number, (scene, _, text) in enumerate(told):
        pairs = changed(text, false_caption(IntegerStream(2, number), scene, text))
        if len(pairs) == 2:
            assert pairs[0] == pairs[1][::-1]
            kinds["exchanged"] += 1
        else:
            kinds["turned" if set(pairs[0]) in OPPOSITES else "replaced"] += 1
    assert min(kinds[kind] for kind in ("turned", "exchanged", "replaced")) > 0.1 * len(told), kinds


def test_no_text_is_told_as_false_without_a_look(told: list[tuple[list[Shape], list[int], str]]) -> None:
    for number, (scene, _, text) in enumerate(told):
        words = false_caption(IntegerStream(3, number), scene, text).split()
        named = [pair for pair in pairwise(words) if pair[0] in COLORS and pair[1] in SHAPES]
        assert len(set(named)) == len(named) == len(scene), words


def test_the_same_stream_makes_the_same_caption(told: list[tuple[list[Shape], list[int], str]]) -> None:
    made = [[false_caption(IntegerStream(key, 5), s, text) for s, _, text in told[:40]] for key in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("the red ring is left of the blue star", True),
        ("the red ring is right of the blue star", False),
        ("the blue star is left of the red ring", False),
        ("a small red ring left of a large blue star", True),
        ("a large red ring left of a large blue star", False),
        ("red ring in the top left and blue star in the center", True),
        ("red ring in the bottom left and blue star in the center", False),
        ("two shapes : large blue star , small red ring", True),
        ("two shapes : large red star , small blue ring", False),
    ],
)
def test_what_holds_of_a_scene_by_hand(text: str, holds: bool) -> None:
    assert is_true([RING, STAR], text) is holds


def test_a_region_that_is_named_first_is_that_of_the_first_thing() -> None:
    assert is_true([RING], "in the top left there is a small red ring")
    assert not is_true([RING], "in the top right there is a small red ring")
