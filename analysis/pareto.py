"""Fronts of the quality objective against one cost, and the points on them that have names.

A front is over finished candidates of the search, in two objectives: dominance in all four correlated costs
at once would keep nearly everything. Equal points are all kept; rows with a non-finite number are on no
front.
"""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import moocore
import numpy as np

from analysis.run_folder import Run, Trial
from spaces.candidate import EARLIER_DIGITS
from spaces.commands import command_line
from spaces.errors import RunError
from spaces.objectives import FRONT_COSTS

NAMED = ("best", "knee")
ROUNDING = 1e-9  # of places between 0 and 1: what is no farther above a line lies on it


def nondominated(quality: Sequence[float], cost: Sequence[float], *, maximise: bool) -> list[bool]:
    """Return for each point whether no other point is at least as good in both and better in one.

    Equal points do not dominate each other. A point with a non-finite number counts as dominated.
    """
    points = np.column_stack([np.asarray(quality, dtype=float), np.asarray(cost, dtype=float)])
    finite = np.isfinite(points).all(axis=1)  # moocore would count a NaN row as nondominated
    kept = np.zeros(len(points), dtype=bool)
    if finite.any():
        kept[finite] = moocore.is_nondominated(points[finite], maximise=[maximise, False], keep_weakly=True)
    return [bool(flag) for flag in kept]


def front(run: Run, axis: str, metric: str | None = None) -> list[Trial]:
    """Return the front members by rising cost; ties in cost by candidate id.

    Args:
        run: the run.
        axis: params, flops or latency_ms.
        metric: another metric than the quality objective; it is maximised.

    Raises:
        RunError: no such axis.
    """
    check_axis(axis)
    name = metric or run.quality
    maximise = run.maximise if name == run.quality else True
    trials = run.finished
    flags = nondominated([t.value(name) for t in trials], [t.costs[axis] for t in trials], maximise=maximise)
    members = [trial for trial, flag in zip(trials, flags, strict=True) if flag]
    return sorted(members, key=lambda trial: (trial.costs[axis], trial.candidate_id))


def front_ids(run: Run, axis: str) -> list[str]:
    """Return the candidate ids of a front by rising cost."""
    return [trial.candidate_id for trial in front(run, axis)]


def mark_fronts(rows: Iterable[Mapping[str, Any]], quality: str, *, maximise: bool) -> list[dict[str, Any]]:
    """Return table rows with `on_front_params`, `on_front_flops` and `on_front_latency_ms` set.

    Args:
        rows: rows as `analysis.table.write_trials` takes them.
        quality: the metric column of the quality objective.
        maximise: its direction.
    """
    marked = [dict(row) for row in rows]
    able = [
        row for row in marked if row.get("status") == "finished" and row.get("role", "search") == "search"
    ]
    for axis in FRONT_COSTS:
        for row in marked:
            row[f"on_front_{axis}"] = False
        flags = nondominated(_column(able, quality), _column(able, axis), maximise=maximise)
        for row, flag in zip(able, flags, strict=True):
            row[f"on_front_{axis}"] = flag
    return marked


def reference_point(run: Run, axis: str) -> tuple[float, float] | None:
    """Return the reference point (quality, cost) of the hypervolume: one that does not move while a run
    grows.

    It is the teacher's cost and quality 0 (for a quality that is minimised, twice the teacher's value). None
    when the teacher's figure is not known.
    """
    cost = run.teacher(axis)
    quality = 0.0 if run.maximise else 2 * run.teacher(run.quality)
    return (quality, cost) if math.isfinite(cost) and cost > 0 and math.isfinite(quality) else None


def hypervolume(run: Run, axis: str) -> float:
    """Return the hypervolume of a front, its cost counted in shares of the teacher's (so: quality units).

    100 would be all of the teacher's retention at no cost. Students that cost more than the teacher add
    nothing. NaN when there is no reference point.
    """
    reference = reference_point(run, axis)
    if reference is None:
        return math.nan
    members = front(run, axis)
    if not members:
        return 0.0
    points = np.array([[trial.value(run.quality), trial.costs[axis] / reference[1]] for trial in members])
    return float(moocore.hypervolume(points, ref=[reference[0], 1.0], maximise=[run.maximise, False]))


