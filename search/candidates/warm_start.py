"""Warm start: what earlier runs of the same space, teacher and data have measured."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis import wording
from analysis.pareto import nondominated
from analysis.table import FAILED
from search.inputs.completed import completed
from search.inputs.inputs import Inputs
from search.proposal import NOT_PROPOSED, Past, to_minimise
from search.run_folder.facts import check_format, read_facts, read_space
from search.run_folder.recorder import Recorder
from search.run_folder.warm_start_file import EarlierResults
from search.schedulers.rank import farthest_first
from search.searchers.base import Values
from spaces.domains import Domain
from spaces.errors import RunError
from spaces.objectives import COSTS, FRONT_COSTS, cost_columns
from spaces.rules import show
from spaces.schema import Space

FIRST_SHARE = 2  # at most one in so many trials repeats a candidate of an earlier run
ABSENT = "absent"
LATENCY = "latency_ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Earlier:
    """One earlier run: its folder, `run.json`, and the candidates that it trained."""

    folder: Path
    facts: Mapping[str, Any]
    trained: Sequence[Past]


def read_runs(folders: Iterable[Path], inputs: Inputs) -> EarlierResults:
    """Return what earlier runs have measured; their folders are only read, also while a search writes them.

    Raises:
        RunError: a folder that is no run or is damaged; runs of another space, teacher or data, with every difference; an
            ablation, in which nobody learns from anything.
    """
    if inputs.space.ablation is not None:
        raise RunError(
            "--warm-start: got it for an ablation, which trains its arms and nothing else; allowed: with a search. Drop the flag."
        )
    named = {folder.resolve(): folder for folder in folders}
    facts = {folder: read_facts(folder) for folder in named.values()}
    for folder, known in facts.items():
        check_format(folder, known, f"--warm-start {folder}")
    refused = []
    for folder, known in facts.items():
        found = differences(inputs, read_space(folder, []), known)
        refused += [f"--warm-start {folder}: measured something else:", *found] if found else []
    if refused:
        advice = "Name runs of the same space, teacher and data, or search without --warm-start."
        raise RunError("\n".join([*refused, advice]))
    runs = [
        _Earlier(folder=folder, facts=known, trained=_trained(folder, inputs.space))
        for folder, known in facts.items()
    ]
    past = [one for run in runs for one in run.trained]
    first = _first(past, inputs)
    chosen = {id(one) for one in first}
    return EarlierResults(
        past=past,
        first=[one.proposal.values for one in first],
        sources=[
            {
                "run": run.folder.resolve().name,
                "started": run.facts.get("started", ""),
                "imported": len(run.trained),
                "finished": sum(one.status == "finished" for one in run.trained),
                "first": sum(id(one) in chosen for one in run.trained),
                "target": _measured_on(run.facts),
            }
            for run in runs
        ],
    )


def read_told(folders: Iterable[Path], inputs: Inputs) -> EarlierResults:
    """Return what the runs of --warm-start have measured; say how much that is.

    Raises:
        RunError: no run, or one of another space, teacher or data.
    """
    earlier = read_runs(folders, inputs)
    for source in earlier.sources:
        counts = (
            f"learns from {source['imported']} trained candidates, {source['finished']} of them finished; "
            f"{source['first']} on the fronts are trained first"
        )
        inputs.say(
            f"warm start from {source['run']} ({source['started']}): {counts if source['imported'] else 'holds no result'}"
        )
    return earlier


def retargeted(earlier: EarlierResults, inputs: Inputs) -> EarlierResults:
    """Return what earlier runs have measured, latency on the target of this run: figures of another one are measured anew.

    That takes a while, and is done before the search begins. Where latency is neither objective nor limit, they are left out.

    Args:
        earlier: see `read_runs`.
        inputs: of this run, which measure.

    Raises:
        StudentSearchError: measuring failed.
    """
    latency, target = inputs.measures[inputs.space.teachers[0]].latency, inputs.latencies.target
    assert latency, "`latency.opening` comes first"
    assert target, "`latency.opening` comes first"
    here, past, place = {**target.to_dict(), "hardware": latency.device}, list[Past](), 0
    for source in earlier.sources:
        theirs = list(earlier.past[place : place + source["imported"]])
        place += source["imported"]
        if theirs and source["target"] != here:
            inputs.say(
                f"warm start from {source['run']}: its latencies are of {_place(source['target'])}, not of {_place(here)}; "
                f"they are {'measured anew' if _latency_counts(inputs) else 'left out'}"
            )
            theirs = _with_latency(theirs, inputs)
        past += theirs
    return replace(earlier, past=past)


def _measured_on(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return target and hardware of a run's latencies; {} of a run that knew no target."""
    latency = (facts.get("teacher") or {}).get("latency") or {}
    target = facts.get("target")
    return {**target, "hardware": latency.get("device", "")} if target else {}


def _place(target: Mapping[str, Any]) -> str:
    """Return such a target in words."""
    hardware = f" ({target['hardware']})" if target.get("hardware") else ""
    return wording.target({"target": target}) + hardware


def _latency_counts(inputs: Inputs) -> bool:
    return LATENCY in inputs.space.objectives or LATENCY in inputs.limits()


def _with_latency(past: Sequence[Past], inputs: Inputs) -> list[Past]:
    """Return candidates with their latency on the target of this run, or without any where it does not count."""
    if not _latency_counts(inputs):
        return [_told(one, {}) for one in past]
    subjects = [inputs.students.subject(one.proposal.candidate.config) for one in past]
    return [
        _told(one, {LATENCY: latency.latency_ms})
        for one, latency in zip(past, inputs.latencies.measured(subjects), strict=True)
    ]


