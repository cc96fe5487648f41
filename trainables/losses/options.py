"""Checks of a loss's options; they also run where pydantic is absent."""

import math
from collections.abc import Sequence

from spaces.errors import PluginError


def require_between(name: str, value: float, low: float, high: float) -> None:
    """Accept a finite number with low <= value <= high.

    Raises:
        PluginError: the value lies outside, or is NaN.
    """
    if not (low <= value <= high and math.isfinite(value)):
        bounds = f"at least {low}" if high == math.inf else f"{low} to {high}"
        raise PluginError(
            f"{name}: got {value}; allowed: a finite number, {bounds}. Change it to one of those."
        )


def require_positive(name: str, value: float) -> None:
    """Accept a finite number above 0.

    Raises:
        PluginError: zero, negative, infinite or NaN.
    """
    if not (value > 0 and math.isfinite(value)):
        raise PluginError(
            f"{name}: got {value}; allowed: a finite number above 0. Change it to one of those."
        )


def require_one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Accept one of the allowed words.

    Raises:
        PluginError: any other word.
    """
    if value not in allowed:
        raise PluginError(f"{name}: got {value!r}; allowed: {', '.join(allowed)}. Use one of those.")
