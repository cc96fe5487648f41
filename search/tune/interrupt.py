"""Who owns Ctrl-C: the first signal ends the search in good order, the second at once.

Ray Tune installs its own SIGINT handler over any other; TUNE_DISABLE_SIGINT_HANDLER=1 must be set before it
starts.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self, final

from ray.tune.stopper import Stopper

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@final
class Interrupt:
    """While entered, SIGINT and SIGTERM set a flag; a second one raises KeyboardInterrupt.

    Python lets the main thread alone handle signals: entered in another one, it listens to none.

    Attributes:
        signal_number: the first signal that came, None before that.
    """

    def __init__(self, *, notice: str = "", notice_fd: int = 2) -> None:
        """Remember what to say.

        Args:
            notice: printed once, at the first signal.
            notice_fd: file descriptor to print it to.
        """
        self.signal_number: int | None = None
        self._notice, self._notice_fd = notice, notice_fd
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether the search is to end."""
        return self.signal_number is not None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program ended by that signal: 130 after Ctrl-C; 0 where none came."""
        return 0 if self.signal_number is None else 128 + self.signal_number

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that C code installed; Python cannot put that one back
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self.requested:
            raise KeyboardInterrupt
        self.signal_number = number
        if self._notice:
            # print() here could land inside a print() of the main program, which Python refuses
            os.write(self._notice_fd, f"\n{self._notice}\n".encode())


@final
class SearchStopper(Stopper):
    """Ends all trials of a Tune run once the search is over."""

    def __init__(self, over: Callable[[], bool]) -> None:
        """Take the question whether running trials are to end."""
        self._over = over

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: no trial is ended alone."""
        return False

    def stop_all(self) -> bool:
        """Return whether all trials are to end."""
        return self._over()

    def __getstate__(self) -> dict[str, Any]:
        """Return no question: Ray pickles its stopper again and again, and never reads it back."""
        return {"_over": _never}


def _never() -> bool:
    return False
