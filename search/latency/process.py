"""A process beside the search that measures latency, so that neither Tune's loop nor its memory has to do with it.

It has the models in its own memory, its own number of torch threads, and ends with the search, however that ends.
"""

import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO, final

from search.latency.orders import (
    Order,
    failed_line,
    found_line,
    order_line,
    read_answer,
    read_order,
    said_line,
)
from spaces.errors import ResourceError
from trainables.costs.latency import Latency
from trainables.costs.subject import Subject
from trainables.costs.table import LatencyTable
from trainables.costs.target import Target

Say = Callable[[str], None]
ROOT = Path(__file__).resolve().parents[2]
CLOSING_S = 10.0
ATTEMPTS = 2  # of which the first may have been ended from outside


def measured(target: Target, folder: Path, subjects: Sequence[Subject], *, say: Say) -> list[Latency]:
    """Return the latency of each subject, by the table in a folder; what it lacks is measured in this process.

    Raises:
        ResourceError: the target does not exist here.
    """
    table = LatencyTable(folder, target, say)
    table.measure(subjects)
    return [table.latency(subject) for subject in subjects]


@final
class MeasuringProcess:
    """Measures in a process of its own, which starts with the first call and is asked again and again."""

    def __init__(self, target: Target, folder: Path, *, say: Say) -> None:
        """Take where to measure, the folder of the table, and who takes lines."""
        self._target, self._folder, self._say = target, folder, say
        self._process: subprocess.Popen[str] | None = None
        self._last_words: deque[str] = deque(maxlen=1)
        self._closed = False
        self._turn = threading.Lock()

    def __call__(self, subjects: Sequence[Subject]) -> list[Latency]:
        """Return the latency of each subject.

        Raises:
            StudentSearchError: the target does not exist here.
            ResourceError: the process ended, twice.
        """
        with self._turn:
            return self._measured(list(subjects))

    def _measured(self, subjects: list[Subject]) -> list[Latency]:
        """Ask the process, and a new one where it is gone."""
        for attempt in range(1, ATTEMPTS + 1):
            process = self._process or self._start()
            try:
                return self._answer(process, order_line(self._target, self._folder, subjects))
            except (OSError, ValueError) as error:
                told = self._told(process)
                self._forget()
                if self._closed or attempt == ATTEMPTS:
                    raise ResourceError(
                        f"latency: the process that measures it ended ({process.returncode}), and again when started "
                        f"anew ({told}). It may have run out of memory: free some, or lower latency.batch."
                    ) from error
                self._say(f"latency: the process that measures it ended ({told}); it begins anew")
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the process, whatever it does."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
            process.wait()
        if self._turn.acquire(timeout=CLOSING_S):  # nobody reads its answers any more
            self._forget()
            self._turn.release()

    def _start(self) -> "subprocess.Popen[str]":
        """Start the process, in a session of its own: a signal to the command's group is not for it."""
        if self._closed:
            raise ResourceError("latency: nothing is measured any more, the search has ended.")
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._last_words.clear()
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "search.latency.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"},
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )

        def listen() -> None:
            assert process.stderr is not None
            with process.stderr as stream:
                self._last_words.extend(line.strip() for line in stream if line.strip())

        threading.Thread(target=listen, daemon=True).start()
        return process

    def _answer(self, process: "subprocess.Popen[str]", order: str) -> list[Latency]:
        """Return what the process answers.

        Raises:
            OSError, ValueError: it is gone.
        """
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(order)
        process.stdin.flush()
        while True:
            answer = read_answer(process.stdout.readline())
            if not isinstance(answer, str):
                return answer
            self._say(answer)

    def _told(self, process: "subprocess.Popen[str]") -> str:
        """Wait for the end of a process; return its last line on standard error."""
        process.kill()
        code = process.wait()
        return self._last_words[0] if self._last_words else f"exit code {code}"

    def _forget(self) -> None:
        """Let go of a process that has ended."""
        process, self._process = self._process, None
        for stream in (process.stdin, process.stdout) if process else ():
            with suppress(OSError):  # what was not read by it
                if stream is not None:
                    stream.close()


def serve(asked: TextIO, answers: TextIO) -> None:
    """Answer orders until no more can come; the process then ends at once, in the middle of a measurement, too."""
    orders: queue.SimpleQueue[Order] = queue.SimpleQueue()

    def read() -> None:
        for line in asked:
            orders.put(read_order(line))
        os._exit(0)

    def tell(line: str) -> None:
        answers.write(line)
        answers.flush()

    threading.Thread(target=read, daemon=True).start()
    while True:
        target, folder, subjects = orders.get()
        try:
            tell(found_line(measured(target, folder, subjects, say=lambda line: tell(said_line(line)))))
        except Exception as error:  # the boundary of the process: told to the search, which ends
            tell(failed_line(error))


if __name__ == "__main__":
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print is no answer
    serve(sys.stdin, replies)
