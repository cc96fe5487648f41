"""Students of the finals as model folders, like any other student."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.seeds.finals_file import read_finals
from search.finals.lines import LONGER, STUDENT, Stage, finished
from search.finals.plan import plan_of
from search.finals.request import Request
from search.results.student_export import write_student
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
    rows = [row for one in known["finals"] if one["key"] == plan.key for row in one["rows"]]
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
            write_student(
                plan.run,
                finalist.trial,
                job,
                place,
                more={"finals": _figures(rows, line.candidate_id, stage)},
            )
            yield place


def _figures(rows: list[dict[str, Any]], candidate_id: str, stage: Stage) -> list[Mapping[str, Any]]:
    """Return what was measured of a training."""
    return [
        {name: row[name] for name in ("domain", "metrics", "epochs")}
        for row in rows
        if (row["candidate_id"], row["method"], row["seed"], row["stage"])
        == (candidate_id, STUDENT, 0, stage.name)
    ]
