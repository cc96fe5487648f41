"""Fusion layers of a space against the text side that a candidate draws with them."""

from pathlib import Path
from typing import Any

import pytest

import spaces
from spaces.errors import IllegalCandidate
from spaces.load import load_space
from trainables.families.blip.options import resolved

SIZES = {
    "image.width": 32,
    "image.heads": 4,
    "image.depth": 6,
    "text.width": 32,
    "text.heads": 4,
    "text.depth": 6,
    "fusion.layers": 6,
    "embedding": 16,
}


def student(layers: Any, depth: Any) -> dict[str, Any]:
    side = {"width": "1x", "depth": "1x"}
    return {"image": side, "text": {**side, "depth": depth}, "fusion": {"layers": layers}}


@pytest.mark.parametrize(
    ("layers", "depth", "expected"),
    [("0.5x", 2, 2), ("0.5x", "0.33x", 2), ("0.5x", 3, 3), ("0.5x", 4, 3), ("1x", 1, 1), ("0.1x", 2, 1)],
)
def test_a_relative_number_is_rounded_to_what_the_text_side_has(
    layers: str, depth: Any, expected: int
) -> None:
    found = resolved(student(layers, depth), SIZES)
    assert found.options["fusion"]["layers"] == expected <= found.options["text"]["depth"]


def test_that_rounding_is_told() -> None:
    (note,) = resolved(student("0.5x", 2), SIZES).roundings
    assert note == "student.fusion.layers 0.5x of 6 -> 2 (at most the text depth 2)"
    assert resolved(student("0.5x", 3), SIZES).roundings == []


@pytest.mark.parametrize("layers", [3, 4])
def test_an_absolute_number_is_never_changed(layers: int) -> None:
    with pytest.raises(
        IllegalCandidate, match=rf"^student.fusion.layers: got {layers} with text depth 2; allowed: 0..2"
    ):
        resolved(student(layers, 2), SIZES)


def test_no_student_of_the_default_space_is_illegal() -> None:
    space = load_space(Path(spaces.__file__ or "").parent / "dlip.yaml")
    sections = list(space.sections("blip", "embedded"))
    assert {(one["fusion"]["layers"], one["text"]["depth"]) for one in sections} >= {
        ("0.5x", "0.33x"),
        (2, "0.67x"),
    }
    for section in sections:
        resolved({name: value for name, value in section.items() if name != "kind"}, SIZES)
