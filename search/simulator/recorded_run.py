"""A run folder as a table: the learning curves of the candidates that the run trained to the end."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.run_folder import Run, read_run
from search.run_folder.proposal_log import ProposalLog
from search.simulator.fields import infer_domain
from search.simulator.goals import Goal
from search.simulator.table import CurveTable
from spaces.domains import Domain, Scalar
from spaces.errors import TableError
from spaces.load import load_space
from spaces.objectives import COSTS

SPACE_FILE = "space.yaml"
CLOCKS = {"cpu_s": "s of CPU", "wall_s": "s"}

Rows = Sequence[Mapping[str, Any]]


def load_run(folder: Path) -> CurveTable:
    """Return the table of a run.

    An epoch costs the CPU seconds since the candidate's row before, or the wall seconds where the run recorded no CPU time.
    The searched values are those of `proposals.jsonl`; their domains those of `space.yaml`, or, where it is missing or no
    longer fits them, worked out from the values.

    Raises:
        RunError: the folder is no run, or damaged.
        SpaceError: `space.yaml` is damaged.
        TableError: no candidate can be used.
    """
    run = read_run(folder)
    values = ProposalLog(folder).values
    curves = {trial.candidate_id: rows for trial, rows in _curves(run) if trial.candidate_id in values}
    clock = _clock(curves)
    timed = {one: rows for one, rows in curves.items() if _rises(rows, clock)}
    ids = sorted(timed)
    if not ids:
        raise TableError(
            f"--table {folder}: none of its {len(run.finished)} finished candidates has proposed values and epochs with "
            "their times; allowed: at least one trained to the end. Go on with python search/run.py "
            f"--resume {folder}"
        )
    domains, conditions = _space(folder, [values[one] for one in ids])
    costs = {trial.candidate_id: trial.costs for trial in run.finished}
    rows = [row for one in ids for row in timed[one]]
    constant = {name: np.array([costs[row["candidate_id"]][name] for row in rows]) for name in COSTS}
    return CurveTable(
        name=str(folder),
        ids=tuple(ids),
        fields=domains,
        conditions=conditions,
        values=[values[one] for one in ids],
        starts=np.cumsum([0, *(len(timed[one]) for one in ids)]),
        epochs=np.array([row["epoch"] for row in rows], dtype=np.int64),
        costs=np.concatenate([np.diff([0.0, *(row[clock] for row in timed[one])]) for one in ids]),
        columns={**_measurements(run, rows), **constant},
        unit=CLOCKS[clock],
        goals=_goals(run),
        rungs=_rungs(run, rows),
        notes=tuple(_notes(run, len(ids))),
    )


def _curves(run: Run) -> Iterator[tuple[Any, Rows]]:
    """Yield each finished candidate with its rows; of an epoch redone after a resume, the later one counts."""
    by_candidate: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in run.history.table.to_pylist():
        by_candidate.setdefault(row["candidate_id"], {})[int(row["epoch"])] = row
    for trial in run.finished:
        epochs = by_candidate.get(trial.candidate_id, {})
        if trial.epochs in epochs:
            yield trial, [epochs[epoch] for epoch in sorted(epochs)]


def _clock(curves: Mapping[str, Rows]) -> str:
    """Return the time column that is usable for most candidates, CPU time before wall time."""
    return max(
        CLOCKS, key=lambda name: (sum(_rises(rows, name) for rows in curves.values()), name == "cpu_s")
    )


def _rises(rows: Rows, clock: str) -> bool:
    """Return whether a time since the candidate's start is there and grows in every row."""
    times = [0.0, *(np.nan if row.get(clock) is None else row[clock] for row in rows)]
    return bool((np.diff(times) > 0).all())


def _measurements(run: Run, rows: Rows) -> dict[str, np.ndarray]:
    """Return the metrics of all rows and the training loss, NaN where they were not measured."""
    return {
        name: np.array([np.nan if row.get(name) is None else float(row[name]) for row in rows])
        for name in (*run.metric_names, "loss")
    }


def _space(folder: Path, values: Sequence[Mapping[str, Scalar]]) -> tuple[dict[str, Domain], dict[str, str]]:
    """Return the domains and conditions that the values belong to."""
    path = folder / SPACE_FILE
    if path.exists():
        space = load_space(path)
        domains = space.domains()
        if all(one.keys() == domains.keys() and _inside(one, domains) for one in values):
            return domains, space.conditions()
    names = set.intersection(*(set(one) for one in values))
    return {name: infer_domain([one[name] for one in values]) for name in sorted(names)}, {}


def _inside(values: Mapping[str, Scalar], domains: Mapping[str, Domain]) -> bool:
    """Return whether all values are in their domains."""
    return all(domain.contains(values[name]) for name, domain in domains.items())


def _goals(run: Run) -> tuple[Goal, ...]:
    """Return the objectives of the run; hypervolumes see the logarithm of costs, as the report's axes do."""
    return tuple(Goal(name, way, log=name in COSTS) for name, way in run.facts.get("objectives", {}).items())


def _rungs(run: Run, rows: Rows) -> tuple[int, ...]:
    """Return the rungs of the run below its last epoch."""
    last = max(row["epoch"] for row in rows)
    return tuple(sorted({int(rung) for rung in run.facts.get("rungs") or () if int(rung) < last}))


def _notes(run: Run, used: int) -> Iterator[str]:
    """Yield what was left out."""
    early = len(run.candidates) - len(run.finished)
    if early:
        yield f"left out: {early} of {len(run.candidates)} candidates of the run, not trained to the end"
    if used < len(run.finished):
        lost = len(run.finished) - used
        yield f"left out: {lost} of {len(run.finished)} finished candidates, without recorded values or times"
