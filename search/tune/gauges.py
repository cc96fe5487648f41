"""Figures of each candidate on Ray's metrics port."""

from collections.abc import Mapping
from typing import Any, final

from ray.util.metrics import Gauge

DESCRIPTIONS = {
    "quality": "quality objective, at the last rung",
    "loss": "weighted training loss of the last epoch",
    "epoch": "epochs trained",
    "status": "0 running, 1 finished, 2 stopped early, 3 failed",
}
CODES = {"running": 0, "finished": 1, "stopped": 2}
FAILED = 3


@final
class Gauges:
    """`ray_student_search_*`, with the tags candidate and role; needs a running Ray."""

    def __init__(self, quality: str) -> None:
        """Take the name of the quality objective."""
        self._quality = quality
        self._gauges = {
            name: Gauge(f"student_search_{name}", description=text, tag_keys=("candidate", "role"))
            for name, text in DESCRIPTIONS.items()
        }

    def show_epoch(self, candidate_id: str, role: str, row: Mapping[str, Any]) -> None:
        """Show what a row tells."""
        values = {"quality": row.get(self._quality), "loss": row.get("loss"), "epoch": row.get("epoch")}
        for name, value in values.items():
            if value is not None:
                self._set(name, float(value), candidate_id, role)
        if row.get("status") == "running":
            self._set("status", CODES["running"], candidate_id, role)

    def show_end(self, candidate_id: str, role: str, status: str) -> None:
        """Show how a candidate ended."""
        self._set("status", CODES.get(status, FAILED), candidate_id, role)

    def _set(self, name: str, value: float, candidate_id: str, role: str) -> None:
        self._gauges[name].set(value, tags={"candidate": candidate_id, "role": role})
