"""One line that tells how far something is: rewritten in place on a terminal, seldom and on its own elsewhere."""

import math
import shutil
import time
from collections.abc import Callable
from typing import TextIO, final

from spaces.console import tolerant

REFRESH_S = 0.5  # on a terminal, where the line is rewritten in place
QUIET_S = 10.0  # elsewhere, where each line stays
IN_PLACE = "\r\x1b[K"  # goes back to the beginning of a line and empties it


@final
class StatusLine:
    """Prints lines to a stream.

    Attributes:
        terminal: whether the line is rewritten in place.
    """

    def __init__(
        self,
        stream: TextIO | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        columns: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
    ) -> None:
        """Start the time.

        Args:
            stream: where to print; one that fails says nothing, and costs nothing.
            clock: seconds, monotonic.
            columns: width of the terminal.
        """
        self._stream, self._clock, self._columns = tolerant(stream), clock, columns
        self.terminal = self._stream.isatty()
        self._started = clock()
        self._shown_at = -math.inf
        self._in_place = False

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last line."""
        return self._clock() - self._shown_at >= (REFRESH_S if self.terminal else QUIET_S)

    def show(self, line: str) -> None:
        """Print a line now."""
        self._shown_at = self._clock()
        if self.terminal:
            # one column is kept free: a full line would scroll on some terminals
            self._stream.write(f"{IN_PLACE}{line[: max(self._columns() - 1, 1)]}")
            self._in_place = True
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def close(self, *, keep: bool) -> None:
        """Begin a clean line for what follows; a line in place stays if it is to be kept."""
        if self._in_place:
            self._stream.write("\n" if keep else IN_PLACE)
            self._stream.flush()
