"""From relative to absolute: what `0.5x` of a teacher's size is. For families; absolute values are never changed. Pure Python."""

import math
from fractions import Fraction
from typing import Any

from spaces.domains import relative


def nearest(exact: Fraction, step: int = 1) -> int:
    """Return the multiple of `step` nearest to `exact`, at least one step; halves go up."""
    return max(int(exact / step + Fraction(1, 2)), 1) * step


def resolve_count(value: Any, whole: int) -> int:
    """Return an absolute count, such as a depth; a relative one goes to the nearest whole number, at least 1."""
    return resolve_width(value, whole, 1)


def resolve_width(value: Any, whole: int, step: int) -> int:
    """Return an absolute width; a relative one goes to the nearest multiple of `step`, such as the heads."""
    factor = relative(value)
    return int(value) if factor is None else nearest(factor * whole, step)


def resolve_heads(value: Any, width: int, whole_width: int, whole_heads: int) -> int:
    """Return an absolute number of heads; a relative one goes to the nearest divisor of the width, ties to the larger.

    Args:
        value: None for heads as wide as the teacher's.
        width: of the student, absolute.
        whole_width: of the teacher.
        whole_heads: of the teacher.
    """
    if value is None:
        return max(width // (whole_width // whole_heads), 1)
    factor = relative(value)
    if factor is None:
        return int(value)
    exact = factor * whole_heads
    small = [count for count in range(1, math.isqrt(width) + 1) if width % count == 0]
    divisors = [*small, *(width // count for count in small)]
    return min(divisors, key=lambda count: (abs(count - exact), -count))
