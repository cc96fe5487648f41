"""Filling parts in several processes of this machine, one thread each: the same bytes as one process writes.

They are forked, as PyTorch's own data loaders are: teacher and data are shared, and the first pass begins after a tenth of a
second, where a new interpreter takes five. With one thread no library starts a pool of threads, which a fork would have lost.
"""

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import NoReturn

import torch

from spaces.errors import ResourceError, StudentSearchError
from spaces.files import remove_drafts
from trainables.datasets.encoded import EncodedSplit
from trainables.share import one_thread
from trainables.teachers.cache.passes import Tick, fill_part
from trainables.teachers.cache.plan import Part
from trainables.teachers.teacher import Teacher

PAYS = 256  # rows for each process; starting one costs as much as some fifty rows of the smallest teacher


def fill_here(
    parts: Sequence[Part], teacher: Teacher, split: EncodedSplit, tick: Tick, *, workers: int = 1
) -> None:
    """Fill parts on this machine, in several processes where that pays.

    Args:
        parts: of a plan.
        teacher: its passes run where it is; on a GPU in this process alone.
        split: that of the plan.
        tick: takes the number of rows that were computed.
        workers: processes at most.

    Raises:
        StudentSearchError: as `fill_part` does, and a ResourceError where a process was killed.
    """
    rows = sum(part.num_rows for part in parts)
    number = min(workers, len(parts), rows // PAYS)
    if number > 1 and teacher.model.device.type == "cpu":
        _fill_forked(parts, teacher, split, tick, number)
        return
    with one_thread():
        for part in parts:
            fill_part(part, teacher, split, tick)


@dataclass(slots=True)
class _Worker:
    """A process, the way to it, and whether it was waited for: its number may be another's by then."""

    pid: int
    pipe: Connection
    gone: bool = False


def _fill_forked(
    parts: Sequence[Part], teacher: Teacher, split: EncodedSplit, tick: Tick, number: int
) -> None:
    """Hand each part to the next process that is free."""
    left = list(reversed(range(len(parts))))
    workers: dict[Connection, _Worker] = {}
    try:
        for _ in range(number):
            one = _start(parts, teacher, split, [worker.pipe for worker in workers.values()])
            workers[one.pipe] = one
            one.pipe.send(left.pop())
        while workers:
            for pipe in wait(list(workers)):
                worker = workers[pipe]  # type: ignore[index]  # it is one of them
                if not _listen(worker, tick):
                    continue
                if left:
                    worker.pipe.send(left.pop())
                else:
                    del workers[worker.pipe]
                    _end(worker)
    finally:
        for worker in workers.values():
            if not worker.gone:
                os.kill(worker.pid, signal.SIGKILL)
                _end(worker)
            remove_drafts(Path(parts[0].folder), worker.pid)


def _listen(worker: _Worker, tick: Tick) -> bool:
    """Take what a process says; return whether its part is done.

    Raises:
        StudentSearchError: what it met, or that it was killed.
    """
    try:
        said = worker.pipe.recv()
    except (EOFError, ConnectionError) as error:
        status = _end(worker)
        how = f"by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "from outside"
        raise ResourceError(
            f"teacher cache: process {worker.pid}, which filled a part of it, was killed {how}; memory may have run out. Free "
            "some and run the command again: it goes on from the parts that are done."
        ) from error
    if isinstance(said, BaseException):
        _end(worker)
        raise said
    if said:
        tick(said)
    return not said


def _start(
    parts: Sequence[Part], teacher: Teacher, split: EncodedSplit, others: Sequence[Connection]
) -> _Worker:
    """Fork a process that fills the parts whose numbers it is told."""
    mine, its = Pipe()
    with (
        warnings.catch_warnings()
    ):  # Python 3.12 warns of other threads: ours hold nothing that a worker needs
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        for pipe in (mine, *others):  # else it would never learn that its parent has gone
            pipe.close()
        _work(parts, teacher, split, its)
    its.close()
    return _Worker(pid, mine)


def _work(parts: Sequence[Part], teacher: Teacher, split: EncodedSplit, pipe: Connection) -> NoReturn:
    """Fill parts until there is nobody to say which; end without running what the parent is to run at its end."""
    parent = os.getppid()

    def tick(count: int) -> None:
        if os.getppid() != parent:
            os._exit(1)
        pipe.send(count)

    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # an interrupt is the parent's business
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
        torch.set_num_threads(1)
        while True:
            fill_part(parts[pipe.recv()], teacher, split, tick)
            pipe.send(0)
    except (EOFError, ConnectionError):
        os._exit(0)
    except StudentSearchError as error:
        pipe.send(error)
    except BaseException as error:  # told by the parent, as any error of ours is
        with suppress(Exception):
            pipe.send(RuntimeError(f"while a part of the teacher cache was filled: {error!r}"))
        sys.excepthook(type(error), error, error.__traceback__)
    os._exit(1)


def _end(worker: _Worker) -> int:
    """Let a process go; return how it ended."""
    worker.pipe.close()
    _, status = os.waitpid(worker.pid, 0)
    worker.gone = True
    return status
