"""Single values of a space: what they may be, and when two mean the same. Pure Python."""

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import TypeGuard

Scalar = bool | int | float | str

_RELATIVE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})x")


def relative(value: object) -> Fraction | None:
    """Return the factor of a value relative to the teacher (`0.5x`), or None for any other value."""
    return _factor(value) if isinstance(value, str) else None


@lru_cache(maxsize=1024)
def _factor(text: str) -> Fraction | None:
    """Return the factor that a text names; the same texts are asked for by each candidate."""
    match = _RELATIVE.fullmatch(text)
    return Fraction(match.group(1)) if match else None


def identity(value: object) -> tuple[str, object]:
    """Return a key, equal for what means the same: 1 and 1.0, `0.5x` and `0.50x`, but not 1 and true."""
    factor = relative(value)
    if factor is not None:
        return ("relative", factor)
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int | float):
        return ("number", float(value) if is_number(value) else repr(value))
    return (type(value).__name__, repr(value))


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether `value` is a finite number that fits 64 bits; true and false are none."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float) and math.isfinite(value)
