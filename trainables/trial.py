"""What Ray Tune calls once per candidate. The one file of this room that imports ray.

One worker trains inside the Tune actor itself; several, or one by request, run under `ray.train.torch.TorchTrainer`,
and stay for the next trial of their Tune actor: about 1 CPU-second of overhead either way, where a group of workers for
each trial would cost 25. Same loop, same rows, same checkpoints.
"""

import gc
import os
import threading
import traceback
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import train, tune
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from spaces.errors import InputsChanged, ResourceError, StorageError, StudentSearchError
from spaces.files import append, is_storage_trouble, make_folder, write_text
from trainables.code_version import code_digest
from trainables.exchange import DONE, ROW, Exchange
from trainables.training.checkpoint import FILE
from trainables.training.control import Row
from trainables.training.job import Job
from trainables.training.loop import train as train_candidate

HEAD_SHARE = 0.001
"""What the driver of a nested trial takes of `node:__internal_head__`, which every cluster has; never a CPU,
which its workers may be waiting for."""

SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1.0",  # a lost worker is seen so late; rows come another way
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
}
"""Ray Train reads them where `fit` is called, and hands them on; whoever started this Ray need not know of them."""

GROUPS = "groups"  # in `Launch.storage`: one file for each group of workers, named after its placement group

IDLE_S = 30.0  # of workers without a candidate, before they give their CPUs back
UNWRITTEN = "unwritten"  # in a row: what the disk did not take
HALTED = (
    "halted"  # in a row: which of teacher, data and code are not those that the candidate was planned with
)
ATTEMPTS = 3  # at one candidate, each with new workers, where workers were lost
END_S = 60.0  # for workers to leave


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a trial is run.

    Attributes:
        nested: through Ray Train even if there is one worker.
        workers: training processes per trial.
        cpus, gpus: of each worker.
        storage: folder that every node sees, for Ray Train's own files.
        log: the trial's log file.
    """

    nested: bool
    workers: int
    cpus: float
    gpus: float
    storage: str
    log: str

    def resources(self) -> tune.PlacementGroupFactory:
        """Return what the Tune actor of such a trial takes."""
        if self.nested:
            return tune.PlacementGroupFactory([{"node:__internal_head__": HEAD_SHARE}])
        return tune.PlacementGroupFactory([{"CPU": self.cpus, "GPU": self.gpus}])


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


class Stopped(Exception):
    """Ray Tune has stopped the trial: its workers are to take the next."""


class TrainControl:
    """One of several workers under Ray Train."""

    def __init__(self, log: Path, exchange: Any) -> None:
        context = train.get_context()
        self.rank, self.world, self.log = context.get_world_rank(), context.get_world_size(), log
        self.exchange = exchange

    def report(self, row: Row) -> None:
        """Hand rank 0's row to the driver, and wait with all workers for its verdict.

        Raises:
            Stopped: the trial is stopped.
        """
        go_on = True
        if self.rank == 0:
            note(self.log, f"epoch {row['epoch']}: {row['status']}, loss {row.get('loss', float('nan')):.4f}")
            go_on = ray.get(self.exchange.report.remote(row))
        if not broadcast_from_rank_zero(go_on):
            raise Stopped


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


def _note_group(storage: Path) -> None:
    """Write down which placement group this worker is in, for `release`."""
    held = ray.util.get_current_placement_group()
    assert held is not None, "Ray Train puts its workers into one"
    write_text(make_folder(storage / GROUPS) / held.id.hex(), "")


def release(storage: Path) -> None:
    """Give back what workers still hold when no trial is left; to be called by the driver of the search.

    Ray Train's own clean-up asks the dashboard, and gives up where Ray runs without one (up to 2.60): the CPUs of a Ray that
    goes on running would be lost.
    """
    for file in (storage / GROUPS).glob("*"):
        ray.util.remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(file.name)))
        file.unlink()


def _work(config: Mapping[str, Any]) -> None:
    """Run in each worker process of nested trials: train one candidate after another, until no more come."""
    exchange, first = config["exchange"], train.get_context().get_world_rank() == 0
    if first:
        _note_group(Path(config["storage"]))
    while broadcast_from_rank_zero(ray.get(exchange.wait_for_order.remote()) if first else None):
        order = ray.get(exchange.order.remote())
        try:
            job = Job.from_dict(order["job"])
            _check_code(job)
            train_candidate(job, TrainControl(Path(order["log"]), exchange))
        except Stopped:
            pass
        else:
            if first:
                ray.get(exchange.done.remote())
        gc.collect()  # models and their reducers refer to one another


class Workers:
    """A group of Ray Train's workers; it stays with this process from trial to trial.

    Attributes:
        kind: what they were started for.
        gone: they have left or were lost.
    """

    def __init__(self, launch: Launch) -> None:
        """Start them in the background.

        Args:
            launch: how many, of what; its log is of no matter.
        """
        self.kind = replace(launch, log="")
        self.gone = False
        self._error: Exception | None = None
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        actor: Any = ray.remote(num_cpus=0, scheduling_strategy=here)  # type: ignore[call-overload]  # Ray's own example
        self._exchange = actor(Exchange).remote(idle_s=IDLE_S)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        launch = self.kind
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            TorchTrainer(
                _work,
                train_loop_config={"exchange": self._exchange, "storage": launch.storage},
                torch_config=TorchConfig(backend="nccl" if launch.gpus else "gloo"),
                scaling_config=train.ScalingConfig(
                    num_workers=launch.workers,
                    use_gpu=launch.gpus > 0,
                    resources_per_worker={
                        "CPU": launch.cpus,
                        **({"GPU": launch.gpus} if launch.gpus else {}),
                    },
                ),
                run_config=train.RunConfig(
                    name=f"workers-{uuid.uuid4().hex[:8]}",
                    storage_path=launch.storage,
                    # a lost worker ends the group, and the driver starts another; a controller without a place gives up
                    failure_config=train.FailureConfig(max_failures=0, controller_failure_limit=3),  # type: ignore[call-arg]
                ),
            ).fit()
        except Exception as error:  # told to the driver, who waits in another thread
            self._error = error
        finally:
            ray.get(self._exchange.close.remote())

    def train(self, job: Job, log: str) -> bool:
        """Train one candidate, telling Ray Tune each row; return False if the workers left before it began.

        Raises:
            Exception: what Ray Train says of workers that were lost or never came.
        """
        self.gone = not ray.get(self._exchange.offer.remote({"job": job.to_dict(), "log": log}))
        if self.gone:
            return False
        while True:
            kind, row = ray.get(self._exchange.event.remote())
            if kind == DONE:
                return True
            if kind != ROW:
                self.gone = True
                raise self._error or ResourceError(
                    f"trial {job.candidate_id}: its workers left before it ended"
                )
            go_on = False
            try:
                tune.report(row)  # a trial that is stopped does not return from here
                go_on = True
            finally:
                ray.get(self._exchange.decide.remote(go_on))

    def end(self) -> None:
        """Let them leave, and wait until they have given back what they held."""
        ray.get(self._exchange.close.remote())
        self._thread.join(END_S)


_workers: Workers | None = None  # of this process


def _workers_for(launch: Launch) -> Workers:
    """Return the workers of this process, or new ones."""
    global _workers
    if _workers is not None and (_workers.gone or _workers.kind != replace(launch, log="")):
        _workers.end()
        _workers = None
    if _workers is None:
        _workers = Workers(launch)
    return _workers


def _own_fault(error: Exception) -> Exception | None:
    """Return what a worker says of its candidate, which new workers would say again; None where it may have been lost.

    Where one of several workers is lost, the others end with errors of their own, so only clear cases count.
    """
    said = error.worker_failures.values() if isinstance(error, train.WorkerGroupError) else ()
    return next((one for one in said if isinstance(one, StudentSearchError | torch.OutOfMemoryError)), None)


def _reason(error: Exception) -> str:
    """Return one line on an error; of worker groups the last one, since the first says only that workers failed."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1 if isinstance(error, train.WorkerGroupError) else 0]}"


