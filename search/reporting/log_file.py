"""`--log FILE`: what a command says, in a file as well, each line with its time."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast, final

from search.reporting.status_line import IN_PLACE, QUIET_S
from spaces.errors import StorageError
from spaces.files import append


@final
class Copied:
    """A text stream whose lines are appended to a file, too; what else is asked of it is asked of the stream.

    A status line that is rewritten in place comes into the file every ten seconds. A file that takes no more is told once, and
    costs nothing else.
    """

    def __init__(
        self,
        stream: TextIO,
        file: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        stamp: Callable[[], str] = lambda: time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    ) -> None:
        """Take both.

        Args:
            stream: where it is said.
            file: where it is kept.
            clock: seconds, monotonic.
            stamp: the time, as it stands before each line.
        """
        self._stream, self._file, self._clock, self._stamp = stream, file, clock, stamp
        self._line, self._broken, self._kept_at = "", False, -math.inf

    def write(self, text: str) -> int:
        """Write, and keep what has become whole lines."""
        self._stream.write(text)
        if text.startswith(IN_PLACE):
            self._line = ""
            if self._clock() - self._kept_at >= QUIET_S:
                self._kept_at = self._clock()
                self._keep([text.removeprefix(IN_PLACE)])
            return len(text)
        *lines, self._line = (self._line + text).split("\n")
        self._keep([line for line in lines if line])
        return len(text)

    def _keep(self, lines: list[str]) -> None:
        if self._broken or not lines:
            return
        try:
            append(self._file, "".join(f"{self._stamp()} {line}\n" for line in lines))
        except StorageError as error:
            self._broken = True
            self._stream.write(f"--log {error} Nothing more is kept there; the rest goes on.\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def logged(file: Path | None, *, output: bool) -> Iterator[None]:
    """Keep what is said from here on in a file; None keeps nothing.

    Args:
        file: what it holds already stays.
        output: whether standard output is kept, beside standard error.

    Raises:
        StorageError: it cannot be written.
    """
    if file is None:
        yield
        return
    try:
        append(file, "")
    except StorageError as error:
        raise StorageError(f"--log {error} Give a file that can be written.") from error
    before = sys.stdout, sys.stderr
    sys.stderr = cast(TextIO, Copied(before[1], file))
    if output:
        sys.stdout = cast(TextIO, Copied(before[0], file))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