def _told(past: Past, latency: Mapping[str, float]) -> Past:
    """Return a candidate with another latency in its costs and rows, or with none."""

    def changed(cells: Mapping[str, Any]) -> dict[str, Any]:
        return {**{name: cell for name, cell in cells.items() if name != LATENCY}, **latency}

    return replace(past, costs=changed(past.costs), rows=[changed(row) for row in past.rows])


def differences(inputs: Inputs, theirs: Space, facts: Mapping[str, Any]) -> list[str]:
    """Return a line for everything in which an earlier run's results were got otherwise than this run's will be.

    Defaults of domains do not count: they say where a search begins, not what may be tried.

    Args:
        inputs: this run.
        theirs: the space of the earlier run.
        facts: its `run.json`.
    """
    tasks = facts.get("tasks") or list(
        inputs.students.made
    )  # a run of before wrote those that it chose into its facts
    mine, other = _described(inputs.space), _described(completed(theirs, tasks))
    pairs: dict[str, tuple[Any, Any]] = {
        path: (mine.get(path, ABSENT), other.get(path, ABSENT))
        for path in {**mine, **other}
        if path == _switch(path) or (_switch(path) in mine and _switch(path) in other)
    }
    for name, fingerprint in inputs.fingerprints.items():
        before = (facts.get(name) or {}).get("fingerprint", "unknown")
        pairs[f"{name} fingerprint"] = (fingerprint, before)
    if len(set(pairs.get("teacher fingerprint", ("", "unknown")))) == 1:
        del pairs["teacher"]  # the same one, which has moved since
    return [
        f"  {path}: {_shown(here)} in this run, {_shown(there)} in that one"
        for path, (here, there) in pairs.items()
        if here != there
    ]


def _switch(path: str) -> str:
    """Return the path of a loss's weight for each of its options: where only one space has the loss, that says it all."""
    room, _, rest = path.partition(".")
    return f"losses.{rest.partition('.')[0]}.weight" if room == "losses" else path


def _described(space: Space) -> dict[str, Any]:
    """Return dotted path -> literal or domain, its default aside, of all that decides a result."""
    leaves = {
        "teacher": space.teachers[0],
        "tasks": sorted(space.tasks or ()),
        **{
            f"tasks.{task}.{name}": one
            for task, options in (space.tasks or {}).items()
            for name, one in options.items()
        },
        "allow_partial": space.allow_partial,
        **space.searchable(),
        **{f"evaluation.{k}": v for k, v in space.evaluation.model_dump().items()},
        **{f"teacher_cache.{k}": v for k, v in space.teacher_cache.model_dump().items()},
    }
    return {
        path: replace(leaf, default=None) if isinstance(leaf, Domain) else leaf
        for path, leaf in leaves.items()
    }


def _shown(value: Any) -> str:
    """Return a literal or a domain as a space file writes it."""
    if not isinstance(value, Domain):
        return value if value == ABSENT else show(value)
    bounds = ", ".join(str(bound) for bound in value.bounds())
    zero = f", zero: {value.zero}" if value.zero else ""
    return f"{{{value.kind}: [{bounds}]{zero}}}"


def _trained(folder: Path, space: Space) -> list[Past]:
    """Return the trained candidates of a run that a searcher can learn from, in the order in which they ended."""
    recorder = Recorder.load(folder, metric_names=(), loss_names=sorted(space.losses))
    paths, kept = space.domains().keys(), []
    metrics = space.objectives.keys() - set(COSTS)
    for past in recorder.past():
        if (
            past.proposal.candidate.role != "search"
            or not past.admitted
            or past.proposal.values.keys() != paths
        ):
            continue  # without its values: the line in proposals.jsonl was torn
        rows = [row for row in map(_finite, past.rows) if metrics & row.keys()]
        if rows or past.status in FAILED:
            kept.append(replace(past, proposal=replace(past.proposal, index=NOT_PROPOSED), rows=rows))
    return kept


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result row without cells that JSON has no words for, or that hold nothing."""
    return {
        name: cell
        for name, cell in row.items()
        if isinstance(cell, str) or (cell is not None and math.isfinite(cell))
    }


def _first(past: Sequence[Past], inputs: Inputs) -> list[Past]:
    """Return the members of all fronts of quality against one cost, no candidate twice, at most half of the trials.

    The order is that of the scheduler's ranks: the best balanced one first, then the farthest from all that are taken,
    so that any number of them covers the fronts.
    """
    space = inputs.space
    quality, maximise = space.quality, space.objectives[space.quality] == "max"
    able = [one for one in past if one.status == "finished"]
    values = [float(one.rows[-1].get(quality, math.nan)) for one in able]
    members: dict[str, Past] = {}
    for cost in FRONT_COSTS:
        flags = nondominated(values, [one.costs.get(cost, float("nan")) for one in able], maximise=maximise)
        for one in [one for one, flag in zip(able, flags, strict=True) if flag]:
            members.setdefault(_identity(one.proposal.values, inputs), one)
    if not members:
        return []
    goals = {quality: space.objectives[quality], **dict.fromkeys(FRONT_COSTS, "min")}
    points = {
        key: to_minimise({**one.costs, quality: one.rows[-1][quality]}, goals) for key, one in members.items()
    }
    keys = sorted(members, key=lambda key: (points[key], key))
    order = farthest_first(np.asarray([points[key] for key in keys]), ratios=cost_columns(goals))
    most = max(space.search.trials // FIRST_SHARE, 1)
    return [members[keys[place]] for place in order[:most]]


def _identity(values: Values, inputs: Inputs) -> str:
    """Return what is equal for equal trainings: the id that this run will give the candidate."""
    space = inputs.space
    return inputs.feedable_part(space.build(values, inputs.students, space.search.seed)).candidate_id