def _check_code(job: Job) -> None:
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


def _run_nested(job: Job, launch: Launch) -> None:
    """Train with a group of workers; where one is lost, new ones go on from the checkpoint."""
    lost = 0
    while True:
        workers = _workers_for(launch)
        try:
            if workers.train(job, launch.log):
                return
        except Exception as error:
            if (own := _own_fault(error)) is not None:
                raise own from error
            lost += 1
            if not workers.gone or lost == ATTEMPTS:
                raise
            note(Path(launch.log), f"new workers are started: {error}")


def run_trial(config: Mapping[str, Any]) -> None:
    """Train the candidate of `config["job"]` as `config["launch"]` says, reporting a row per epoch to Tune.

    A failure becomes a last row of status `crashed` or `oom`, whose reason names the log file with the
    traceback; the search goes on. A full disk is none, see `last_row`.
    """
    launch = Launch(**config["launch"])
    job = replace(
        Job.from_dict(config["job"]),
        device="cuda" if launch.gpus else "cpu",
        threads=max(1, int(launch.cpus)),
    )
    log = Path(launch.log)
    resumed = (Path(job.folder) / FILE).exists()
    try:
        note(
            log,
            f"candidate {job.candidate_id} {'continues' if resumed else 'starts'} on {ray.util.get_node_ip_address()}: "
            f"{launch.workers} worker(s)",
        )
        _check_code(job)
        if launch.nested:
            _run_nested(job, launch)
        else:
            train_candidate(job, TuneControl(log))
    except Exception as error:  # the boundary of a trial: whatever it was, it is told and kept
        tune.report(last_row(job, error, log))


def last_row(job: Job, error: Exception, log: Path) -> Row:
    """Return what is told of a training that an error ended, noted in its log where that can be written.

    Where the disk takes no more, or teacher, data or code are not those that were planned with, no candidate has failed: the
    row says so (`unwritten`, `halted`), and the search ends with them all unfinished.
    """
    try:
        note(log, "".join(traceback.format_exception(error)))
    except StorageError as full:
        error = error if is_storage_trouble(error) else full
    row = {"candidate_id": job.candidate_id, "epoch": 0, **job.costs}
    if isinstance(error, InputsChanged):
        return {**row, "status": "running", HALTED: f"trial {job.candidate_id}: {error}"}
    if is_storage_trouble(error):
        said = (
            str(error) if isinstance(error, StorageError) else f"trial {job.candidate_id}: {_reason(error)}"
        )
        return {**row, "status": "running", UNWRITTEN: said}
    oom = isinstance(error, torch.OutOfMemoryError) or "OutOfMemoryError" in str(error)
    reason = f"trial {job.candidate_id}: {_reason(error)}; see {log.parent.name}/{log.name}"
    return {**row, "status": "oom" if oom else "crashed", "reason": reason}


def launch_dict(launch: Launch) -> dict[str, Any]:
    """Return the launch as it travels in a trial's config."""
    return asdict(launch)
