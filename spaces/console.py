"""A command and its terminal: no stream that fails ends the work that speaks, and every signal ends it with its exit code."""

import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, Protocol, TextIO, cast, final

from spaces.interruption import exit_code_of, quitting

BINDING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY")  # any of them binds, unless the first says no
UNBOUND = {BINDING[0]: "false"}


class Main(Protocol):
    """A command."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run it; return its exit code."""


@final
class _Nowhere(io.TextIOBase):
    """The stream of a process that has none; libraries ask for its encoding without asking whether it is there."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def write(self, text: str) -> int:
        """Drop the text."""
        return len(text)


@final
class Tolerant:
    """A text stream whose writing never raises; what it cannot say is dropped.

    A reader may go away, a file may lie on a full disk, a terminal may close or have no such letter, and a process
    without a console has no stream at all. Whatever else is asked of it is asked of the stream.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Take the stream; None drops everything."""
        self.stream: Any = _Nowhere() if stream is None else stream

    def write(self, text: str) -> int:
        """Write, with an escape for each letter that the stream does not have."""
        try:
            self.stream.write(text)
        except UnicodeEncodeError as error:
            plain = text.encode(error.encoding, "backslashreplace").decode(error.encoding)
            with suppress(OSError, ValueError):
                self.stream.write(plain)
        except (OSError, ValueError):  # ValueError: it was closed
            pass
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError, ValueError):
            self.stream.flush()

    def isatty(self) -> bool:
        """Return whether a person watches; a closed stream is no terminal."""
        try:
            return bool(self.stream.isatty())
        except ValueError:
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def tolerant(stream: TextIO | None) -> TextIO:
    """Return a stream that never raises while it is written to."""
    return cast(TextIO, stream if isinstance(stream, Tolerant) else Tolerant(stream))


def say(text: str) -> None:
    """Say one line on standard error, as it is at this moment."""
    print(text, file=tolerant(sys.stderr), flush=True)


def command(main: Callable[[Sequence[str] | None], int]) -> Main:
    """Let a command run to its end, and its exit code be true, whatever becomes of its output.

    SIGTERM and SIGHUP reach it as Ctrl-C does, as KeyboardInterrupt; left to us, it says so and returns 130, 143 or 129.
    """

    @wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        _occupy_standard_files()
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = map(tolerant, before)
        try:
            with quitting():
                if line := leave_unbound():
                    say(line)
                return main(arguments)
        except KeyboardInterrupt as error:
            say("interrupted")
            return exit_code_of(error)
        finally:
            sys.stdout, sys.stderr = before
            for stream in before:
                _settle(stream)

    return run


def binding() -> str:
    """Return the setting by which the OpenMP of torch binds a process to cores, as `NAME=VALUE`; "" where none does."""
    if os.environ.get(BINDING[0], "").strip().lower() == UNBOUND[BINDING[0]]:
        return ""
    return next((f"{name}={os.environ[name]}" for name in BINDING if os.environ.get(name)), "")


def leave_unbound() -> str:
    """Keep torch from binding this process to a core when it is imported; return a line that says so, "" where nothing would.

    Its OpenMP (libgomp) moves whoever loads it to the first place that it may use, and all processes that are started from there
    inherit that: a search on one core. Templates of cluster jobs set this for programs of one process.
    """
    if not (found := binding()):
        return ""
    os.environ.update(UNBOUND)
    if "torch" not in sys.modules:
        return f"{found} would bind this process, and all that it starts, to one core: not used here"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if cores == os.cpu_count():
        return ""
    return (
        f"{found} has bound this process to {cores} of {os.cpu_count()} cores, since torch was imported before; "
        f"{BINDING[0]}=false in the shell leaves it all"
    )


def _occupy_standard_files() -> None:
    """Give the numbers 0, 1 and 2 to nobody else.

    Closed by a shell (`>&-`), they would go to the next files that are opened, and whatever a library or a process of ours
    writes to its standard error would land in a table of the run.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)


def _settle(stream: TextIO | None) -> None:
    """Drop what a broken stream still holds: Python would complain of it at its exit, and change the exit code to 120."""
    if stream is None or isinstance(stream, Tolerant):
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):  # a closed one has no number
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
            stream.flush()
