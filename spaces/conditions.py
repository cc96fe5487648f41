"""Conditions: which searched values count at a point, since another value switches the rest off. Pure Python."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from spaces.values import Scalar, identity


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A searched path counts only where another one has one of some values, or has none of them.

    Attributes:
        path: the searched path that is looked at.
        values: what it is compared with.
        negated: the condition holds where `path` has none of the values: a loss's options count unless its weight is 0.
    """

    path: str
    values: tuple[Scalar, ...]
    negated: bool = False

    def spec(self) -> Any:
        """Return what stands after the path in a space file: a value, a list of them, or {not: ...}."""
        values: Any = self.values[0] if len(self.values) == 1 else list(self.values)
        return {"not": values} if self.negated else values

    def holds(self, value: Scalar) -> bool:
        """Return whether a value of `path` meets the condition; 1 and 1.0 are the same, `0.5x` and `0.50x` too."""
        return (identity(value) in self._identities) != self.negated

    @cached_property
    def _identities(self) -> frozenset[tuple[str, object]]:
        return frozenset(map(identity, self.values))


Conditions = Mapping[str, tuple[Condition, ...]]
"""Searched path -> all that must hold for it to count; a path without an entry always counts."""


def active(values: Mapping[str, Scalar], conditions: Conditions) -> dict[str, Scalar]:
    """Return the values that count, in their order.

    A value counts where all of its conditions hold and every path that they look at counts itself. A condition on a
    path without a value here is taken as met, so that parts of a point can be asked, too.
    """
    known: dict[str, bool] = {}

    def counts(path: str) -> bool:
        if path not in known:
            known[path] = (
                True  # two paths that switch each other are refused on loading; here they end the recursion
            )
            known[path] = all(
                one.path not in values or (counts(one.path) and one.holds(values[one.path]))
                for one in conditions.get(path, ())
            )
        return known[path]

    return {path: value for path, value in values.items() if counts(path)}


def circle(conditions: Conditions) -> tuple[str, ...]:
    """Return paths each of which looks at the next, and the last at the first; () where there are none."""
    done: set[str] = set()

    def search(path: str, trail: tuple[str, ...]) -> tuple[str, ...]:
        if path in trail:
            return trail[trail.index(path) :]
        if path in done:
            return ()
        for one in conditions.get(path, ()):
            found = search(one.path, (*trail, path))
            if found:
                return found
        done.add(path)
        return ()

    return next(filter(None, (search(path, ()) for path in conditions)), ())
