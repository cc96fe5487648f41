"""A grid over runs: one cell for each teacher, method and set of losses, with mean and spread over seeds.

Candidates that differ in their seed alone are one setting. Where a cell has several settings, as after a search, it shows the
one that is best in the mean, and tells of how many.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from analysis.run_folder import Run, Trial

PUBLISHED = Path(__file__).with_name("published.json")
DEAD = "flat"
"""What a finished training is called that its own row says learned nothing: its metrics were the same in all measurements."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """Where a cell stands: `losses` are those of a weight above 0, joined by +."""

    losses: str
    teacher: str
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """Mean and standard deviation over seeds (NaN with one seed)."""

    mean: float
    spread: float
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Value":
        """Return mean and spread of what was measured; NaN where nothing was."""
        known = [value for value in values if math.isfinite(value)]
        return cls(
            mean=statistics.fmean(known) if known else math.nan,
            spread=statistics.stdev(known) if len(known) > 1 else math.nan,
            seeds=len(known),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one setting came to.

    Attributes:
        at: epoch -> the metric then.
        size_mib: of everything from raw input to answer; head_size_mib: of the student alone.
        epoch_s: wall time to train one epoch.
        peak_mib: largest memory.
        ends: seeds that have not finished, by status: `flat`, `oom`, `crashed`, `stopped`, ...
        settings: how many settings the cell had, of which this is the best.
        reads_teacher: whether it is a head.
    """

    at: Mapping[int, Value]
    size_mib: float
    head_size_mib: float
    epoch_s: Value
    peak_mib: Value
    ends: Mapping[str, int]
    settings: int
    reads_teacher: bool

    @property
    def last(self) -> Value:
        """The metric at the last epoch."""
        return self.at[max(self.at)]


def cells(
    runs: Sequence[Run], metric: str, epochs: Sequence[int], *, maximise: bool = True
) -> dict[Place, Cell]:
    """Return the cells of some runs, sorted.

    Args:
        runs: of one data set; a seed that two of them have counts once.
        metric: the column.
        epochs: rising, those to show.
        maximise: whether more of the metric is better.
    """
    groups: dict[Place, dict[str, dict[str, tuple[Trial, Mapping[int, float]]]]] = {}
    for run in runs:
        along = curves(run, metric)
        for trial in run.candidates:
            if isinstance(trial.config.get("student"), Mapping):  # one that could not be built has none
                setting = groups.setdefault(_place(run, trial), {}).setdefault(_setting(trial), {})
                setting[trial.candidate_id] = trial, along.get(trial.candidate_id, {})
    sign = 1.0 if maximise else -1.0
    return {place: _best(list(settings.values()), epochs, sign) for place, settings in sorted(groups.items())}


def measured_epochs(runs: Iterable[Run], metric: str) -> list[int]:
    """Return the epochs at which some candidate was measured, rising."""
    return sorted({epoch for run in runs for curve in curves(run, metric).values() for epoch in curve})


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A figure of the report: accuracy in percent, NaN where it names none."""

    table: str
    accuracy: float
    size_mib: float


@cache
def published() -> Mapping[tuple[str, str, int], Published]:
    """Return (teacher family, method, epochs) -> what the report says, for a reference column."""
    told = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return {
        (teacher, method, epochs): Published(
            table=table, accuracy=math.nan if accuracy is None else accuracy, size_mib=size
        )
        for table, rows in told["tables"].items()
        for teacher, method, epochs, accuracy, size in rows
    }


def published_for(place: Place, epoch: int) -> Published | None:
    """Return what the report says of a cell, by the family's word in the teacher's name; None where it says nothing."""
    name = place.teacher.casefold()
    families = {family for family, _, _ in published()}
    return next(
        (published()[key] for family in sorted(families) if family in name
         if (key := (family, place.method, epoch)) in published()),
        None,
    )  # fmt: skip


def _best(
    settings: list[dict[str, tuple[Trial, Mapping[int, float]]]], epochs: Sequence[int], sign: float
) -> Cell:
    """Return the cell of the setting that is best at the last epoch; unmeasured ones come last."""
    made = [_cell(list(one.values()), epochs) for one in settings]
    best = max(made, key=lambda cell: sign * cell.last.mean if math.isfinite(cell.last.mean) else -math.inf)
    return replace(best, settings=len(made))


def _cell(seeds: list[tuple[Trial, Mapping[int, float]]], epochs: Sequence[int]) -> Cell:
    trials = [trial for trial, _ in seeds]
    ends: dict[str, int] = {}
    for trial in trials:
        end = DEAD if trial.finished and trial.reason else trial.status
        if end != "finished":
            ends[end] = ends.get(end, 0) + 1
    return Cell(
        at={epoch: Value.of([curve.get(epoch, math.nan) for _, curve in seeds]) for epoch in epochs},
        size_mib=Value.of([trial.costs["size_mib"] for trial in trials]).mean,
        head_size_mib=Value.of([trial.head_size_mib for trial in trials]).mean,
        epoch_s=Value.of([trial.epoch_s for trial in trials]),
        peak_mib=Value.of([trial.peak_mib for trial in trials]),
        ends=dict(sorted(ends.items())),
        settings=1,
        reads_teacher=any(trial.reads_teacher for trial in trials),
    )


def curves(run: Run, metric: str) -> dict[str, dict[int, float]]:
    """Return candidate id -> epoch -> the metric; of an epoch done again the later value counts."""
    found: dict[str, dict[int, float]] = {}
    table = run.history.table
    if metric not in table.column_names:
        return found
    columns = (table.column(name).to_pylist() for name in ("candidate_id", "epoch", metric))
    for candidate_id, epoch, value in zip(*columns, strict=True):
        if value is not None and math.isfinite(value):
            found.setdefault(candidate_id, {})[int(epoch)] = value
    return found


def _place(run: Run, trial: Trial) -> Place:
    teacher = trial.config.get("teacher") or (run.facts.get("teacher") or {}).get("name") or "teacher"
    losses = trial.config.get("losses") or {}
    active = [name for name, options in losses.items() if not _is_off(options)]
    return Place(
        losses=" + ".join(sorted(active)) or "none",
        teacher=str(teacher),
        method=str(trial.config["student"].get("kind", "student")),
    )


def _is_off(options: Any) -> bool:
    return isinstance(options, Mapping) and options.get("weight") == 0


def _setting(trial: Trial) -> str:
    """Return a text that is equal for candidates that differ in their seed alone."""
    return json.dumps(trial.config, sort_keys=True)
