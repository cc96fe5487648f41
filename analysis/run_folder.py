"""A run folder as one value: trials, their history, rungs, control and facts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.run_json import check_facts, read_control, read_object
from analysis.rungs import RUNGS_FILE, Rungs, read_rungs
from analysis.table import (
    FAILED,
    HISTORY_FOLDER,
    TEST_PREFIX,
    TRIALS_FILE,
    History,
    metric_names,
    read_history,
    read_trials,
    saved,
    trial_rows,
)
from spaces.candidate import CANDIDATE_ID, ID_WORDS
from spaces.commands import command_line
from spaces.errors import RunError
from spaces.objectives import COSTS, HEAD_COSTS, quality_objective

FACTS_FILE = "run.json"
CONTROL_FILE = "control.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One row of `trials.arrow`. A number that was not measured is NaN.

    Attributes:
        epochs: trained so far.
        proposal: position in the order of proposals.
        costs: params, flops, latency_ms (on the run's target, added up from blocks), size_mib, of everything from raw input to
            answer.
        latency_spread_ms, wall_latency_spread_ms: interquartile ranges.
        wall_latency_ms: of the whole student by the clock on the wall, measured at the end while nothing else ran.
        head_costs: the same of the student alone, under the same names; less where it reads signals of its teacher.
        reads_teacher: whether it does when it is deployed.
        metrics: validation metrics by name, percent.
        test_metrics: the same on the test set; NaN for all but the finalists.
        config: the resolved configuration.
        checkpoint: relative to the run folder, "" if there is none.
        speedup: the wall latency of its whole teacher over this student's.
        epoch_s: wall time that an epoch of training took, the median of all.
        peak_mib: the most memory that its training took, in MiB.
        micro_batches: parts in which a batch was taken, since a whole one did not fit; 1 where it did, or nothing tells.
    """

    candidate_id: str
    status: str
    reason: str
    role: str
    seed: int
    proposal: int
    epochs: int
    costs: Mapping[str, float]
    latency_spread_ms: float
    wall_latency_ms: float
    speedup: float
    wall_s: float
    cpu_s: float
    metrics: Mapping[str, float]
    test_metrics: Mapping[str, float]
    checkpoint: str
    config: Mapping[str, Any]
    head_costs: Mapping[str, float] = field(default_factory=dict)
    reads_teacher: bool = False
    epoch_s: float = math.nan
    peak_mib: float = math.nan
    wall_latency_spread_ms: float = math.nan
    micro_batches: int = 1

    @property
    def is_candidate(self) -> bool:
        """Whether the search proposed it (the blind student and baselines are rows, too, and on no front)."""
        return self.role == "search"

    @property
    def finished(self) -> bool:
        """Whether it was trained to the last epoch."""
        return self.status == "finished"

    @property
    def failed(self) -> bool:
        """Whether its training broke off by a fault."""
        return self.status in FAILED

    @property
    def head_size_mib(self) -> float:
        """Size of the student without the part of its teacher that it reads, NaN if it was not measured."""
        return self.head_costs.get("size_mib", math.nan)

    def value(self, name: str) -> float:
        """Return a cost or a validation metric, NaN if it was not measured."""
        return self.costs[name] if name in self.costs else self.metrics.get(name, math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that a run folder says.

    Attributes:
        folder: as the user named it; commands in the report name it the same way.
        trials: one per row, in the order of proposals.
        metric_names: the metric columns, in the table's order.
        history: rows of all epochs.
        facts: `run.json`.
        rungs: `rungs.json`, without decisions when there is none.
        control: `control.json`, None when no control was run.
    """

    folder: Path
    trials: tuple[Trial, ...]
    metric_names: tuple[str, ...]
    history: History
    facts: Mapping[str, Any]
    rungs: Rungs
    control: Mapping[str, Any] | None

    @property
    def candidates(self) -> tuple[Trial, ...]:
        """The trials that the search proposed, without what they are compared with."""
        return tuple(trial for trial in self.trials if trial.is_candidate)

    @property
    def baselines(self) -> tuple[Trial, ...]:
        """The students of `baselines:` that were trained to the last epoch."""
        return tuple(trial for trial in self.trials if trial.role == "baseline" and trial.finished)

    @property
    def finished(self) -> tuple[Trial, ...]:
        """The candidates that were trained to the last epoch."""
        return tuple(trial for trial in self.candidates if trial.finished)

    @property
    def quality(self) -> str:
        """The quality objective, see `quality_objective`."""
        try:
            return quality_objective(self.facts.get("objectives") or {})
        except ValueError as error:
            raise RunError(
                f"{self.folder}/{FACTS_FILE}, objectives: got {list(self.facts.get('objectives', {}))}; a "
                f"front needs one metric among them. Known metrics of this run: "
                f"{', '.join(self.metric_names)}."
            ) from error

    @property
    def maximise(self) -> bool:
        """Whether the quality objective is to be maximised."""
        return self.facts["objectives"][self.quality] == "max"

    def teacher(self, name: str) -> float:
        """Return a cost or validation metric of the teacher, NaN if unknown; its retention is 100."""
        facts = self.facts.get("teacher") or {}
        value = facts.get(name, (facts.get("metrics") or {}).get(name))
        if value is None:
            return 100.0 if name.startswith("retention") else math.nan
        return float(value)

    def share(self, trial: Trial, cost: str) -> float:
        """Return a cost as a share of the teacher's (0.5 is `0.5x`), NaN if either is unknown."""
        teacher = self.teacher(cost)
        return trial.costs[cost] / teacher if teacher > 0 else math.nan


def read_run(folder: Path) -> Run:
    """Return what `folder` holds.

    A run that was cut off before its first table has no trials; a torn history tail is skipped and counted.

    Raises:
        RunError: the folder is no run, or one of its files is damaged; the message says what was saved.
    """
    if not folder.is_dir():
        raise RunError(
            f"{folder}: no such folder. A run folder is made by {command_line('search/run.py', '--space', 'FILE')}."
        )
    if not (folder / FACTS_FILE).is_file():
        raise RunError(
            f"{folder}: no run ({FACTS_FILE} is missing). Name a folder that {command_line('search/run.py')} has made."
        )
    facts = read_object(folder / FACTS_FILE, saved(folder))
    check_facts(folder / FACTS_FILE, facts)
    history = read_history(folder)
    trials: tuple[Trial, ...] = ()
    names: tuple[str, ...] = tuple(facts.get("metrics") or _metric_objectives(facts))
    if (folder / TRIALS_FILE).exists():
        table = read_trials(folder / TRIALS_FILE)
        names = metric_names(table)
        trials = tuple(
            sorted(
                (_trial(row, names) for row in trial_rows(folder / TRIALS_FILE, table)),
                key=lambda trial: trial.proposal,
            )
        )
    elif history.table.num_rows:
        raise RunError(
            f"{folder}/{TRIALS_FILE}: missing, although {HISTORY_FOLDER}/ has rows. {saved(folder)} "
            f"Put back a copy of the file, or search again: {command_line('search/run.py', '--space', folder / 'space.yaml')}"
        )
    control = folder / CONTROL_FILE
    return Run(
        folder=folder,
        trials=trials,
        metric_names=names,
        history=history,
        facts=facts,
        rungs=read_rungs(folder / RUNGS_FILE),
        control=read_control(control) if control.exists() else None,
    )


def check_ids(run: Run) -> None:
    """Refuse a run whose candidate ids are none: they enter paths, and commands to copy.

    Raises:
        RunError: names the first.
    """
    rows = (run.control or {}).get("rows", [])
    for file, ids in (
        (TRIALS_FILE, [trial.candidate_id for trial in run.trials]),
        (CONTROL_FILE, [row["candidate_id"] for row in rows]),
    ):
        for candidate_id in ids:
            if not CANDIDATE_ID.fullmatch(candidate_id):
                raise RunError(
                    f"{run.folder / file}, candidate_id: got {candidate_id[:80]!r}; allowed: {ID_WORDS}. "
                    "Put back a copy of the file as the search wrote it."
                )


def _metric_objectives(facts: Mapping[str, Any]) -> list[str]:
    """Return the objectives that are metrics, for a run that has no table yet."""
    return [name for name in facts.get("objectives") or {} if name not in COSTS]


def _trial(row: Mapping[str, Any], names: tuple[str, ...]) -> Trial:
    """Return one table row as a Trial."""
    return Trial(
        candidate_id=row["candidate_id"],
        status=row["status"],
        reason=row["reason"] or "",
        role=row["role"] or "search",
        seed=row["seed"] or 0,
        proposal=row["proposal"] or 0,
        epochs=row["epochs"] or 0,
        costs={name: number(row[name]) for name in COSTS},
        latency_spread_ms=number(row["latency_spread_ms"]),
        wall_latency_ms=number(row["wall_latency_ms"]),
        speedup=number(row["speedup"]),
        wall_s=number(row["wall_s"]),
        cpu_s=number(row["cpu_s"]),
        metrics={name: number(row[name]) for name in names},
        test_metrics={name: number(row.get(TEST_PREFIX + name)) for name in names},
        checkpoint=row["checkpoint"] or "",
        config=row["config"],
        head_costs={cost: number(row[name]) for name, cost in HEAD_COSTS.items()},
        reads_teacher=bool(row["reads_teacher"]),
        epoch_s=number(row["epoch_s"]),
        peak_mib=number(row["peak_mib"]),
        wall_latency_spread_ms=number(row["wall_latency_spread_ms"]),
        micro_batches=row["micro_batches"] or 1,
    )


def number(value: float | None) -> float:
    """Return a number that may be absent as a float, NaN for None."""
    return math.nan if value is None else float(value)
