"""Pictures, captions and classes say what the integers of their objects say."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.unit.trainables.datasets.scenes.scene_truth import COLORS, SHAPES, SIZES
from trainables.datasets.objects import drawing
from trainables.datasets.objects.dataset import ObjectsDataset
from trainables.datasets.scenes import drawing as scenes_drawing
from trainables.datasets.scenes.drawn import drawn_rows

NUM_PICTURES = 400
SIDE = 48


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return list(drawn_rows(21, NUM_PICTURES, ObjectsDataset(ObjectsDataset.Config()).draw, unique=False))


def objects(row: dict[str, Any]) -> list[list[int]]:
    """Return colour, shape, size, x, y and radius of each."""
    numbers = row["objects"]
    return [numbers[i : i + 6] for i in range(0, len(numbers), 6)]


def region(x: int, y: int) -> str:
    column = "left" if x < SIDE / 3 else "right" if x >= 2 * SIDE / 3 else ""
    row = "top" if y < SIDE / 3 else "bottom" if y >= 2 * SIDE / 3 else ""
    if row and column:
        return f"in the {row} {column}"
    return f"at the {row}" if row else f"on the {column}" if column else "in the center"


def test_a_picture_is_a_function_of_seed_and_index(rows: list[dict[str, Any]]) -> None:
    assert list(drawn_rows(21, 20, ObjectsDataset(ObjectsDataset.Config()).draw, unique=False)) == rows[:20]
    other = list(drawn_rows(22, 20, ObjectsDataset(ObjectsDataset.Config()).draw, unique=False))
    assert all(a["objects"] != b["objects"] for a, b in zip(other, rows[:20], strict=True))


def test_one_large_object_comes_first_and_one_or_two_small_ones_after_it(rows: list[dict[str, Any]]) -> None:
    counts = Counter(len(objects(row)) for row in rows)
    assert set(counts) == {2, 3}
    assert abs(counts[3] / NUM_PICTURES - 0.6) < 0.1
    for row in rows:
        first, *others = objects(row)
        assert (first[2], 9 <= first[5] <= 12) == (1, True)
        assert all(small[2] == 0 and 4 <= small[5] <= 5 for small in others)
        assert len({tuple(one[:2]) for one in (first, *others)}) == 1 + len(others)
        for *_, x, y, radius in (first, *others):
            assert all(radius + 1 <= place <= SIDE - radius - 2 for place in (x, y)), (
                "it lies in the picture whole"
            )


def test_objects_do_not_overlap(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        found = objects(row)
        for i, one in enumerate(found):
            for other in found[i + 1 :]:
                gap = max(abs(one[3] - other[3]), abs(one[4] - other[4]))
                assert gap > one[5] + other[5] + 1, "a pixel of ground is between them"


def test_no_attribute_tells_the_class_alone() -> None:
    labels = {drawing.label_of([color, shape]): (color, shape) for color in range(4) for shape in range(6)}
    assert sorted(labels) == list(range(24))
    assert tuple(f"{COLORS[c]} {SHAPES[s]}" for c, s in (labels[n] for n in range(24))) == drawing.CLASSES
    for attribute in (0, 1):
        shared = Counter(look[attribute] for look in labels.values())
        assert min(shared.values()) >= 4, "each colour has six classes, each outline four"


def test_classes_are_equally_frequent_and_small_objects_have_the_looks_of_all(
    rows: list[dict[str, Any]],
) -> None:
    many = [
        objects(row)
        for row in drawn_rows(21, 1200, ObjectsDataset(ObjectsDataset.Config()).draw, unique=False)
    ]
    labels = Counter(drawing.label_of(found[0]) for found in many)
    assert set(labels) == set(range(24))
    assert all(20 < count < 85 for count in labels.values()), "50 are expected, of a deviation of 7"
    assert {tuple(one[:2]) for found in many for one in found[1:]} == {
        (c, s) for c in range(4) for s in range(6)
    }


def test_pictures_show_each_object_in_its_colour_at_its_place(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        picture = np.frombuffer(row["image"], dtype=np.uint8).reshape(SIDE, SIDE, 3).astype(int)
        for color, shape, _, x, y, radius in objects(row):
            across = round(0.78 * radius) if SHAPES[shape] == "ring" else 0  # a ring is hollow
            true = np.array(scenes_drawing.COLORS[COLORS[color]])
            assert np.abs(picture[y, x + across] - true).max() <= 4 * drawing.SHADE + drawing.NOISE


def test_captions_are_four_and_name_only_what_is_there(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        found = objects(row)
        looks = {f"{COLORS[c]} {SHAPES[s]}": (SIZES[z], x, y) for c, s, z, x, y, _ in found}
        assert len(row["captions"]) == 4
        for text in row["captions"]:
            words = text.split()
            named = [f"{a} {b}" for a, b in pairwise(words) if a in COLORS and b in SHAPES]
            assert sorted(named) == sorted(looks), (text, looks)
            for look in named:
                size = looks[look][0]
                before = text.split(f" {look}")[0].split()[-1:]
                assert before not in [["small"], ["large"]] or before == [size]
            if text.startswith(tuple(looks)):  # `red ring on the left and ...`
                assert all(f"{look} {region(x, y)}" in text for look, (_, x, y) in looks.items())


def test_relations_in_captions_hold(rows: list[dict[str, Any]]) -> None:
    told = 0
    for row in rows:
        places = {f"{COLORS[c]} {SHAPES[s]}": (x, y) for c, s, _, x, y, _ in objects(row)}
        for text in row["captions"]:
            if not text.startswith("the "):
                continue
            first = " ".join(text.split()[1:3])
            for part in text.split(" is ", 1)[1].split(" and "):
                relation, _, other = part.partition(" the ")
                dx, dy = places[other][0] - places[first][0], places[other][1] - places[first][1]
                sideways = abs(dx) >= abs(dy)
                true = ("left of" if dx > 0 else "right of") if sideways else ("above" if dy > 0 else "below")
                assert relation == true, text
                told += 1
    assert told >= NUM_PICTURES
