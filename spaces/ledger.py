"""Ledgers: JSON lines that are added to a file, and a pace for what is rewritten whole now and then."""

import json
import math
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
    """Says when to write anew what grows with a run: once as much has changed, and never for more than 2 % of the time.

    So each change bears the writing of one or two others, however many there are by then.
    """

    def __init__(self, *, at_least_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the shortest time between twice; the first time is now.

        Args:
            at_least_s: seconds.
            clock: seconds, monotonic.
        """
        self._at_least_s, self._clock = at_least_s, clock
        self._next = -math.inf

    def due(self, changes: int = 0, size: int = 0) -> bool:
        """Return whether enough has changed, and enough time has passed, since the last time; at first it is due.

        Args:
            changes: since the last time; what does not grow tells none.
            size: of what was written then, counted in the same way.
        """
        now = self._clock()
        return self._next == -math.inf or (now >= self._next and changes >= size)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Do it, and see how long it takes; what fails is due again at once."""
        began = self._clock()
        yield
        ended = self._clock()
        self._next = ended + max(self._at_least_s, (ended - began) / SHARE)
