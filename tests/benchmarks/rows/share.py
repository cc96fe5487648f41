"""Row 3: how much of its cores' time a search spends in training or evaluation."""

import contextlib
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.run_folder import Run, read_run
from search.run_folder.facts import SPACE_FILE
from spaces.errors import RunError
from spaces.load import load_space
from tests.benchmarks.rows.row import SPACE, Asked, Row, again, covered, row_of

WINDOWS = 8
TRIALS, QUICK_TRIALS = 12, 4
QUICK = [
    "training.epochs=3",
    "training.pairs_per_epoch=640",
    "dataset.train_images=1024",
    "dataset.val_images=200",
    "dataset.test_images=200",
    "evaluation.images=200",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """An epoch with its evaluation: seconds since 1970, and how many cores it held."""

    start: float
    end: float
    cores: float


def share_of_time(asked: Asked) -> list[Row]:
    """Return the shares of a run that is given, or of a small search."""
    if asked.run:
        return rows_of(checked(asked.run), again(3, asked), "the run")
    trials = QUICK_TRIALS if asked.quick else TRIALS
    changes = QUICK if asked.quick else []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        search(folder, "--trials", str(trials), *(word for one in changes for word in ("--set", one)))
        what = f"{trials} trials{', shortened' if changes else ' of the default search'}"
        return rows_of(checked(folder), again(3, asked), what)


def search(folder: Path, *words: str) -> None:
    """Search the default space.

    Raises:
        RuntimeError: it did not come to its end.
    """
    from search.run import main

    with contextlib.redirect_stdout(sys.stderr):
        code = main(["--space", str(SPACE), "--out", str(folder), *words])
    if code:
        raise RuntimeError(f"the search ended with exit code {code}")


def checked(folder: Path) -> Run:
    """Return a run of which the shares can be told.

    Raises:
        RunError: no run, one of several sessions, or one in which nothing was trained.
    """
    run = read_run(folder)
    sessions = len(run.facts.get("sessions") or ())
    if sessions != 1:
        raise RunError(
            f"--run {folder}: has {sessions} sessions; allowed: one, since nobody knows what lay between them. "
            "Name a run that was not resumed."
        )
    if not run.history.table.num_rows:
        raise RunError(f"--run {folder}: no epoch was trained; allowed: a run with trials. Name another.")
    return run


def rows_of(run: Run, command: str, what: str) -> list[Row]:
    """Return the shares of a run, from its first trial to its last epoch and of the whole."""
    facts = run.facts
    cores = float(facts["hardware"]["cores"])
    epochs = epochs_of(run.history.table.to_pylist(), _cores_of_trial(run.folder))
    begin, end = min(one.start for one in epochs), max(one.end for one in epochs)
    began = _seconds(facts["sessions"][0]["started"])
    held = sum((one.end - one.start) * one.cores for one in epochs)
    slots = [(one.start, one.end) for one in epochs]
    return [
        row_of(
            f"cores' time in training or evaluation, from the first trial on, {what}",
            [held / cores / (end - begin)],
            command,
            n=len(run.trials),
        ),
        row_of("  the same in eighths of that time", shares(epochs, cores, WINDOWS), command),
        row_of(
            "  the same, of the whole search, report included",
            [held / cores / float(facts["wall_s"])],
            command,
            n=len(run.trials),
        ),
        row_of(
            "  time in which at least one trial trained, from the first on",
            [covered(slots) / (end - begin)],
            command,
            n=len(run.trials),
        ),
        row_of("  until the first epoch began", [max(begin - began, 0.0)], command, unit="s", n=1),
    ]


def epochs_of(rows: Sequence[Mapping[str, Any]], cores: float) -> list[Epoch]:
    """Return when each epoch ran: rows tell when it had ended, and what a trial's epochs took together so far."""
    found, before = [], dict[str, float]()
    for row in sorted(rows, key=lambda one: (one["candidate_id"], one["epoch"], one["time"])):
        spent, name = row["wall_s"], row["candidate_id"]
        if spent is None or not math.isfinite(spent) or spent <= before.get(name, 0.0):
            continue  # a last row that tells how it ended, of no epoch
        found.append(Epoch(start=row["time"] - (spent - before.get(name, 0.0)), end=row["time"], cores=cores))
        before[name] = spent
    return found


def shares(epochs: Sequence[Epoch], cores: float, windows: int) -> list[float]:
    """Return the share of cores that trained, in each of some equal parts of the time."""
    begin, end = min(one.start for one in epochs), max(one.end for one in epochs)
    width, found = (end - begin) / windows, []
    for number in range(windows):
        low, high = begin + number * width, begin + (number + 1) * width
        held = sum(max(min(one.end, high) - max(one.start, low), 0.0) * one.cores for one in epochs)
        found.append(held / cores / width)
    return found


def _cores_of_trial(folder: Path) -> float:
    """Return how many cores a trial of a run holds."""
    resources = load_space(folder / SPACE_FILE).resources
    return float(resources.workers_per_trial * resources.cpus_per_worker)


def _seconds(moment: str) -> float:
    return datetime.strptime(moment, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC).timestamp()
