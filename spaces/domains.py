"""Domains: the sets of values that a searched field may take, each with an optional default.

    {choice: [a, b]}   {int: [low, high]}   {float: [low, high]}   {log: [low, high]}

Every domain may add `zero: p`: the exact value 0 with probability p, else the rest of the domain. To a
searcher with a flat space such a field is two labels, `path#on` and `path`. `when: {path: value}` says where the
domain counts. Pure Python.
"""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

from spaces.conditions import Condition
from spaces.values import Scalar as Scalar
from spaces.values import identity as identity
from spaces.values import is_number as is_number
from spaces.values import relative as relative

FlatSpec = tuple[str, dict[str, Any]]

ON = "#on"
# Four significant digits are kept: more never matters, and ids do not hang on the last bit of exp().
DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Domain(ABC):
    """A set of values to search.

    Attributes:
        zero: probability of the exact value 0 beside the rest of the domain; 0.0 for none.
        default: the value to begin with, or None for no preference.
        when: what must hold of other searched paths for this one to count, see `spaces.conditions`.
    """

    zero: float = 0.0
    default: Scalar | None = None
    when: tuple[Condition, ...] = ()
    kind: ClassVar[str]

    @abstractmethod
    def draw(self, rng: random.Random) -> Scalar:
        """Return a random value of the domain, its `zero` aside."""

    @abstractmethod
    def holds(self, value: object) -> bool:
        """Return whether `value` is in the domain, its `zero` aside."""

    @abstractmethod
    def bounds(self) -> list[Scalar]:
        """Return the options or the two ends of the range."""

    @abstractmethod
    def members(self) -> Sequence[Scalar]:
        """Return all values of a countable domain (`choice`, `int`), else the bounds; its `zero` aside."""

    @abstractmethod
    def settle(self, value: Any) -> Scalar:
        """Return a searcher's raw number as a legal value: plain Python, rounded, inside the bounds."""

    @abstractmethod
    def flat_spec(self) -> FlatSpec:
        """Return (kind, arguments) of the domain, its `zero` aside."""

    def sample(self, rng: random.Random) -> Scalar:
        """Return a random value; ranges are uniform, `log` is uniform in the logarithm."""
        if self.zero and rng.random() < self.zero:
            return 0
        return self.draw(rng)

    def contains(self, value: object) -> bool:
        """Return whether `value` belongs to the domain."""
        if self.zero and is_number(value) and value == 0:
            return True
        return self.holds(value)

    def count(self) -> int:
        """Return how many `values` there are."""
        members = self.members()
        # len() of a range ends at 2**63
        number = members.stop - members.start if isinstance(members, range) else len(members)
        return number + bool(self.zero)

    def corners(self) -> list[Scalar]:
        """Return the values that bound the domain: all options or both ends, and 0 where it is included."""
        return self.bounds() + ([0] if self.zero else [])

    def values(self) -> Iterator[Scalar]:
        """Yield every value of a countable domain, the corners of any other."""
        yield from self.members()
        yield from [0] if self.zero else []

    def flat(self, path: str) -> dict[str, FlatSpec]:
        """Return label -> (kind, arguments) for a searcher with a flat space.

        Kinds: `choice` {options, perhaps probabilities}, `int` {low, high} both included, `float` and `log`
        {low, high}.
        """
        if not self.zero:
            return {path: self.flat_spec()}
        switch: FlatSpec = (
            "choice",
            {"options": [False, True], "probabilities": [self.zero, 1.0 - self.zero]},
        )
        return {path + ON: switch, path: self.flat_spec()}

    def flatten(self, path: str, value: Scalar) -> dict[str, Scalar]:
        """Return the labels of one value; for a zero, `path` holds the first bound, which nobody reads."""
        if not self.zero:
            return {path: value}
        off = not self.holds(value) and value == 0
        return {path + ON: not off, path: self.bounds()[0] if off else value}

    def unflatten(self, path: str, labels: Mapping[str, Any]) -> Scalar:
        """Return the value that `labels` (numpy scalars allowed) give this domain."""
        if self.zero and not labels[path + ON]:
            return 0
        return self.settle(labels[path])

    def spec(self) -> dict[str, Any]:
        """Return the domain as it stands in a space file."""
        spec: dict[str, Any] = {self.kind: self.bounds()}
        if self.zero:
            spec["zero"] = self.zero
        if self.default is not None:
            spec["default"] = self.default
        if self.when:
            spec["when"] = {one.path: one.spec() for one in self.when}
        return spec


