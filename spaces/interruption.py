"""Signals that ask a program to end: Ctrl-C, SIGTERM (a scheduler, a container, `timeout`) and SIGHUP (a closed terminal)."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

Handler = Callable[[int, FrameType | None], Any]

_state: dict[str, Any] = {"shields": 0, "waiting": None}


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end.

    Attributes:
        number: which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program ended by that signal: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
        return 128 + self.number

    def __str__(self) -> str:
        return signal_name(self.number)


def exit_code_of(error: KeyboardInterrupt) -> int:
    """Return the exit code after an interruption; Python's own one is that of Ctrl-C."""
    return error.exit_code if isinstance(error, Interrupted) else 128 + signal.SIGINT


def signal_name(number: int) -> str:
    """Return what a person calls a signal."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def interrupt_now(number: int) -> None:
    """Raise `Interrupted`, or have the innermost `shielded` block raise it when that is over.

    Raises:
        Interrupted: where nothing is shielded.
    """
    if _state["shields"]:
        _state["waiting"] = number
        return
    raise Interrupted(number)


@contextmanager
def shielded() -> Iterator[None]:
    """Let nothing break a block off that must be done as a whole; a signal that came meanwhile counts after it.

    Raises:
        Interrupted: one came.
    """
    if threading.current_thread() is not threading.main_thread():  # no signal ever comes there
        yield
        return
    _state["shields"] += 1
    try:
        yield
    finally:
        _state["shields"] -= 1
        number = _state["waiting"]
        if number is not None and not _state["shields"]:
            _state["waiting"] = None
            raise Interrupted(number)


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Let a handler take the signals for a while; in another thread than the main one, Python lets it take none.

    SIGHUP and SIGTERM that were ignored stay so: that is what `nohup` is for.
    """
    before: Mapping[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        taken = [
            one for one in SIGNALS if one == signal.SIGINT or signal.getsignal(one) is not signal.SIG_IGN
        ]
        before = {number: signal.signal(number, handler) for number in taken}
    try:
        yield
    finally:
        for number, old in before.items():
            # None stands for a handler that C code installed; Python cannot put that one back
            signal.signal(number, old if old is not None else signal.SIG_DFL)


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Let nobody else take the signals for good; for what starts or ends a library that wants them for itself.

    `ray.init` (up to 2.60) sets three handlers of SIGTERM: two in Python, and one in C that aborts the process; `ray.shutdown`
    leaves the default behind, which ends it. Python knows of neither, so ours are set again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found, before = signal.signal, {number: signal.getsignal(number) for number in SIGNALS}

    def refuse(number: int, handler: Any) -> Any:
        return signal.getsignal(number) if number == signal.SIGTERM else found(number, handler)

    signal.signal = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = found
        for number, handler in before.items():
            if handler is not None:  # one of C code, which Python cannot set
                signal.signal(number, handler)


def quitting() -> Any:
    """Return a context in which every signal ends what runs at once, by an exception, so that all is tidied up."""
    return handled(lambda number, frame: interrupt_now(number))
