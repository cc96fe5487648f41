"""How evolution makes a new point out of known ones: uniform crossover and mutation of single values."""

import math
import random
from collections.abc import Mapping

from search.searchers.base import Values
from spaces.domains import Domain, Scalar, identity


def crossed(mother: Values, father: Values, rng: random.Random) -> dict[str, Scalar]:
    """Return a point that takes each value from either parent, equally likely (Syswerda 1989)."""
    return {path: (mother if rng.random() < 0.5 else father)[path] for path in mother}


def mutated(
    values: Values, domains: Mapping[str, Domain], rng: random.Random, *, rate: float, step: float
) -> dict[str, Scalar]:
    """Return the point with each value that has a domain here changed with probability `rate`.

    Args:
        values: path -> value.
        domains: path -> domain, of those that may change.
        rng: the source of all chance.
        rate: probability per value.
        step: standard deviation of a change, in parts of the range (of its logarithm for `log`).
    """
    found = {
        path: changed(domain, values[path], rng, step=step)
        for path, domain in domains.items()
        if rng.random() < rate
    }
    return {**values, **found}


def changed(domain: Domain, value: Scalar, rng: random.Random, *, step: float) -> Scalar:
    """Return another value of the domain: another option, or a Gaussian step along the range, clipped.

    Where the domain has a zero, whether it is taken is drawn anew with the probability of the domain: what a space
    keeps mostly off stays mostly off. A zero that is switched on becomes a random value.
    """
    if domain.zero and rng.random() < domain.zero:
        return 0
    if not domain.holds(value):
        return domain.draw(rng)
    kind, arguments = domain.flat_spec()
    if kind == "choice":
        others = [option for option in arguments["options"] if identity(option) != identity(value)]
        return rng.choice(others) if others else value
    low, high, number = float(arguments["low"]), float(arguments["high"]), float(value)
    part = rng.gauss(0.0, step)
    if kind == "log":
        moved = math.exp(_moved(math.log(number), math.log(low), math.log(high), part))
    else:
        moved = _moved(number, low, high, part)
    settled = domain.settle(moved)
    if kind == "int" and settled == value and low < high:  # a step of less than one half would be none
        settled = domain.settle(number + 1 if (part > 0 and number < high) or number == low else number - 1)
    return settled


def _moved(value: float, low: float, high: float, part: float) -> float:
    """Return the value moved by a part of its range, inside it."""
    return min(max(value + part * (high - low), low), high)
