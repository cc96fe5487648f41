"""Students of the finals as model folders, like any other student."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.seeds.finals_file import read_finals
from search.finals.lines import LONGER, STUDENT, TEACHER, Finalist, Stage, finished
from search.finals.models import FLOAT32, static_costs
from search.finals.plan import Plan, plan_of
from search.finals.request import Request
from search.results.student_export import measured_figures, write_student
from spaces.errors import ExportError


def check_place(request: Request, out: Path) -> None:
    """Refuse a place for students that is none or holds some already, before hours of training.

    Raises:
        ExportError: names it.
    """
    above = next(one for one in (out, *out.absolute().parents) if one.exists())
    if not above.is_dir():
        raise ExportError(
            f"--export {out}: {above} is no folder; allowed: a new or an empty folder. Give another one."
        )
    plan = plan_of(request)
    own = ["", *(f"-{name}" for name in plan.tasks)] if request.fine_tune else [""]
    for name in [f"{one.trial.candidate_id}{task}" for one in plan.finalists for task in own]:
        place = out / name
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise ExportError(
                f"--export {out}: {place} exists already; allowed: a new or an empty folder. Give another one."
            )


def export_finals(request: Request, out: Path) -> Iterator[Path]:
    """Write the student of seed 0 of each candidate into `out`/ID, and those trained for a task into `out`/ID-TASK.

    Args:
        request: as it was finalised.
        out: the new folder.

    Raises:
        ExportError: a place is taken, or nothing was trained.
    """
    plan = plan_of(request)
    known = read_finals(request.folder) or {"finals": []}
    told: Mapping[str, Any] = next((one for one in known["finals"] if one["key"] == plan.key), {})
    for line in plan.lines():
        if (line.method, line.seed) != (STUDENT, 0):
            continue
        (finalist,) = [one for one in plan.finalists if one.trial.candidate_id == line.candidate_id]
        for stage in line.stages:
            place = out / (line.candidate_id if stage.name == LONGER else f"{line.candidate_id}-{stage.name}")
            if stage.name not in (LONGER, *plan.tasks) or finished(stage) is None:
                continue
            tasks = plan.tasks if stage.name == LONGER else {stage.name: plan.tasks[stage.name]}
            job = replace(stage.job, tasks=tasks)
            more = _figures(replace(plan, tasks=tasks), finalist, stage, told)
            write_student(plan.run, finalist.trial, job, place, more=more)
            yield place


def _figures(plan: Plan, finalist: Finalist, stage: Stage, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a student as it was trained here, in the place of what the search knew of it.

    Args:
        plan: with the tasks that it is deployed for alone.
        finalist: the student.
        stage: that trained it.
        told: of `finalised.json`; {} where it has nothing of the plan.
    """
    owner, candidate_id = finalist.job.teacher, finalist.trial.candidate_id
    rows = told.get("rows", ())
    own = [row for row in rows if _named(row) == (candidate_id, STUDENT, 0, stage.name)]
    of_teacher = [row for row in rows if _named(row) == ("", TEACHER, 0, owner)]
    students = plan.students(finalist)
    subjects = {
        candidate_id: students.subject(finalist.job.config),
        "": students.deployed(finalist.teacher.blueprint, finalist.teacher),
    }
    costs: dict[str, dict[str, float]] = {}
    for name, subject in subjects.items():
        static = static_costs(subject)
        costs[name] = {"params": static.params, "flops": static.flops, "size_mib": static.size_mib}
        if stage.name == LONGER:  # timed for all tasks together
            costs[name] |= _timed(told.get("models", ()), name, owner)
    mine, whole = (one.get("wall_latency_ms", 0.0) for one in costs.values())
    whole = costs[candidate_id].pop("wall_teacher_latency_ms", whole)  # of the session that timed it
    if mine and whole:
        costs[candidate_id]["speedup"] = whole / mine
    searched = measured_figures(plan.run, finalist.trial)
    return {
        "metrics": _by_split(plan, own),
        "teacher": {**searched["teacher"], "metrics": _by_split(plan, of_teacher), "costs": costs[""]},
        "costs": costs[candidate_id],
        "config": dict(stage.job.config),
        "epochs": next((row["epochs"] for row in own), stage.job.epochs),
        "training": {},
        "finals": [{name: row[name] for name in ("domain", "metrics", "epochs")} for row in own],
        "finals_command": told.get("command", ""),
        "job": None,  # one training of several: none of them alone gives this student
    }


def _named(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["candidate_id"], row["method"], row["seed"], row["stage"]


def _by_split(plan: Plan, rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return split, or other data by its name -> metrics."""
    own = {"val": "validation"}.get(plan.split, plan.split)
    return {row["domain"] or own: dict(row["metrics"]) for row in rows}


def _timed(models: Iterable[Mapping[str, Any]], candidate_id: str, owner: str) -> dict[str, float]:
    """Return the latency of a model as a whole, {} where it was not measured."""
    for one in models:
        if (one["candidate_id"], one.get("teacher"), one["form"]) == (candidate_id, owner, FLOAT32):
            names = ("latency_ms", "latency_spread_ms", "teacher_latency_ms")
            return {f"wall_{name}": float(one["costs"][name]) for name in names if one["costs"].get(name)}
    return {}
