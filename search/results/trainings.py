"""Trainings of a control or of finals on a cluster: each is a Ray task, or a driver that waits for workers of its own."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.tune.capacity import Resources
from search.tune.tasks import Outcome, Say, run_all
from trainables.trial import HEAD, HEAD_SHARE, Launch
from trainables.worker_group import release


@dataclass(frozen=True, kw_only=True)
class _Driver:
    """What the process takes that waits for workers of its own: nothing that these wait for."""

    cpus: float = 0.0
    gpus: float = 0.0


@contextmanager
def launched(found: Resources, folder: Path) -> Iterator[Launch]:
    """Give how trainings are run; what worker groups still hold in the end is given back.

    Args:
        found: what each training takes.
        folder: of the run, from the root.
    """
    storage = folder / "ray"
    launch = Launch(
        nested=found.workers > 1,
        workers=found.workers,
        cpus=found.cpus,
        gpus=found.gpus,
        storage=str(storage),
        log="",
        driver={HEAD: HEAD_SHARE},
    )
    try:
        yield launch
    finally:
        release(storage)


def run_trainings(
    function: Callable[..., Any], orders: Sequence[tuple[Any, ...]], *, found: Resources, say: Say
) -> Iterator[Outcome]:
    """Yield what becomes of each call of a function that trains, see `run_all`.

    Args:
        function: of a module of ours; it is told by its arguments how it trains, see `launched`.
        orders: the arguments of each call.
        found: what each training takes; of drivers no more are on their way than there is room for their workers.
        say: takes a line for the user.
    """
    nested = found.workers > 1
    takes, most = (_Driver(), found.slots) if nested else (found, None)
    return run_all(function, orders, resources=takes, say=say, most=most)