@final
@dataclass(frozen=True, kw_only=True)
class Choice(Domain):
    """One of several scalars, equally likely."""

    options: tuple[Scalar, ...]
    kind: ClassVar[str] = "choice"

    def draw(self, rng: random.Random) -> Scalar:
        """Return an option."""
        return rng.choice(self.options)

    def holds(self, value: object) -> bool:
        """Return whether `value` is an option."""
        return identity(value) in self._identities

    @cached_property
    def _identities(self) -> frozenset[tuple[str, object]]:
        return frozenset(map(identity, self.options))

    def bounds(self) -> list[Scalar]:
        """Return the options."""
        return list(self.options)

    def members(self) -> Sequence[Scalar]:
        """Return the options."""
        return self.options

    def settle(self, value: Any) -> Scalar:
        """Return the option that equals `value`.

        Raises:
            ValueError: no option does.
        """
        plain = value.item() if hasattr(value, "item") else value
        for option in self.options:
            if identity(option) == identity(plain):
                return option
        raise ValueError(f"got {plain!r}; allowed: {list(self.options)}")

    def flat_spec(self) -> FlatSpec:
        """Return ("choice", {"options"})."""
        return ("choice", {"options": list(self.options)})


@final
@dataclass(frozen=True, kw_only=True)
class Int(Domain):
    """Whole numbers from low to high, both included."""

    low: int
    high: int
    kind: ClassVar[str] = "int"

    def draw(self, rng: random.Random) -> Scalar:
        """Return a whole number."""
        return rng.randint(self.low, self.high)

    def holds(self, value: object) -> bool:
        """Return whether `value` is a whole number in the range."""
        return is_number(value) and value == int(value) and self.low <= value <= self.high

    def bounds(self) -> list[Scalar]:
        """Return low and high."""
        return [self.low, self.high]

    def members(self) -> Sequence[Scalar]:
        """Return all whole numbers of the range."""
        return range(self.low, self.high + 1)

    def settle(self, value: Any) -> Scalar:
        """Return the nearest whole number inside the range."""
        return min(max(round(float(value)), self.low), self.high)

    def flat_spec(self) -> FlatSpec:
        """Return ("int", {"low", "high"})."""
        return ("int", {"low": self.low, "high": self.high})


@dataclass(frozen=True, kw_only=True)
class _Interval(Domain):
    """Real numbers from low to high."""

    low: float
    high: float

    def holds(self, value: object) -> bool:
        """Return whether `value` is a number in the range."""
        return is_number(value) and self.low <= value <= self.high

    def bounds(self) -> list[Scalar]:
        """Return low and high."""
        return [self.low, self.high]

    def members(self) -> Sequence[Scalar]:
        """Return low and high."""
        return [self.low, self.high]

    def settle(self, value: Any) -> Scalar:
        """Return `value` to `DIGITS` significant digits, inside the range."""
        return min(max(float(f"{float(value):.{DIGITS - 1}e}"), self.low), self.high)

    def flat_spec(self) -> FlatSpec:
        """Return (kind, {"low", "high"})."""
        return (self.kind, {"low": self.low, "high": self.high})


@final
@dataclass(frozen=True, kw_only=True)
class Float(_Interval):
    """Numbers from low to high, uniform."""

    kind: ClassVar[str] = "float"

    def draw(self, rng: random.Random) -> Scalar:
        """Return a number."""
        return self.settle(rng.uniform(self.low, self.high))


@final
@dataclass(frozen=True, kw_only=True)
class Log(_Interval):
    """Numbers from low to high, uniform in the logarithm; low is above 0."""

    kind: ClassVar[str] = "log"

    def draw(self, rng: random.Random) -> Scalar:
        """Return a number."""
        return self.settle(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
