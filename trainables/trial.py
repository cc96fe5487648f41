"""What Ray Tune calls once per candidate.

One worker trains inside the Tune actor itself; several, or one by request, are workers of Ray Train, see `worker_group`. Same
loop, same rows, same checkpoints. The driver of such workers waits most of its time, and there may be hundreds of them: it
never imports torch, nor does this file.
"""

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from spaces.errors import InputsChanged, StorageError
from spaces.files import append, is_storage_trouble, make_folder
from trainables.code_version import code_digest
from trainables.training.control import Row
from trainables.training.job import Job

if TYPE_CHECKING:
    from trainables.worker_group import Workers

HEAD = "node:__internal_head__"
HEAD_SHARE = 0.001  # of the head; never a CPU, which workers may be waiting for
DRIVER_MIB = 512  # of a driver, Ray Train's controller and their helpers
MIB = 2**20
CHECKPOINT = "checkpoint.pt"  # of `trainables.training.checkpoint`, which imports torch
OUT_OF_MEMORY = "OutOfMemoryError"  # of torch

UNWRITTEN = "unwritten"  # in a row: what the disk did not take
HALTED = (
    "halted"  # in a row: which of teacher, data and code are not those that the candidate was planned with
)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a trial is run.

    Attributes:
        nested: through Ray Train even if there is one worker.
        workers: training processes per trial.
        cpus, gpus: of each worker.
        storage: folder that every node sees, for Ray Train's own files.
        log: the trial's log file.
        retries: how often it goes on from its checkpoint after its process, its workers or their node were lost.
        node_copies: folder in which each node keeps copies of the caches that trials read; "" for none.
        memory_share: of a GPU's memory that each worker may take, where several trials share it.
        driver: what the driver of several workers takes, see `driver_share`.
    """

    nested: bool
    workers: int
    cpus: float
    gpus: float
    storage: str
    log: str
    retries: int = 3
    memory_share: float = 1.0
    node_copies: str = ""
    driver: Mapping[str, float] = field(default_factory=lambda: {HEAD: HEAD_SHARE})

    def resources(self) -> tune.PlacementGroupFactory:
        """Return what the Tune actor of such a trial takes."""
        if self.nested:
            return tune.PlacementGroupFactory([dict(self.driver)], strategy="SPREAD")
        return tune.PlacementGroupFactory([{"CPU": self.cpus, "GPU": self.gpus}])


def driver_share(nodes: Sequence[Mapping[str, float]], trials: int) -> Mapping[str, float]:
    """Return what the driver of a trial with workers of its own takes; Tune does not allow nothing at all.

    Memory, which every node tells unless somebody has set it to none: Ray then takes the node that has most left of it, so that
    drivers spread over the cluster. All drivers together take half of it at most. Of a single node, or where one tells no
    memory, a share of the head, which bounds nobody.

    Args:
        nodes: what each node has.
        trials: side by side.
    """
    memory = [node.get("memory", 0.0) for node in nodes]
    each = min(DRIVER_MIB * MIB, sum(memory) / 2 / max(trials, 1))
    if len(nodes) < 2 or min(memory) < each or each < MIB:
        return {HEAD: HEAD_SHARE}
    return {"memory": float(int(each / MIB) * MIB)}


class TuneControl:
    """One worker inside a Tune actor."""

    rank = 0
    world = 1

    def __init__(self, log: Path) -> None:
        self.log = log

    def report(self, row: Row) -> None:
        """Hand the row to Tune; returns after a stop was decided, never."""
        note(self.log, f"epoch {row['epoch']}: {row['status']}, loss {row.get('loss', float('nan')):.4f}")
        tune.report(row)

    def say(self, line: str) -> None:
        """Note a line in the trial's log."""
        note(self.log, line)


def note(log: Path, text: str) -> None:
    """Append a line to the trial's log file, and to a copy among this node's Ray logs, where the dashboard lists it.

    The copy is called candidate-ID.log: actors are reused from trial to trial and so cannot bear a candidate's name.
    """
    line = f"[{log.stem}] {text}"
    print(line, flush=True)
    make_folder(log.parent)
    append(log, line + "\n")
    with suppress(StorageError):  # the copy; Ray's disk may be another, and the line is in the log already
        append(_ray_logs() / f"candidate-{log.name}", line + "\n")


def _ray_logs() -> Path:
    """Return the folder of this node's Ray logs; Ray has no public call for it (none up to 2.60)."""
    node = ray._private.worker._global_node
    assert node is not None, "a trial runs inside a Ray worker"
    return Path(node.get_logs_dir_path())


_workers: "Workers | None" = None  # of this process


def _workers_for(launch: Launch) -> "Workers":
    """Return the workers of this process, or new ones."""
    from trainables.worker_group import Workers

    global _workers
    if _workers is not None and (_workers.gone or _workers.kind != replace(launch, log="")):
        _workers.end()
        _workers = None
    if _workers is None:
        _workers = Workers(launch)
    return _workers


