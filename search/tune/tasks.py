"""Work of a search on its cluster: functions run as Ray tasks with what a trial takes, and tell their progress here."""

import inspect
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from spaces.errors import ResourceError, StudentSearchError
from trainables.datasets.cache_folder import storage, stored_in

Say = Callable[[str], None]

BEGAN, TOLD, DONE, FAILED = "began", "told", "done", "failed"
ATTEMPTS = 4  # at one piece of work, where the process or node that does it is lost
WAITING_TOLD_S = 30.0  # after which it is told that nothing has found a place yet


class Takes(Protocol):
    """What a piece of work takes: what one worker of a trial does."""

    @property
    def cpus(self) -> float:
        """CPUs."""

    @property
    def gpus(self) -> float:
        """GPUs, or a part of one."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one of several pieces of work.

    Attributes:
        index: its place among them.
        value: what it returned.
        error: what it raised, as itself; None of one that returned.
    """

    index: int
    value: Any = None
    error: Exception | None = None

    def result(self) -> Any:
        """Return what it returned, or raise what it raised."""
        if self.error is not None:
            raise self.error
        return self.value


@dataclass(frozen=True, kw_only=True)
class _Single:
    """What work of one thread takes."""

    gpus: float
    cpus: float = 1.0


@final
class Tasks:
    """Runs functions on the cluster that this process has joined."""

    def __init__(self, takes: Takes, *, say: Say) -> None:
        """Take what each piece of work takes of the cluster, and who takes lines on it."""
        self._takes, self._say = takes, say

    @property
    def gpus(self) -> float:
        """GPUs that each piece of work has."""
        return self._takes.gpus

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function returns there, see `run_there`."""
        return run_there(function, *arguments, resources=self._takes, say=self._say)

    def run_all(
        self, function: Callable[..., Any], orders: Sequence[tuple[Any, ...]], *, single: bool = False
    ) -> Iterator[Outcome]:
        """Yield what becomes of each call, see `run_all`; one that is `single` has one thread, and takes one CPU or a GPU."""
        takes = _Single(gpus=self._takes.gpus) if single else self._takes
        return run_all(function, orders, resources=takes, say=self._say)


def run_there(function: Callable[..., Any], *arguments: Any, resources: Takes, say: Say) -> Any:
    """Return what a function returns somewhere on the cluster.

    Ctrl-C ends it there, too. Where its process or node is lost, it begins anew elsewhere.

    Args:
        function: of a module of ours. A parameter `say` gets what takes a line of progress; it is told here.
        arguments: what it is given; they travel.
        resources: what it takes.
        say: takes a line for the user.

    Raises:
        Exception: what it raised, as itself, with the node in its words.
        ResourceError: process or node were lost again and again.
    """
    (outcome,) = run_all(function, [arguments], resources=resources, say=say)
    return outcome.result()


def run_all(
    function: Callable[..., Any],
    orders: Sequence[tuple[Any, ...]],
    *,
    resources: Takes,
    say: Say,
    most: int | None = None,
) -> Iterator[Outcome]:
    """Yield what becomes of each call of a function, as it comes; all are on their way at once, spread over the nodes.

    Args:
        function: see `run_there`.
        orders: the arguments of each call.
        resources: what each takes.
        say: takes a line for the user.
        most: so many on their way at a time, in their order, for work that takes more than Ray is told of it here; None for all.
    """
    remote = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=0)(_work).options(
        num_returns="streaming", scheduling_strategy="SPREAD", name=function.__name__
    )
    told = "say" in inspect.signature(function).parameters

    def start(indices: Sequence[int]) -> Any:
        return remote.remote(function, [orders[index] for index in indices], storage(), told)

    waiting, running = _groups(len(orders), resources), list[_Running]()
    waits = _Waits(function.__name__, resources, say)
    try:
        while running or waiting:
            while waiting and (most is None or len(running) < most):
                group = waiting.pop(0)
                running.append(_Running(left=group, stream=start(group)))
            ready, _ = ray.wait([one.stream for one in running], num_returns=1, timeout=WAITING_TOLD_S)
            if not ready:
                waits.tell(begun=any(one.node for one in running))
            for one in [one for one in running if any(one.stream is stream for stream in ready)]:
                found = one.next()
                if isinstance(found, _Lost) and one.attempt < ATTEMPTS:
                    say(f"{function.__name__}: {found.why}; it begins anew")
                    again = _Running(left=one.left, stream=start(one.left), attempt=one.attempt + 1)
                    running[running.index(one)] = again
                elif isinstance(found, str):
                    say(found)
                elif found is not None:
                    end = found.outcome(one.left[0], function.__name__) if isinstance(found, _Lost) else found
                    one.left, one.attempt = one.left[1:], 1
                    if end.error is not None or not one.left:
                        running.remove(one)
                        waiting[:0] = [one.left] if one.left else []
                    yield end
    finally:
        for one in running:
            with suppress(RayError, ValueError):  # it has just ended, or Ray has
                ray.cancel(one.stream, force=True)


def _groups(count: int, takes: Takes) -> list[list[int]]:
    """Return which calls one process makes, until one fails: each its own, but on GPUs, of which one has one process.

    Ray ends a process that had a GPU after one call, lest it hold on to memory there. To begin anew, with what it imports, CUDA
    and a teacher, took 20 s on an H100, for each of the 16 parts of a cache.
    """
    slots = int(ray.cluster_resources().get("GPU", 0.0) / takes.gpus + 1e-6) if takes.gpus else 0
    return (
        [list(range(first, count, slots)) for first in range(min(slots, count))]
        if slots
        else [[one] for one in range(count)]
    )


@dataclass(kw_only=True, eq=False)
class _Running:
    """Calls that are on their way, in one process.

    Attributes:
        left: their places among the orders, of those that have not ended.
        stream: yields what they tell.
        attempt: 1, and one more for each process that was lost since a call ended.
        node: on which it has begun, "" before.
    """

    left: list[int]
    stream: Any
    attempt: int = 1
    node: str = ""

    def next(self) -> "str | Outcome | _Lost | None":
        """Return what it tells next: a line, its end, or that it is lost; None where that is nothing to anybody."""
        try:
            kind, what = ray.get(next(self.stream))
        except StopIteration:
            return _Lost(why=f"its process on {self.node or 'the cluster'} ended without a word")
        except RayTaskError as error:  # of our own wrapper, or arguments that cannot travel
            return Outcome(
                index=self.left[0], error=error.cause if isinstance(error.cause, Exception) else error
            )
        except (RayError, GetTimeoutError) as error:
            first = (str(error).strip().splitlines() or [""])[0]
            return _Lost(why=f"lost on {self.node or 'the cluster'} ({type(error).__name__}: {first})")
        if kind == BEGAN:
            self.node = what
        elif kind == TOLD:
            return str(what)
        elif kind == FAILED:
            return Outcome(index=self.left[0], error=located(what, self.node))
        else:
            return Outcome(index=self.left[0], value=what)
        return None


@dataclass(frozen=True, kw_only=True)
class _Lost:
    """Calls whose process or node is gone."""

    why: str

    def outcome(self, index: int, name: str) -> Outcome:
        """Return it as the end of one of them."""
        said = f"{name}: {self.why}, and so it was {ATTEMPTS} times. Look at memory and logs of the nodes, then try again."
        return Outcome(index=index, error=ResourceError(said))


@dataclass(kw_only=False)
class _Waits:
    """Tells why nothing has begun."""

    name: str
    takes: Takes
    say: Say
    began: float = field(default_factory=time.monotonic)

    def tell(self, *, begun: bool) -> None:
        """Say what is waited for, if all of it still is."""
        if begun:
            return
        free = ray.available_resources()
        needs = f"{self.takes.cpus:g} CPU" + (f" and {self.takes.gpus:g} GPU" if self.takes.gpus else "")
        self.say(
            f"{self.name}: waits for a place, {time.monotonic() - self.began:.0f} s so far; needs {needs}, free on the whole "
            f"cluster: {free.get('CPU', 0.0):g} CPU, {free.get('GPU', 0.0):g} GPU (Ctrl-C ends the wait)"
        )


def located(error: Exception, node: str) -> Exception:
    """Return an error of the tree with the node on which it came, if the cluster has several; any other as it is."""
    alone = sum(one["Alive"] for one in ray.nodes()) < 2
    if alone or not isinstance(error, StudentSearchError) or not error.args:
        return error
    first, *rest = error.args
    if isinstance(first, list):  # all that is wrong with a space
        return error
    error.args = (f"{first} (on the node {node})", *rest)
    return error


def _work(
    function: Callable[..., Any], orders: Sequence[tuple[Any, ...]], kept: str, told: bool
) -> Iterator[tuple[str, Any]]:
    """Run in a process of the cluster: yield what a function tells, and what each call returns, until one raises.

    It has a thread of its own, so that its lines leave while it runs.
    """
    lines: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def call(arguments: tuple[Any, ...]) -> None:
        try:
            with stored_in(kept):
                more = {"say": lambda line: lines.put((TOLD, line))} if told else {}
                lines.put((DONE, function(*arguments, **more)))
        except (
            Exception
        ) as error:  # the boundary of the work: whatever it was, it is told where the search runs
            if not isinstance(error, StudentSearchError):
                error.add_note("".join(traceback.format_exception(error)))
            lines.put((FAILED, error))

    yield BEGAN, ray.util.get_node_ip_address()
    for arguments in orders:
        threading.Thread(target=call, args=(arguments,), daemon=True).start()
        kind = ""
        while kind not in (DONE, FAILED):
            kind, what = lines.get()
            yield kind, what
        if (
            kind == FAILED
        ):  # it holds on to what it had on a GPU, and may have spoilt CUDA: a new process makes the others
            return
