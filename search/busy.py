"""How busy the machine is while a search runs: read once a second from /proc/stat."""

import threading
from pathlib import Path
from typing import Any, Self, final

STAT = Path("/proc/stat")
BUSY_ABOVE = 0.9


@final
class BusyMeter:
    """Counts the seconds in which every core was busy; on a machine without /proc/stat it says nothing.

    Other programs on the machine count too, and on a cluster it sees the driver's node alone.
    """

    def __init__(self) -> None:
        self._full = self._samples = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        if STAT.exists():
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=3)

    def summary(self) -> dict[str, Any]:
        """Return the share of seconds with all cores busy, and how it was measured; {} without a sample."""
        if not self._samples:
            return {}
        return {
            "share": self._full / self._samples,
            "seconds": self._samples,
            "how": f"seconds in which every core of this machine was over {BUSY_ABOVE:.0%} busy (/proc/stat each second)",
        }

    def _run(self) -> None:
        before = _cores()
        while not self._stop.wait(1.0):
            now = _cores()
            shares = [
                1 - (now[c][0] - before[c][0]) / max(1, now[c][1] - before[c][1]) for c in now if c in before
            ]
            self._samples += 1
            self._full += bool(shares) and min(shares) > BUSY_ABOVE
            before = now


def _cores() -> dict[str, tuple[int, int]]:
    """Return idle and total ticks of each core."""
    found = {}
    for line in STAT.read_text().splitlines():
        name, *numbers = line.split()
        if name.startswith("cpu") and name != "cpu":
            ticks = [int(number) for number in numbers[:8]]
            found[name] = (ticks[3] + ticks[4], sum(ticks))
    return found