def best(members: Sequence[Trial], quality: str, *, maximise: bool) -> Trial:
    """Return the member of best quality; of equal ones the first, that is the cheapest."""
    return max(members, key=lambda trial: trial.value(quality) if maximise else -trial.value(quality))


def knee(members: Sequence[Trial], axis: str, quality: str, *, maximise: bool) -> Trial:
    """Return the front member after which more cost buys least: the one farthest above the line between the
    ends.

    Cost is on a log scale, both scaled to 0..1 over the front (Branke et al. 2004 discuss the alternatives).
    A front of one or two points has no bend, nor has one that nowhere lies above that line: its best member is returned.

    Args:
        members: a front by rising cost, not empty.
    """
    first, last = members[0], members[-1]
    width = math.log(last.costs[axis] / first.costs[axis]) if first.costs[axis] > 0 else 0.0
    height = last.value(quality) - first.value(quality)
    if len(members) < 3 or width <= 0 or height == 0:
        return best(members, quality, maximise=maximise)

    def above(trial: Trial) -> float:
        along = math.log(trial.costs[axis] / first.costs[axis]) / width
        return (
            trial.value(quality) - first.value(quality)
        ) / height - along  # a minimised quality has height < 0

    found = max(members[1:-1], key=above)
    return found if above(found) > ROUNDING else best(members, quality, maximise=maximise)


def pick(run: Run, which: str, axis: str = "params") -> Trial:
    """Return the finished candidate that `which` names.

    Args:
        run: the run.
        which: `best`, `knee` (both of the front on `axis`), or a candidate id, its first 8 digits at least.
        axis: params, flops or latency_ms.

    Raises:
        RunError: an unknown name, a candidate that is not finished, or a front without members.
    """
    check_axis(axis)
    if which in NAMED:
        members = front(run, axis)
        if not members:
            raise RunError(
                f"{run.folder}: the front of {run.quality} against {axis} is empty, {len(run.finished)} "
                f"candidates finished. Go on with {command_line('search/run.py', '--resume', run.folder)}"
            )
        if which == "best":
            return best(members, run.quality, maximise=run.maximise)
        return knee(members, axis, run.quality, maximise=run.maximise)
    found = [trial for trial in run.trials if trial.candidate_id == which]
    if not found and len(which) >= EARLIER_DIGITS:  # as the status line shows ids
        found = [trial for trial in run.trials if trial.candidate_id.startswith(which)]
    if len(found) != 1:
        raise RunError(_unknown_id(run, which))
    trial = found[0]
    if not trial.is_candidate:
        raise RunError(
            f"{run.folder}, {which}: is the {trial.role} baseline, not a candidate. {_allowed(run)}"
        )
    if not trial.finished:
        reason = f" ({trial.reason})" if trial.reason else ""
        raise RunError(
            f"{run.folder}, {which}: is {trial.status} after {trial.epochs} epochs{reason}; only finished "
            f"candidates can be picked. {_allowed(run)}"
        )
    return trial


def check_axis(axis: str) -> None:
    """Raise RunError unless `axis` is a cost that fronts are drawn against."""
    if axis not in FRONT_COSTS:
        raise RunError(f"--axis: got {axis!r}; allowed are {', '.join(FRONT_COSTS)}.")


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Return one column, NaN for a missing value."""
    return [math.nan if row.get(name) is None else float(row[name]) for row in rows]


def _unknown_id(run: Run, which: str) -> str:
    """Return the message for an id that no row has."""
    ids = [trial.candidate_id for trial in run.candidates]
    near = [one for one in ids if which and one.startswith(which)] or difflib.get_close_matches(
        which, ids, n=3, cutoff=0.5
    )
    hint = f" Did you mean {' or '.join(near[:3])}?" if near else ""
    return f"{run.folder}: no candidate is called {which!r}.{hint} {_allowed(run)}"


def _allowed(run: Run) -> str:
    """Return the sentence that names what can be picked."""
    ids = sorted(trial.candidate_id for trial in run.finished)
    shown = ", ".join(ids[:12]) + (f" and {len(ids) - 12} more" if len(ids) > 12 else "")
    return f"Allowed: {', '.join(NAMED)}, or a finished candidate: {shown or 'there is none yet'}."
