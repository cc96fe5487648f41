"""Which candidate of a table stands at a point of its space, or nearest to it."""

from collections.abc import Mapping
from typing import final

import numpy as np

from search.simulator.table import CurveTable, Flags, Floats
from spaces.domains import Choice, Domain, Log, Scalar, identity, is_number, relative

Key = tuple[object, ...]
Values = Mapping[str, Scalar]


@final
class Neighbours:
    """Looks up candidates by their values.

    The distance is Gower's (1971, A general coefficient of similarity): the sum over paths of the difference as a share
    of the domain's range, 1 between different texts. A number that is 0 beside its domain, or that another
    value switches off, differs by 1 from every other and by 0 from its like.
    """

    def __init__(self, table: CurveTable) -> None:
        """Encode all candidates of a table."""
        self._table = table
        self._scales = {path: _Scale(domain) for path, domain in table.fields.items()}
        self._switches = dict(table.conditions or {})
        self._points = np.array([self._encode(values) for values in table.values], dtype=np.float64)
        self._unordered = np.array([not scale.ordered for scale in self._scales.values()], dtype=bool)
        self._places: dict[Key, list[int]] = {}
        for place, values in enumerate(table.values):
            self._places.setdefault(self._key(values), []).append(place)

    def find(self, values: Values, untried: Flags) -> int:
        """Return the place of the candidate that stands for a point.

        It is the one at the point itself, tried or not, where the table has it; else the nearest untried one, else, when
        all are tried, the nearest of all. Ties fall to the first id.
        """
        exact = self._places.get(self._key(values))
        if exact is not None:
            return next((place for place in exact if untried[place]), exact[0])
        distance = self._distance(self._encode(values))
        if untried.any():
            distance = np.where(untried, distance, np.inf)
        return int(distance.argmin())

    def _distance(self, point: Floats) -> Floats:
        """Return the distance of every candidate from an encoded point."""
        gaps = np.abs(self._points - point)
        gaps[:, self._unordered] = gaps[:, self._unordered] != 0
        off = np.isnan(self._points) & np.isnan(point)
        return np.where(off, 0.0, np.where(np.isnan(gaps), 1.0, gaps)).sum(axis=1)

    def _encode(self, values: Values) -> Floats:
        """Return a point as numbers, NaN where a path is off."""
        return np.array(
            [
                np.nan if self._is_off(path, values) else scale(values[path])
                for path, scale in self._scales.items()
            ],
            dtype=np.float64,
        )

    def _key(self, values: Values) -> Key:
        """Return what is equal for values that mean the same candidate."""
        return tuple(None if self._is_off(path, values) else identity(values[path]) for path in self._scales)

    def _is_off(self, path: str, values: Values) -> bool:
        """Return whether another value switches a path off."""
        switch = self._switches.get(path)
        return switch is not None and is_number(values[switch]) and values[switch] == 0


@final
class _Scale:
    """Puts the values of one domain between 0 and 1.

    Attributes:
        ordered: whether differences have a size; options that are not all numbers or all relative have none.
    """

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._options: dict[tuple[str, object], float] = {}
        self.ordered = True
        if isinstance(domain, Choice):
            options = list(domain.options)
            relatives = [relative(option) for option in options]
            if all(factor is not None for factor in relatives):
                options.sort(key=lambda option: relative(option) or 0)
            elif all(is_number(option) for option in options):
                options.sort(key=lambda option: float(option))
            else:
                self.ordered = False
            span = max(len(options) - 1, 1)
            self._options = {identity(option): place / span for place, option in enumerate(options)}

    def __call__(self, value: Scalar) -> float:
        """Return the place of a value, NaN for a zero beside the domain."""
        if not self._domain.holds(value):
            return float("nan")
        if self._options:
            return self._options[identity(value)]
        low, high = (float(bound) for bound in self._domain.bounds())
        if high == low:
            return 0.0
        if isinstance(self._domain, Log):
            return float(np.log(float(value) / low) / np.log(high / low))
        return (float(value) - low) / (high - low)
