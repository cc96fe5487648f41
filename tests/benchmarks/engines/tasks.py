"""Tasks: pure functions of their arguments, run one after the other or in several processes."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """One measurement.

    Attributes:
        key: what it is of; these are the arguments too.
        function: at the top of a module, so that another process finds it.
    """

    key: tuple[Any, ...]
    function: Callable[..., Any]

    def __call__(self) -> Any:
        """Run it."""
        return self.function(*self.key)


def run_all(
    tasks: Sequence[Task], *, jobs: int, told: Callable[[tuple[Any, ...], Any], None] | None = None
) -> dict[tuple[Any, ...], Any]:
    """Return key -> result in the order of the tasks, and tell each as it ends; progress goes to stderr."""
    done: dict[tuple[Any, ...], Any] = {}
    for task, result, wall_s in _run(tasks, jobs):
        done[task.key] = result
        if told is not None:
            told(task.key, result)
        words = ", ".join(str(part) for part in task.key)
        print(f"{len(done)}/{len(tasks)} {words}: {wall_s:.1f} s", file=sys.stderr, flush=True)
    return {task.key: done[task.key] for task in tasks}


def _run(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Any, float]]:
    """Yield each task with its result and the seconds it took, as they end."""
    if jobs == 1:
        for task in tasks:
            yield (task, *_timed(task))
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # the processes are the parallelism
        os.environ.setdefault(name, "1")
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(_timed, task): task for task in tasks}
        for future in as_completed(waiting):
            yield (waiting[future], *future.result())


def _timed(task: Task) -> tuple[Any, float]:
    """Return a task's result and the seconds it took."""
    before = time.perf_counter()
    result = task()
    return result, time.perf_counter() - before
