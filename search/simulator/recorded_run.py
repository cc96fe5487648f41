"""A run folder as a table: the learning curves of the candidates that the run trained to the end."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.run_folder import Run, Trial, read_run
from search.run_folder.facts import SPACE_FILE
from search.run_folder.proposal_log import ProposalLog
from search.simulator.goals import Goal
from search.simulator.table import CurveTable, infer_domain
from spaces.commands import command_line
from spaces.conditions import Conditions
from spaces.domains import Domain, Scalar
from spaces.errors import TableError
from spaces.load import load_space
from spaces.objectives import COSTS

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
    trials = {trial.candidate_id: trial for trial in run.finished if trial.candidate_id in values}
    curves = dict(_curves(run, trials))
    clock = max(
        CLOCKS, key=lambda name: sum(_rises(rows, name) for rows in curves.values())
    )  # CPU where equal
    ids = sorted(one for one, rows in curves.items() if _rises(rows, clock))
    if not ids:
        raise TableError(
            f"--table {folder}: none of its {len(run.finished)} finished candidates has proposed values and epochs with "
            "their times; allowed: at least one trained to the end. Go on with "
            f"{command_line('search/run.py', '--resume', folder)}"
        )
    domains, conditions = _space(folder, [values[one] for one in ids])
    rows = [row for one in ids for row in curves[one]]
    last = max(row["epoch"] for row in rows)
    costs = {name: np.array([trials[row["candidate_id"]].costs[name] for row in rows]) for name in COSTS}
    objectives = run.facts.get("objectives", {})
    return CurveTable(
        name=str(folder),
        ids=tuple(ids),
        fields=domains,
        conditions=conditions,
        values=[values[one] for one in ids],
        starts=np.cumsum([0, *(len(curves[one]) for one in ids)]),
        epochs=np.array([row["epoch"] for row in rows], dtype=np.int64),
        costs=np.concatenate([np.diff([0.0, *(row[clock] for row in curves[one])]) for one in ids]),
        columns={**{name: _column(rows, name) for name in (*run.metric_names, "loss")}, **costs},
        unit=CLOCKS[clock],
        # hypervolumes see the logarithm of costs, as the report's axes do
        goals=tuple(Goal(name, way, log=name in COSTS) for name, way in objectives.items()),
        rungs=tuple(sorted({int(rung) for rung in run.facts.get("rungs") or () if int(rung) < last})),
        notes=tuple(_notes(run, len(ids))),
    )


def _curves(run: Run, trials: Mapping[str, Trial]) -> Iterator[tuple[str, Rows]]:
    """Yield the rows of each trial to its last epoch; of an epoch redone after a resume, the later row counts."""
    epochs: dict[str, dict[int, Mapping[str, Any]]] = {one: {} for one in trials}
    for row in run.history.table.to_pylist():
        if row["candidate_id"] in epochs:
            epochs[row["candidate_id"]][int(row["epoch"])] = row
    for one, found in epochs.items():
        if trials[one].epochs in found:
            yield one, [found[epoch] for epoch in sorted(found)]


def _rises(rows: Rows, clock: str) -> bool:
    """Return whether a time since the candidate's start is there and grows in every row."""
    return bool((np.diff(_column(rows, clock), prepend=0.0) > 0).all())


def _column(rows: Rows, name: str) -> np.ndarray:
    """Return a column of rows, NaN where it was not measured."""
    return np.array([np.nan if row.get(name) is None else float(row[name]) for row in rows])


def _space(folder: Path, values: Sequence[Mapping[str, Scalar]]) -> tuple[Mapping[str, Domain], Conditions]:
    """Return the domains and conditions that the values belong to."""
    path = folder / SPACE_FILE
    if path.exists():
        space = load_space(path)
        domains = space.domains()
        if all(
            one.keys() == domains.keys() and all(domains[name].contains(value) for name, value in one.items())
            for one in values
        ):
            return domains, space.conditions()
    names = set.intersection(*(set(one) for one in values))
    return {name: infer_domain([one[name] for one in values]) for name in sorted(names)}, {}


def _notes(run: Run, used: int) -> Iterator[str]:
    """Yield what was left out."""
    whole, finished = len(run.candidates), len(run.finished)
    if whole > finished:
        yield f"left out: {whole - finished} of {whole} candidates of the run, not trained to the end"
    if finished > used:
        yield f"left out: {finished - used} of {finished} finished candidates, without recorded values or times"