def check_code(job: Job) -> None:
    """Refuse a candidate that other code has planned: it would come out otherwise than those that are through.

    Raises:
        InputsChanged: names both digests and the machine.
    """
    mine = code_digest()
    if job.code and mine != job.code:
        raise InputsChanged(
            f"code: {Path(__file__).parents[1]} on {ray.util.get_node_ip_address()} has digest {mine}; the search was started "
            f"with {job.code}. The files were changed while it ran, or that node has another version. Put the code back or "
            "install the same version there, then --resume the run (nothing is lost); it goes on with other code as well, and "
            "run.json keeps which."
        )


def check_folder(folder: Path) -> None:
    """Refuse to train where this node does not see the candidate's folder: nobody would find what is written there.

    Raises:
        InputsChanged: names the folder and the machine.
    """
    if not folder.is_dir():
        raise InputsChanged(
            f"run folder {folder}: {os.uname().nodename} does not see this folder, in which a candidate keeps its checkpoint. "
            "Mount it there at the same path, or take that node out of the cluster; then --resume the run (nothing is lost)."
        )


def _workers_of(launch: Launch) -> str:
    return f"{launch.workers} worker{'' if launch.workers == 1 else 's'}"


def run_nested(job: Job, launch: Launch, report: Callable[[Row], object] = tune.report) -> None:
    """Train with a group of workers; where one is lost, new ones go on from the checkpoint.

    There may be no room for them for hours, since others use the cluster or a node has gone. That is no failure.

    Args:
        job: of the candidate.
        launch: how many workers, of what.
        report: takes a row of each epoch; by default Ray Tune does.
    """
    from trainables.worker_group import found_no_room, own_fault

    lost = 0
    while True:
        workers = _workers_for(launch)
        try:
            if workers.train(job, launch.log, report):
                return
        except Exception as error:
            if (own := own_fault(error)) is not None:
                raise own from error
            if found_no_room(error):
                note(Path(launch.log), f"still waits for room for {_workers_of(launch)}")
                continue
            lost += 1
            if not workers.gone or lost > launch.retries:
                raise
            note(Path(launch.log), f"new workers are started ({lost} of {launch.retries}): {_reason(error)}")


def _train_here(job: Job, launch: Launch) -> None:
    from trainables.datasets.node_copies import copied_to
    from trainables.training.loop import train  # imports torch
    from trainables.training.memory import limit_memory

    limit_memory(launch.memory_share)
    with copied_to(launch.node_copies):
        train(job, TuneControl(Path(launch.log)))


def run_trial(config: Mapping[str, Any]) -> None:
    """Train the candidate whose order is the file `config["job"]`, as `config["launch"]` says, telling Tune a row per epoch.

    A failure becomes a last row of status `crashed` or `oom`, whose reason names the log file with the
    traceback; the search goes on. A full disk is none, see `last_row`.
    """
    launch, order = Launch(**config["launch"]), Path(config["job"])
    log, costs = Path(launch.log), dict[str, float]()
    try:
        check_folder(order.parent)  # before the log is written, whose folder it would make
        job = replace(
            Job.read(order, order.parent),
            device="cuda" if launch.gpus else "cpu",
            threads=max(1, int(launch.cpus)),
        )
        costs.update(job.costs)
        note(
            log,
            f"candidate {job.candidate_id} {'continues' if (order.parent / CHECKPOINT).exists() else 'starts'} on "
            f"{ray.util.get_node_ip_address()}: {_workers_of(launch)}, process {os.getpid()}",
        )
        check_code(job)
        if launch.nested:
            run_nested(job, launch)
        else:
            _train_here(job, launch)
    except Exception as error:  # the boundary of a trial: whatever it was, it is told and kept
        tune.report(last_row(config["candidate_id"], error, log, costs))


def last_row(candidate_id: str, error: Exception, log: Path, costs: Mapping[str, float]) -> Row:
    """Return what is told of a training that an error ended, noted in its log where that can be written.

    Where the disk takes no more, or teacher, data or code are not those that were planned with, no candidate has failed: the
    row says so (`unwritten`, `halted`), and the search ends with them all unfinished.
    """
    try:
        if log.parent.is_dir() or not isinstance(error, InputsChanged):  # else this node may not see the run
            note(log, "".join(traceback.format_exception(error)))
    except StorageError as full:
        error = error if is_storage_trouble(error) else full
    row = {"candidate_id": candidate_id, "epoch": 0, **costs}
    if isinstance(error, InputsChanged):
        return {**row, "status": "running", HALTED: f"trial {candidate_id}: {error}"}
    if is_storage_trouble(error):
        said = str(error) if isinstance(error, StorageError) else f"trial {candidate_id}: {_reason(error)}"
        return {**row, "status": "running", UNWRITTEN: said}
    oom = OUT_OF_MEMORY in (type(error).__name__, *str(error).split(":")) or OUT_OF_MEMORY in str(error)
    reason = f"trial {candidate_id}: {_reason(error)}; see {log.parent.name}/{log.name}"
    return {**row, "status": "oom" if oom else "crashed", "reason": reason}


def _reason(error: Exception) -> str:
    """Return one line on an error; of worker groups the last one, since the first says only that workers failed."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1 if type(error).__name__ == 'WorkerGroupError' else 0]}"


def launch_dict(launch: Launch) -> dict[str, Any]:
    """Return the launch as it travels in a trial's config."""
    return asdict(launch)
