"""Relative sizes by hand arithmetic, on a teacher of width 128 with 4 heads of 32 and depth 6."""

from fractions import Fraction

import pytest

from spaces.sizes import nearest, resolve_count, resolve_heads, resolve_width


@pytest.mark.parametrize(
    ("value", "step", "width"),
    [
        # 0.3 x 128 = 38.4 -> 32; 0.4 x 128 = 51.2 -> 64; 0.01 x 128 = 1.28 -> one head.
        ("0.3x", 32, 32),
        ("0.4x", 32, 64),
        ("0.01x", 32, 32),
        # Exactly between 32 and 64: up.
        ("0.375x", 32, 64),
        # Three heads: 38.4 -> 39 = 13 x 3.
        ("0.3x", 3, 39),
        # Absolute widths stay.
        (80, 32, 80),
    ],
)
def test_a_relative_width_goes_to_the_nearest_step(value, step: int, width: int) -> None:
    assert resolve_width(value, 128, step) == width


@pytest.mark.parametrize(
    ("value", "width", "heads"),
    [
        (None, 80, 2),
        (None, 16, 1),
        (3, 80, 3),
        # Half of 4 heads is 2, but 81 = 3^4: the nearest divisors are 1 and 3, ties go up.
        ("0.5x", 81, 3),
        ("1x", 96, 4),
    ],
)
def test_relative_heads_go_to_the_nearest_divisor_of_the_width(value, width: int, heads: int) -> None:
    assert resolve_heads(value, width, 128, 4) == heads


@pytest.mark.parametrize(
    ("value", "whole", "count"),
    # 0.33 x 6 = 1.98, 0.75 x 6 = 4.5, 0.01 x 6 = 0.06, 0.3 x 64 = 19.2.
    [("0.33x", 6, 2), ("0.75x", 6, 5), ("0.01x", 6, 1), ("0.3x", 64, 19), (0, 6, 0), (48, 6, 48)],
)
def test_a_relative_count_goes_to_the_nearest_whole_number_above_none(value, whole: int, count: int) -> None:
    assert resolve_count(value, whole) == count


def test_nearest_is_exact() -> None:
    assert nearest(Fraction(5, 2)) == 3
    assert nearest(Fraction(1, 3) * 3, 2) == 2
