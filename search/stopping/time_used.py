"""What a run has used over all its sessions: wall clock, and hours of the devices that its trials held."""

import time
from collections.abc import Callable, Mapping
from typing import Any, final

HOUR_S = 3600.0


@final
class TimeUsed:
    """Counts on from what `run.json` says of earlier sessions.

    Device-hours are the training time of all trials, the blind student's too, times the devices that each one holds:
    its workers times the GPUs of each or, where trials take no GPU, times the CPUs of each. A trial's time is known up
    to its last epoch. What a killed session did not write down is counted with the devices of this one.

    Attributes:
        device: "GPU" or "CPU", the unit; "CPU" until `open` says otherwise.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        trained: Callable[[], float],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start this session's clock.

        Args:
            facts: run.json; the keys of `to_dict`, as far as there are any.
            trained: returns the seconds that all candidates together have trained so far.
            clock: seconds, monotonic.
        """
        self.device = str(facts.get("device", "CPU"))
        self._trained, self._clock, self._started = trained, clock, clock()
        self._wall_before = float(facts.get("wall_s", 0.0))
        self._device_before = float(facts.get("device_s", 0.0))
        self._trained_before = float(facts.get("trained_s", 0.0))
        self._devices = 0.0

    def open(self, *, workers: int, cpus: float, gpus: float) -> None:
        """Take what each trial of this session holds: so many workers, with CPUs and GPUs for each."""
        self.device = "GPU" if gpus else "CPU"
        self._devices = workers * (gpus or cpus)

    @property
    def session_s(self) -> float:
        """Seconds of this session."""
        return self._clock() - self._started

    @property
    def wall_s(self) -> float:
        """Seconds of all sessions, from the first look at the data on."""
        return self._wall_before + self.session_s

    @property
    def device_s(self) -> float:
        """Device-seconds of all sessions."""
        return self._device_before + max(self._trained() - self._trained_before, 0.0) * self._devices

    def to_dict(self) -> dict[str, Any]:
        """Return the facts for run.json, from which the next session counts on."""
        return {
            "wall_s": self.wall_s,
            "device_s": self.device_s,
            "device": self.device,
            "trained_s": self._trained() if self._devices else self._trained_before,
        }
