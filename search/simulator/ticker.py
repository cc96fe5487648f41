"""One line on how far the simulations are, with the time that is left."""

import math
import time
from collections.abc import Callable
from typing import TextIO, final

from search.reporting.progress import spell

TERMINAL_S, QUIET_S = 0.5, 10.0  # between lines: rewritten in place, or each on its own
FORESEEN = 0.01  # of all; from less nothing is foretold
SILENT_S = 2.0  # what is over sooner needs no line


@final
class Ticker:
    """Prints the line when it is due."""

    def __init__(self, stream: TextIO, *, searches: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the time.

        Args:
            stream: where to print.
            searches: how many simulations there will be.
            clock: seconds, monotonic.
        """
        self._stream, self._searches, self._clock = stream, searches, clock
        self._terminal = stream.isatty()
        self._every = TERMINAL_S if self._terminal else QUIET_S
        self._started = clock()
        self._shown_at = -math.inf
        self._in_place = False

    def tell(self, done: int, name: str, share: float) -> None:
        """Print the line if it is due.

        Args:
            done: simulations that are through.
            name: of the one that runs.
            share: of that one that is done.
        """
        now = self._clock()
        elapsed = now - self._started
        if elapsed < SILENT_S or now - self._shown_at < self._every:
            return
        self._shown_at = now
        part = (done + share) / self._searches
        left = f", about {spell(elapsed * (1 - part) / part)} left" if part > FORESEEN else ""
        line = f"simulation {done + 1} of {self._searches} ({name}): {share:.0%} | {spell(elapsed)}{left}"
        if self._terminal:
            self._stream.write(f"\r\x1b[K{line}")
            self._in_place = True
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Take the line away, so that what follows begins on a clean one."""
        if self._in_place:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
