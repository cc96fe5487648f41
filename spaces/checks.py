"""What no candidate of a space can satisfy: its students are tried, all of them or many; and absolute limits."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from spaces.conditions import Conditions, active
from spaces.domains import Domain, Scalar, relative
from spaces.errors import IllegalCandidate

# Up to so many combinations all are tried, else so many draws and every corner.
MOST = 2000
DRAWS = 500

Values = dict[str, Scalar]


def points(
    domains: Mapping[str, Domain], conditions: Conditions, *, fixed: Mapping[str, Scalar]
) -> Iterator[Values]:
    """Yield the values that count at each point, the defaults first, no such point twice.

    Args:
        domains: what varies; ranges of real numbers are at their ends only, except in draws.
        conditions: what must hold for a path to count.
        fixed: values that do not vary, and on which conditions may look; part of each point.
    """
    can_count = active({**dict.fromkeys(domains, 0), **fixed}, _about(conditions, fixed))
    kept = {path: domain for path, domain in domains.items() if path in can_count and path not in fixed}
    seen = set()
    for values in _combinations(kept):
        point = active({**fixed, **values}, conditions)
        key = tuple(point.items())
        if key not in seen:
            seen.add(key)
            yield point


def _about(conditions: Conditions, fixed: Mapping[str, Scalar]) -> Conditions:
    """Return the conditions that look at fixed paths."""
    return {path: tuple(one for one in many if one.path in fixed) for path, many in conditions.items()}


def _combinations(domains: Mapping[str, Domain]) -> Iterator[Values]:
    """Yield all combinations of values, or draws and corners where there are too many."""
    base = {
        path: domain.corners()[0] if domain.default is None else domain.default
        for path, domain in domains.items()
    }
    yield base
    if math.prod(domain.count() for domain in domains.values()) <= MOST:
        for values in product(*(domain.values() for domain in domains.values())):
            yield dict(zip(domains, values, strict=True))
        return
    for path, domain in domains.items():
        for corner in domain.corners():
            yield {**base, path: corner}
    rng = random.Random(0)
    for _ in range(DRAWS):
        yield {path: domain.sample(rng) for path, domain in domains.items()}


def refusals(tries: Iterator[Values], build: Callable[[Values], object]) -> list[IllegalCandidate]:
    """Return why each point cannot be built; [] as soon as one can."""
    found = []
    for values in tries:
        try:
            build(values)
        except IllegalCandidate as error:
            found.append(error)
        else:
            return []
    return found


def common_problems(found: Sequence[IllegalCandidate]) -> list[tuple[str, str]]:
    """Return (path, text) of each path that every refusal names, with the text of the first.

    Where they have none in common, the path is "" and the text that of the whole.
    """
    named = [{path for path, _ in error.problems} for error in found]
    shared = set.intersection(*named)
    texts: dict[str, str] = {}
    for path, text in found[0].problems:
        if path in shared:
            texts.setdefault(path, text)
    if texts:
        return list(texts.items())
    if len(found) == 1:
        return [("", f"got values of which nothing can be built: {found[0]}")]
    tried = f"{len(found)} combinations of values"
    return [("", f"got {tried}, none of which can be built; the first: {found[0]}")]


def contradictions(
    kinds: Sequence[str],
    teachers: Sequence[str],
    refused: Mapping[tuple[str, str], list[IllegalCandidate]],
    *,
    place: Callable[[str, str], str],
) -> Iterator[tuple[str, str]]:
    """Yield (path, text) for each kind that fits no teacher, and each teacher that no other kind fits.

    Args:
        kinds: of students.
        teachers: their names.
        refused: (kind, teacher) -> why no such student can be built; [] where one can.
        place: kind and option -> where the option stands.
    """
    hopeless = [kind for kind in kinds if all(refused[kind, teacher] for teacher in teachers)]
    for kind in hopeless:
        said = f"with kind {kind}: " if len(kinds) > 1 else ""
        found = [error for teacher in teachers for error in refused[kind, teacher]]
        for path, text in common_problems(found):
            yield place(kind, path), said + text
    others = [kind for kind in kinds if kind not in hopeless]
    for teacher in teachers if others else ():
        if all(refused[kind, teacher] for kind in others):
            got = f"got {teacher!r}, of which no student can be built"
            yield "teacher", f"{got}: {refused[others[0], teacher][0]} Change that, or drop this teacher."


def limit_ranges(
    limits: Mapping[str, Any], teacher_costs: Mapping[str, float]
) -> dict[str, tuple[float | None, float | None]]:
    """Return cost -> (min, max), absolute, for each cost with a limit; shares of a cost that the teacher lacks are left out."""

    def absolute(raw: Any, name: str) -> float | None:
        factor = relative(raw)
        if factor is None:
            return raw
        return float(factor) * teacher_costs[name] if name in teacher_costs else None

    ranges = {}
    for name, bound in limits.items():
        pair = (absolute(bound["min"], name), absolute(bound["max"], name))
        if pair != (None, None):
            ranges[name] = pair
    return ranges
