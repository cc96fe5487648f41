"""Train one candidate: the loop of one worker, the same under Ray Tune, under Ray Train and without Ray."""

import json
import math
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spaces.errors import (
    CheckpointError,
    DatasetError,
    InputsChanged,
    PluginError,
    TeacherError,
)
from spaces.files import make_folder, write_text
from trainables.configs import made_config
from trainables.datasets.cache_folder import stored_in
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.node_copies import Say, heard_by
from trainables.gather import same_buffers
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.tasks.retention import (
    ABOVE_BLIND,
    ACCURACY,
    RETENTION,
    accuracy,
    retention,
    retention_above_blind,
)
from trainables.tasks.sharing import Sharing
from trainables.teachers.teacher import Teacher
from trainables.training import checkpoint
from trainables.training.build import build_step, shared_dataset, shared_split, shared_teacher
from trainables.training.compiling import compile_layers
from trainables.training.config import TrainingConfig
from trainables.training.control import Control, Row, append_row
from trainables.training.device import pick_device
from trainables.training.health import Collapsed, Diverged, flat_metrics
from trainables.training.importance import kept_importance
from trainables.training.job import Job
from trainables.training.memory import PeakMemory, keep_freed_memory
from trainables.training.sources import Sources, copied_cache, evaluation_wants
from trainables.training.trainer import Placement, Trainer

ROWS, BEGUN = "rows.jsonl", "initialisation.json"


@dataclass(kw_only=True)
class Progress:
    """What a checkpoint keeps beside the trainer: epochs done, rows told, time spent, peak of memory, and the best epoch."""

    epochs_done: int = 0
    rows: list[Row] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0
    best: float | None = None
    best_epoch: int = 0


def _sources(job: Job, teacher: Teacher, train: EncodedSplit, say: Say) -> Sources:
    """Return the teacher with its cache of the train split, or alone where the job names none."""
    if not job.cache:
        return Sources(teacher, {})
    data = job.dataset_fingerprint
    return Sources(teacher, {"train": copied_cache(job.cache, teacher, data=data, split=train, say=say)})


def check_same(what: str, found: str, planned: str) -> None:
    """Refuse a teacher or data set other than the candidate was planned with.

    Args:
        what: kind and place, for the message.
        found: its fingerprint.
        planned: that of the job, "" where it tells none.

    Raises:
        InputsChanged: names both.
    """
    if planned and found != planned:
        raise InputsChanged(
            f"{what}: has fingerprint {found}; this candidate was planned with {planned}. Put back what was there, then "
            "--resume the run (nothing is lost); or start a new run with what is there now."
        )


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """What a training reads."""

    teacher: Teacher
    source: Sources
    train: EncodedSplit
    val: EncodedSplit


def _open(job: Job, device: str, say: Say = print) -> _Opened:
    """Return teacher and data of a job, those that it was planned with.

    Raises:
        InputsChanged: they are not, or cannot be read here although whoever planned the job could.
        TeacherError, DatasetError, PluginError: the same, of a job that tells no fingerprints.
    """
    try:
        teacher = shared_teacher(job.teacher, device)
        check_same(f"teacher {job.teacher}", teacher.files.fingerprint, job.teacher_fingerprint)
        place = job.dataset.get("file") or job.dataset.get("root") or job.dataset.get("kind")
        check_same(f"data set {place}", shared_dataset(job.dataset).fingerprint, job.dataset_fingerprint)
        train, val = (shared_split(job.teacher, device, job.dataset, name) for name in ("train", "val"))
        return _Opened(teacher=teacher, source=_sources(job, teacher, train, say), train=train, val=val)
    except (TeacherError, DatasetError, PluginError, OSError) as error:
        if not job.dataset_fingerprint:
            raise
        raise InputsChanged(
            f"{error} Looked for on the node {os.uname().nodename}. It was there when the candidate was planned; once it is "
            "there again, --resume the run (nothing is lost)."
        ) from error


def _check_owner(job: Job, state: Mapping[str, Any], name: str) -> None:
    """Refuse to go on from the checkpoint of another candidate, or of the same with another config."""
    mine, theirs = (json.dumps(config, sort_keys=True) for config in (dict(job.config), state["config"]))
    if state["candidate_id"] != job.candidate_id or mine != theirs:
        raise CheckpointError(
            f"{Path(job.folder) / name}: belongs to candidate {state['candidate_id']}"
            f"{' with another config' if state['candidate_id'] == job.candidate_id else ''}, "
            f"this is {job.candidate_id}. Give another folder."
        )


