"""Watches whether Ray frees the worker groups of trials that ended."""

import time
from collections.abc import Callable
from typing import final

import ray

from spaces.errors import ResourceError

PATIENCE_S = 120.0
CHECK_EVERY_S = 20.0


@final
class Watchdog:
    """Compares placement groups with live trials, for trials that hold groups of their own."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to watch."""
        self._clock = clock
        self._leak_since: float | None = None
        self._checked = clock()

    def check(self, running: int) -> None:
        """End the search when worker groups outlive their trials: the next trial would wait for ever.

        Looks every 20 s only.

        Raises:
            ResourceError: more groups than running trials for two minutes.
        """
        now = self._clock()
        if now - self._checked <= CHECK_EVERY_S:
            return
        self._checked = now
        groups = _reserved()
        if groups <= running:
            self._leak_since = None
            return
        self._leak_since = self._leak_since or now
        if now - self._leak_since > PATIENCE_S:
            raise ResourceError(
                f"{groups} worker groups are reserved for {running} running trials since {PATIENCE_S:.0f} s: Ray did "
                "not free the groups of stopped trials. Results are kept; restart Ray and --resume."
            )


def _reserved() -> int:
    """Return how many placement groups of this job hold a CPU or GPU, or wait for one that leaked."""
    job = ray.get_runtime_context().get_job_id()  # others of a shared cluster have groups of their own
    return sum(
        name.endswith(job)  # Ray ends the id of a group with that of its job
        and group["state"] != "REMOVED"
        and any("CPU" in bundle or "GPU" in bundle for bundle in group["bundles"].values())
        for name, group in ray.util.placement_group_table().items()
    )
