"""Volume: the hypervolume that candidates reach, and the exact front of a whole table as the limit of it."""

from collections.abc import Iterable
from typing import final

import moocore
import numpy as np

from search.simulator.goals import Goals
from search.simulator.table import CurveTable

REFERENCE = 1.1


@final
class Volume:
    """Hypervolume and front of a table's final values (Zitzler and Thiele 1999, doi 10.1109/4235.797969).

    Each objective is scaled to [0, 1] by its smallest and largest final value of the whole table, all to be minimised;
    the reference point is 1.1 in each. A candidate counts once it was trained to its end.

    Attributes:
        exact: hypervolume of the whole table.
        front_size: different points of the exact front; candidates with the same final values are one point.
        front_ids: all candidates on it.
    """

    def __init__(self, table: CurveTable, goals: Goals) -> None:
        """Work out the exact front.

        Raises:
            TableError: a goal that the table cannot answer.
        """
        finals = table.finals(goals)
        low, span = finals.min(axis=0), np.ptp(finals, axis=0)
        self._places = table.places
        self._points = (finals - low) / np.where(span > 0, span, 1.0)
        self._reference = np.full(len(goals), REFERENCE)
        distinct, owners = np.unique(finals, axis=0, return_inverse=True)
        owners = owners.reshape(-1)
        on_front = moocore.is_nondominated(distinct)
        self._front_point = np.where(on_front[owners], owners, -1)
        self.front_size = int(on_front.sum())
        self.front_ids = tuple(
            candidate_id for candidate_id, place in self._places.items() if self._front_point[place] >= 0
        )
        self.exact = self._hypervolume(np.arange(len(table)))

    def of(self, ids: Iterable[str]) -> float:
        """Return the hypervolume of candidates, 0 for none."""
        return self._hypervolume(np.array([self._places[one] for one in ids], dtype=np.int64))

    def share(self, ids: Iterable[str]) -> float:
        """Return the hypervolume of candidates as a share of the exact one."""
        return self.of(ids) / self.exact

    def front_share(self, ids: Iterable[str]) -> float:
        """Return the share of the exact front's points that candidates stand on."""
        found = {int(self._front_point[self._places[one]]) for one in ids} - {-1}
        return len(found) / self.front_size

    def _hypervolume(self, places: np.ndarray) -> float:
        """Return the hypervolume of candidates by their places."""
        if not places.size:
            return 0.0
        return float(moocore.hypervolume(self._points[places], ref=self._reference))
