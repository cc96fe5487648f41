"""Ledgers: JSON lines that are added to a file, and a pace for what is rewritten whole now and then."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

SHARE = 0.02  # of the time that passes, what is rewritten whole may take


def as_lines(objects: Iterable[Mapping[str, Any]]) -> str:
    """Return objects as JSON lines; NaN and infinity stay what they are, as Python's JSON reads them again."""
    return "".join(json.dumps(one) + "\n" for one in objects)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a ledger in the order of its lines, [] where there is none; a line torn by a kill is left out.

    Raises:
        OSError: the system does not let us read it.
    """
    if not path.exists():
        return []
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # gone since: what it held stands elsewhere by now
        return []
    return list(_objects(data))


def _objects(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


@final
class Pace:
    """Says when to do again what takes the longer the larger a run is, so that it never takes more than 2 % of the time."""

    def __init__(self, *, at_least_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the shortest time between twice; the first time is now.

        Args:
            at_least_s: seconds.
            clock: seconds, monotonic.
        """
        self._at_least_s, self._clock = at_least_s, clock
        self._next = float("-inf")

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last time."""
        return self._clock() >= self._next

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Do it, and see how long it takes; what fails is due again at once."""
        began = self._clock()
        yield
        ended = self._clock()
        self._next = ended + max(self._at_least_s, (ended - began) / SHARE)
