"""Who owns the signals while a search runs: the first ends it in good order, the second at once.

Ray Tune installs its own SIGINT handler over any other; TUNE_DISABLE_SIGINT_HANDLER=1 must be set before it starts. `ray.init`
does so with SIGTERM; `kept_handlers` keeps it from that.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType, TracebackType
from typing import Self, final

from spaces.interruption import Interrupted, handled, interrupt_now, signal_name


@final
class Interrupt:
    """While entered, Ctrl-C, SIGTERM and SIGHUP set a flag; a second one raises `Interrupted`.

    Python lets the main thread alone handle signals: entered in another one, it listens to none.

    Attributes:
        signal_number: the first signal that came, None before that.
    """

    def __init__(self, *, notice: str = "") -> None:
        """Remember what to say, once, at the first signal."""
        self.signal_number: int | None = None
        self._notice, self._at_once = notice, False
        self._entered = ExitStack()

    @property
    def requested(self) -> bool:
        """Whether the search is to end."""
        return self.signal_number is not None

    @property
    def name(self) -> str:
        """What a person calls the signal that came, "" where none did."""
        return signal_name(self.signal_number) if self.signal_number is not None else ""

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program ended by that signal: 130 after Ctrl-C; 0 where none came."""
        return 0 if self.signal_number is None else Interrupted(self.signal_number).exit_code

    def __enter__(self) -> Self:
        self._entered.enter_context(handled(self._handle))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.close()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let the first signal, too, raise `Interrupted` in this block."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        first = not self.requested
        self.signal_number = number if self.signal_number is None else self.signal_number
        if not first or self._at_once:
            interrupt_now(self.signal_number)
        elif self._notice:
            # print() here could land inside a print() of the main program, which Python refuses
            with suppress(OSError, ValueError, AttributeError):  # no stream, a closed one, or none of a file
                os.write(sys.stderr.fileno(), f"\n{self._notice}\n".encode())
