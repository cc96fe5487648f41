"""What Ray Tune calls once per candidate. The one file of this room that imports ray.

One worker trains inside the Tune actor itself (about 1 CPU-second of overhead); several, or one by request,
run under `ray.train.torch.TorchTrainer`. Same loop, same rows, same checkpoints.
"""

import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import train, tune
from ray.train.torch import TorchConfig, TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

from trainables.training.checkpoint import FILE
from trainables.training.control import Row
from trainables.training.job import Job
from trainables.training.loop import train as train_candidate

HEAD_SHARE = 0.001
"""What the driver of a nested trial takes of `node:__internal_head__`, which every cluster has; never a CPU,
which its workers may be waiting for."""


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


class TrainControl:
    """One of several workers under Ray Train."""

    def __init__(self, log: Path) -> None:
        context = train.get_context()
        self.rank, self.world, self.log = context.get_world_rank(), context.get_world_size(), log

    def report(self, row: Row) -> None:
        """Hand the row to Ray Train, which waits for every worker and forwards rank 0's."""
        if self.rank == 0:
            note(self.log, f"epoch {row['epoch']}: {row['status']}, loss {row.get('loss', float('nan')):.4f}")
        train.report(row)


def note(log: Path, text: str) -> None:
    """Append a line to the trial's log file, and to a copy among this node's Ray logs, where the dashboard lists it.

    The copy is called candidate-ID.log: actors are reused from trial to trial and so cannot bear a candidate's name.
    """
    line = f"[{log.stem}] {text}"
    print(line, flush=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    for path in (log, _ray_logs() / f"candidate-{log.name}"):
        with path.open("a") as sink:
            sink.write(line + "\n")


def _ray_logs() -> Path:
    """Return the folder of this node's Ray logs; Ray has no public call for it (none up to 2.60)."""
    node = ray._private.worker._global_node
    assert node is not None, "a trial runs inside a Ray worker"
    return Path(node.get_logs_dir_path())


def _train_worker(config: Mapping[str, Any]) -> None:
    """Run in each worker process of a nested trial."""
    train_candidate(Job.from_dict(config["job"]), TrainControl(Path(config["log"])))


def _run_nested(job: Job, launch: Launch) -> None:
    TorchTrainer(
        _train_worker,
        train_loop_config={"job": job.to_dict(), "log": launch.log},
        torch_config=TorchConfig(backend="nccl" if launch.gpus else "gloo"),
        scaling_config=train.ScalingConfig(
            num_workers=launch.workers,
            use_gpu=launch.gpus > 0,
            resources_per_worker={"CPU": launch.cpus, **({"GPU": launch.gpus} if launch.gpus else {})},
        ),
        run_config=train.RunConfig(
            name=job.candidate_id,
            storage_path=launch.storage,
            callbacks=[TuneReportCallback()],  # type: ignore[list-item]  # ray.train names its older class
            # a lost worker is replaced and goes on from our checkpoint; a controller without a place gives up
            failure_config=train.FailureConfig(max_failures=2, controller_failure_limit=3),  # type: ignore[call-arg]
        ),
    ).fit()


def run_trial(config: Mapping[str, Any]) -> None:
    """Train the candidate of `config["job"]` as `config["launch"]` says, reporting a row per epoch to Tune.

    A failure becomes a last row of status `crashed` or `oom`, whose reason names the log file with the
    traceback; the search goes on.
    """
    launch = Launch(**config["launch"])
    job = replace(
        Job.from_dict(config["job"]),
        device="cuda" if launch.gpus else "cpu",
        threads=max(1, int(launch.cpus)),
    )
    log = Path(launch.log)
    resumed = (Path(job.folder) / FILE).exists()
    note(
        log,
        f"candidate {job.candidate_id} {'continues' if resumed else 'starts'}: {launch.workers} worker(s)",
    )
    try:
        if launch.nested:
            _run_nested(job, launch)
        else:
            train_candidate(job, TuneControl(log))
    except Exception as error:  # the boundary of a trial: whatever it was, it is told and kept
        note(log, traceback.format_exc())
        text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        oom = isinstance(error, torch.OutOfMemoryError) or "OutOfMemoryError" in str(error)
        tune.report(
            {
                "candidate_id": job.candidate_id,
                "epoch": 0,
                "status": "oom" if oom else "crashed",
                "reason": f"trial {job.candidate_id}: {text}; see {log.parent.name}/{log.name}",
                **job.costs,
            }
        )


def launch_dict(launch: Launch) -> dict[str, Any]:
    """Return the launch as it travels in a trial's config."""
    return asdict(launch)
