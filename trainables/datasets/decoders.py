"""Processes that work ahead of the one that started them, each by pipes of its own, so that the end of one is seen at once.

torch's DataLoader has one pipe for all its processes: one that is killed while it writes there leaves half a message, for the
rest of which a trial waits for ever (up to 2.14 in all threads but the main one). Batches of pixels are much larger than a pipe,
so that a process is writing for much of its time.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

AHEAD = 2  # orders that each process has at a time
END_S = 5.0  # for a process to end by itself

Order = TypeVar("Order")
Made = TypeVar("Made")


class ProcessLost(Exception):
    """A process has ended that had something to do; says which and how."""


class Decoders(Generic[Order, Made]):
    """Processes that make something of orders; they live until `end`, or until nobody refers to them any more."""

    def __init__(self, make: Callable[[Order], Made], count: int) -> None:
        """Start them.

        Args:
            make: what they do; travels there, as orders do, and raises nothing.
            count: of processes.

        Raises:
            ProcessLost: one has ended before it began.
        """
        context = multiprocessing.get_context("spawn")  # a fork would copy locks of other threads, and CUDA
        self._processes: list[Any] = []
        self._orders: list[Connection] = []
        self._made: list[Connection] = []
        self._owed = [0] * count
        for number in range(count):
            orders, send = context.Pipe(duplex=False)
            receive, made = context.Pipe(duplex=False)
            self._orders.append(send)
            self._made.append(receive)
            process = context.Process(target=_work, args=(make, orders, made), daemon=True)
            self._processes.append(process)
            try:
                process.start()
            except OSError as error:
                raise ProcessLost(self._how(number)) from error
            finally:  # what it holds alone ends with it
                orders.close()
                made.close()

    def all(self, orders: Sequence[Order]) -> Iterator[Made]:
        """Yield what the processes make of orders, in their order; what was not taken of earlier ones is dropped.

        Raises:
            ProcessLost: one has ended.
        """
        for number in range(len(self._processes)):
            while self._owed[number]:
                self._take(number)
        count = len(self._processes)
        for place in range(min(AHEAD * count, len(orders))):
            self._send(place % count, orders[place])
        for place in range(len(orders)):
            found = self._take(place % count)
            if place + AHEAD * count < len(orders):
                self._send(place % count, orders[place + AHEAD * count])
            yield found

    def _send(self, number: int, order: Order) -> None:
        try:
            self._orders[number].send(order)
        except OSError as error:
            raise ProcessLost(self._how(number)) from error
        self._owed[number] += 1

    def _take(self, number: int) -> Made:
        try:
            found: Made = self._made[number].recv()
        except (EOFError, OSError) as error:  # OSError: in the middle of a message
            raise ProcessLost(self._how(number)) from error
        self._owed[number] -= 1
        return found

    def _how(self, number: int) -> str:
        """Return how a process has ended."""
        process = self._processes[number]
        if process.pid is None:
            return "it could not be started"
        process.join(END_S)
        code = process.exitcode
        ended = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return f"process {process.pid}: {ended}"

    def end(self) -> None:
        """End them, whatever they are at."""
        for one in (*self._orders, *self._made):
            one.close()
        for process in self._processes:
            if process.pid is not None:
                process.terminate()
                process.join(END_S)


def _work(make: Callable[[Any], Any], orders: Connection, made: Connection) -> None:
    """Make what is ordered until the other end is closed, with one thread; signals of the terminal are for the one that ordered.

    What is made is handed over by another thread: so orders are always taken, and neither side waits for the other to read.
    """
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    done = SimpleQueue[Any]()
    Thread(target=_hand_over, args=(done, made), daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            done.put(make(orders.recv()))


def _hand_over(done: "SimpleQueue[Any]", made: Connection) -> None:
    with suppress(OSError):  # nobody takes it any more
        while True:
            made.send(done.get())