class TrialLoop:
    """One candidate's training: builds it, resumes it, and tells a row per epoch."""

    def __init__(self, job: Job, control: Control) -> None:
        torch.set_num_threads(job.threads)
        keep_freed_memory()
        random.seed(job.seed)
        np.random.seed(job.seed % 2**32)
        self.job, self.control, self.folder = job, control, Path(job.folder)
        self.device = pick_device(job.device)
        self.size = made_config(EvaluationSize, job.evaluation, "evaluation")
        opened = _open(job, str(self.device), control.say)
        self.teacher, self.source, self.val = opened.teacher, opened.source, opened.val
        self.tasks = make_tasks(job.tasks)
        data, say = shared_dataset(job.dataset), control.say
        step, self.blueprint = build_step(
            job.config,
            self.teacher,
            seed=job.seed,
            classes=data.classes,
            importance=partial(kept_importance, self.teacher, opened.train, data.fingerprint, say=say),
        )
        checkpoint.begin_with(step, job.start)
        compile_layers(job, step.student, self.teacher, self.device, say=say)
        self.trainer = Trainer(
            step.to(self.device),
            opened.train,
            self.source,
            made_config(TrainingConfig, job.config["training"], "training"),
            seed=job.seed,
            placement=Placement(device=self.device, rank=control.rank, world=control.world),
        )
        self.trainer.health.patience = job.patience
        self._open_evaluation_cache()
        torch.manual_seed(job.seed + 1)
        self.kept = made_config(checkpoint.CheckpointConfig, job.checkpoints, "checkpoints")
        self.progress, self.memory = Progress(), PeakMemory(self.device)

    def run(self, from_epoch: int | None = None) -> None:
        """Train to the last epoch, or until health or the surroundings end it.

        Args:
            from_epoch: go on after this one, whose state was kept; None goes on from the last one.
        """
        self._resume(from_epoch)
        self._tell_beginning()
        while self.progress.epochs_done < self.job.epochs:
            wall, cpu = time.monotonic(), time.process_time()
            epoch = self.progress.epochs_done
            try:
                lr = self.trainer.lr
                losses = self.trainer.run_epoch(epoch)
                done, trained = epoch + 1, time.monotonic()
                metrics = self._metrics() if done in self.job.evaluate_at or done == self.job.epochs else {}
            except (Diverged, Collapsed) as error:
                self._end_early(type(error).__name__.lower(), str(error))
                return
            except torch.OutOfMemoryError as error:
                if self.control.world > 1:
                    raise  # the other workers still wait for this one: the whole group has to end
                self._end_early("oom", f"epoch {epoch + 1}: {str(error).splitlines()[0]}")
                return
            self.progress.epochs_done = done
            self.progress.wall_s += time.monotonic() - wall
            self.progress.cpu_s += time.process_time() - cpu
            report = {"loss": losses.pop("loss")} | {f"loss_{name}": value for name, value in losses.items()}
            self._tell({**report, **metrics, "lr": lr, "epoch_s": trained - wall})

    def try_out(self) -> None:
        """Take a step and evaluate, for what that takes of memory; nothing is told or written."""
        self.trainer.try_steps()
        self._metrics()

    def _open_evaluation_cache(self) -> None:
        """Let a student that reads its teacher be evaluated from what was cached, if all that it reads is there."""
        wants = evaluation_wants(self.trainer.step.student, self.tasks.values())
        if wants and self.job.evaluation_cache:
            data = self.job.dataset_fingerprint
            folder, say = self.job.evaluation_cache, self.control.say
            cache = copied_cache(folder, self.teacher, data=data, split=self.val, say=say)
            if cache.holds(wants):
                self.source.caches[self.val.name] = cache

    def _resume(self, from_epoch: int | None) -> None:
        name = checkpoint.FILE if from_epoch is None else checkpoint.epoch_file(from_epoch)
        state = (
            checkpoint.load(self.folder)
            if from_epoch is None
            else checkpoint.load_epoch(self.folder, from_epoch)
        )
        if state is None:
            if self.control.rank == 0 and (self.folder / ROWS).exists():
                write_text(self.folder / ROWS, "")  # of a training whose checkpoints are gone
            return
        _check_owner(self.job, state, name)
        with checkpoint.fitting(self.folder, name):
            self.progress = Progress(**state["progress"])
            if not checkpoint.is_weights_alone(state):
                self.trainer.restore(state["trainer"])
                checkpoint.set_random_state(state["random"])
            elif self.progress.epochs_done < self.job.epochs:
                raise checkpoint.ended(self.folder, self.progress.epochs_done)
        if self.control.rank == 0:
            write_text(self.folder / ROWS, "".join(json.dumps(row) + "\n" for row in self.progress.rows))
        # the driver may have died before it wrote them down; it knows duplicates
        for row in self.progress.rows:
            self.control.report(row)

    def _tell_beginning(self) -> None:
        """Say what the student has begun with, and keep it beside its checkpoint."""
        begun = self.trainer.step.student.begun
        if self.control.rank or self.progress.epochs_done or not begun.loaded:
            return
        self.control.say("\n".join(begun.lines()))
        make_folder(self.folder)
        write_text(self.folder / BEGUN, json.dumps(begun.to_dict(), indent=1) + "\n")

    def _metrics(self) -> dict[str, float]:
        """Return validation metrics; workers share the pool, and each has the figures that one alone would have."""
        step, world = self.trainer.step, self.control.world
        same_buffers(step)
        metrics = evaluate(
            step.student,
            self.val,
            tasks=self.tasks.values(),
            size=self.size,
            blind=step.blind,
            source=self.source,
            bank=self.trainer.split,
            sharing=Sharing(rank=self.control.rank, world=world),
        )
        counts = [task.counts for task in self.tasks.values()]
        metrics[ACCURACY] = accuracy(metrics, counts)
        if self.job.teacher_metrics:
            metrics[RETENTION] = retention(metrics, self.job.teacher_metrics, counts)
            if self.job.blind_metrics:
                metrics[ABOVE_BLIND] = retention_above_blind(
                    metrics, self.job.teacher_metrics, self.job.blind_metrics, counts
                )
        return metrics

    def _row(self, status: str, values: Row) -> Row:
        return {
            "candidate_id": self.job.candidate_id,
            "epoch": self.progress.epochs_done,
            "status": status,
            **self.job.costs,
            **values,
            **({"best_epoch": self.progress.best_epoch} if self.progress.best_epoch else {}),
            "micro_batches": self.trainer.micro_batches,
            "peak_mib": self.progress.peak_mib,
            "wall_s": self.progress.wall_s,
            "cpu_s": self.progress.cpu_s,
            "time": time.time(),
        }

    def _tell(self, values: Row) -> None:
        """Checkpoint first, then report: a row that somebody has seen can always be continued from."""
        progress, finished = self.progress, self.progress.epochs_done == self.job.epochs
        progress.peak_mib = max(progress.peak_mib, self.memory.mib())
        better = self._is_best(values)
        row = self._row("finished" if finished else "running", values)
        progress.rows.append(row)
        if finished and (flat := self._flat()):
            row["reason"] = flat
        if self.control.rank == 0:
            self._save(better)
            append_row(self.folder / ROWS, row)
        self.control.report(row)

    def _is_best(self, values: Row) -> bool:
        """Return whether the epoch is better than all before, and remember it: by retention, else by the first task measured."""
        names = (RETENTION, *(task.counts for task in self.tasks.values()))
        known = [values[name] for name in names if not math.isnan(values.get(name, math.nan))]
        quality = known[0] if known else None
        best = self.progress.best
        if quality is None or (best is not None and quality <= best):
            return False
        self.progress.best, self.progress.best_epoch = quality, self.progress.epochs_done
        return True

    def _flat(self) -> str:
        """Return what is told of metrics that never moved; a blind student's need not."""
        tasks = [(task.counts, task.metrics) for task in self.tasks.values()]
        return "" if self.trainer.step.blind else "; ".join(flat_metrics(self.progress.rows, tasks))

    def _save(self, better: bool) -> None:
        """Write the checkpoints; the one to go on from last, so that what it says of the others is true."""
        state: dict[str, Any] = {
            "candidate_id": self.job.candidate_id,
            "config": dict(self.job.config),
            "model": self.blueprint.to_dict(),
            "trainer": self.trainer.state(),
            "progress": vars(self.progress),
            "random": checkpoint.random_state(),
        }
        if better and self.kept.keep_best:
            checkpoint.save(self.folder, checkpoint.without_training(state), checkpoint.BEST)
        if self.kept.every_epoch:
            checkpoint.save(self.folder, state, checkpoint.epoch_file(self.progress.epochs_done))
        if self.progress.epochs_done == self.job.epochs:  # nobody goes on from it
            state = checkpoint.without_training(state)
        checkpoint.save(self.folder, state)

    def _end_early(self, status: str, reason: str) -> None:
        row = self._row(status, {"reason": f"trial {self.job.candidate_id}, {reason}"})
        if self.control.rank == 0:
            make_folder(self.folder)
            append_row(self.folder / ROWS, row)
        self.control.report(row)


def train(job: Job, control: Control, *, from_epoch: int | None = None) -> None:
    """Train one candidate and report a row per epoch.

    Args:
        job: the order.
        control: the surroundings.
        from_epoch: go on after this one, see `TrialLoop.run`.

    Raises:
        StudentSearchError: the job, its teacher, its data or its checkpoint cannot be used.
    """
    with stored_in(job.storage), heard_by(control.say):
        TrialLoop(job, control).run(from_epoch)
