"""Figures of the run and of what trains right now on Ray's metrics port."""

import math
from collections.abc import Mapping
from typing import Any, final

from ray.util.metrics import Gauge

from search.reporting.progress import Tally

TRAINING = {
    "quality": "quality objective, at the last rung, of the candidate that trains in a place",
    "loss": "weighted training loss of its last epoch",
    "epoch": "epochs that it has trained",
}
RUN = {
    "candidates": "candidates of the run by status; failed ones together",
    "epochs": "epochs trained in all sessions",
    "hypervolume": "share of the box from the ideal to the teacher, in per cent",
}
STATUSES = ("running", "finished", "stopped", "failed", "rejected")


@final
class Gauges:
    """`ray_student_search_*`; needs a running Ray.

    Ray (2.60) has no call that takes a gauge away, and a tag for each candidate would leave as many of them as a run has.
    So a tag names a place among those that train side by side; when a candidate ends, its place shows NaN until the next
    one takes it, and the candidate itself counts in the figures of the run.
    """

    def __init__(self, quality: str) -> None:
        """Take the name of the quality objective."""
        self._quality = quality
        self._places: dict[str, int] = {}  # candidate -> its place
        self._training = {name: _gauge(name, text, ("place", "role")) for name, text in TRAINING.items()}
        self._run = {
            name: _gauge(name, text, ("status",) * (name == "candidates")) for name, text in RUN.items()
        }

    def show_epoch(self, candidate_id: str, role: str, row: Mapping[str, Any]) -> None:
        """Show what a row tells of a candidate that trains."""
        if candidate_id not in self._places:
            taken = set(self._places.values())
            self._places[candidate_id] = next(place for place in range(len(taken) + 1) if place not in taken)
        values = {"quality": row.get(self._quality), "loss": row.get("loss"), "epoch": row.get("epoch")}
        for name, value in values.items():
            if value is not None:
                self._show(name, float(value), candidate_id, role)

    def show_end(self, candidate_id: str, role: str) -> None:
        """Give the place of a candidate that ended to the next one."""
        if candidate_id in self._places:
            for name in TRAINING:
                self._show(name, math.nan, candidate_id, role)
            del self._places[candidate_id]

    def show_run(self, tally: Tally) -> None:
        """Show where the run stands."""
        for status in STATUSES:
            self._run["candidates"].set(float(getattr(tally, status)), tags={"status": status})
        self._run["epochs"].set(float(tally.epochs))
        if tally.hypervolume is not None:
            self._run["hypervolume"].set(tally.hypervolume)

    def _show(self, name: str, value: float, candidate_id: str, role: str) -> None:
        self._training[name].set(value, tags={"place": str(self._places[candidate_id]), "role": role})


def _gauge(name: str, text: str, tags: tuple[str, ...]) -> Gauge:
    return Gauge(f"student_search_{name}", description=text, tag_keys=tags)
