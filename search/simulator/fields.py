"""Domains of the searched columns of a table, worked out from the values that occur."""

import math
from collections.abc import Sequence

from spaces.domains import Choice, Domain, Float, Int, Log, Scalar, identity, is_number

MOST_OPTIONS = 12  # more different numbers than this are a range
LOG_ABOVE = 100.0  # a range whose ends differ by this factor or more is searched in the logarithm


def infer_domain(values: Sequence[Scalar]) -> Domain:
    """Return the domain that a proposer is given for a column: texts and few numbers are a choice, many are a range."""
    distinct = {identity(value): value for value in values}
    numbers = [value for value in distinct.values() if is_number(value)]
    if len(numbers) < len(distinct) or len(distinct) <= MOST_OPTIONS:
        return Choice(options=tuple(sorted(distinct.values(), key=_order)))
    low, high = min(numbers), max(numbers)
    if all(isinstance(number, int) for number in numbers):
        return Int(low=int(low), high=int(high))
    if low > 0 and high / low >= LOG_ABOVE:
        return Log(low=float(low), high=float(high))
    return Float(low=float(low), high=float(high))


def describe(domain: Domain) -> str:
    """Return a domain as the user reads it: `choice of 5`, `log 0.0005 to 0.003`."""
    if isinstance(domain, Choice):
        return f"choice of {len(domain.options) + bool(domain.zero)}"
    low, high = domain.bounds()
    also = ", or 0" if domain.zero else ""
    return f"{domain.kind} {low:.4g} to {high:.4g}{also}"


def _order(value: Scalar) -> tuple[int, float, str]:
    """Return a key that sorts numbers by size and before texts."""
    return (0, float(value), "") if is_number(value) else (1, math.inf, str(value))
