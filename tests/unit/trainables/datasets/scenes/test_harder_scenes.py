"""The harder variant: scattered, turned, of four sizes, in the words of the task; a function of the seed."""

import math
from typing import Any

import numpy as np
import pytest

from tests.unit.trainables import small
from tests.unit.trainables.datasets.scenes.scene_truth import answer, caption_is_true, things
from trainables.datasets.base import Split
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.datasets.scenes.drawing import HARDER, SHAPES, coverage, draw_scene
from trainables.datasets.scenes.integers import IntegerStream
from trainables.datasets.scenes.language import QUESTION_KINDS
from trainables.preprocess import Framing


def make(**options: Any) -> ScenesDataset:
    sizes = {"train_images": 40, "val_images": 60, "test_images": 8, "mismatched": 0.0, "variant": "harder"}
    return ScenesDataset(ScenesDataset.Config(**(sizes | options)))


def read(dataset: ScenesDataset, name: str) -> Split:
    return dataset.split(name, framing=Framing(64), progress=small.silent)


def test_shapes_lie_as_freely_as_the_variant_says() -> None:
    shapes = [item for index in range(400) for item in draw_scene(IntegerStream(11, index), HARDER)]
    assert {(item.size, item.radius) for item in shapes} == {(0, 4), (0, 5), (1, 7), (1, 8)}
    assert {item.turn for item in shapes} == set(range(-20, 21))
    assert {item.x % 16 - 8 for item in shapes} == {item.y % 16 - 8 for item in shapes} == set(range(-3, 4))
    assert all(item.radius < place < 63 - item.radius for item in shapes for place in (item.x, item.y))


@pytest.mark.parametrize("name", ["train", "val"])
def test_texts_are_true_of_their_scenes(name: str) -> None:
    dataset = make()
    split, scenes = read(dataset, name), dataset.scenes(name, small.silent)
    for row, text in zip(split.caption_images, split.captions, strict=True):
        assert caption_is_true(things(scenes[row]), text)
    for row, asked, said in zip(split.question_images, split.questions, split.answers, strict=True):
        assert said in {answer(things(scenes[row]), kind, asked) for kind in QUESTION_KINDS}


def test_it_is_a_function_of_the_seed_and_no_other_picture_of_the_plain_task() -> None:
    first, again, other = (read(make(seed=seed), "val") for seed in (0, 0, 1))
    plain = read(make(variant="plain"), "val")
    assert np.array_equal(first.pixels, again.pixels)
    assert first.captions == again.captions
    assert not np.array_equal(first.pixels, other.pixels)
    assert not np.array_equal(first.pixels, plain.pixels)
    assert make().specification == make(variant="plain").specification, "the same words: its teacher reads it"
    assert make().fingerprint != make(variant="plain").fingerprint


@pytest.mark.parametrize("turn", [-20, 7, 20])
@pytest.mark.parametrize("radius", [4, 8])
def test_a_turned_triangle_lies_inside_its_turned_corners(turn: int, radius: int) -> None:
    """The triangle between (0, -0.95) and (+-0.897, 0.62), in radii, turned clockwise (y points down)."""
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    corners = [(0.0, -0.95), (1.57 / 1.75, 0.62), (-1.57 / 1.75, 0.62)]
    corners = [(x * cosine - y * sine, x * sine + y * cosine) for x, y in corners]
    n = 2 * radius + 3
    middle = [((k + 0.5) - n / 2) / radius for k in range(n)]
    for row, column in np.ndindex(n, n):
        x, y = middle[column], middle[row]
        sides = [
            (bx - ax) * (y - ay) - (by - ay) * (x - ax)
            for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True)
        ]
        lengths = [math.dist(a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
        depth = min(side / length for side, length in zip(sides, lengths, strict=True))
        part = coverage(SHAPES.index("triangle"), radius, turn)[row, column]
        if depth > 0.75 / radius:  # farther from every side than half a pixel's diagonal: wholly inside
            assert part == 16
        if depth < -0.75 / radius:
            assert part == 0


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_a_turn_keeps_the_area_and_is_undone_by_its_opposite(shape: int) -> None:
    upright, turned = coverage(shape, 8), coverage(shape, 8, 20)
    assert abs(int(turned.sum()) - int(upright.sum())) < 0.05 * upright.sum()
    mirrored = coverage(shape, 8, -20)[
        :, ::-1
    ]  # all shapes but for their sub-pixels are their own mirror image
    assert abs(turned - mirrored).max() <= 2


def test_a_quarter_turn_of_a_square_and_a_cross_changes_nothing() -> None:
    for name in ("square", "cross"):
        assert abs(coverage(SHAPES.index(name), 7, 90) - coverage(SHAPES.index(name), 7)).max() <= 1
