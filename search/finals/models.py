"""What teachers and finalists cost when they are deployed for the tasks of the finals: sizes, and latency as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from search.finals.lines import LONGER, STUDENT, TEACHER, Line, finished
from search.finals.plan import Plan
from search.reporting.finalists import measured_whole
from search.tune.tasks import Say, Tasks
from trainables.costs.static import StaticCosts, joined, measure_static
from trainables.costs.subject import Subject
from trainables.costs.target import Target
from trainables.training.compressed import Forms, measure_forms

FLOAT32 = "float32"


def model_rows(plan: Plan, tasks: Tasks, *, samples: int, say: Say) -> list[dict[str, Any]]:
    """Return a row for each teacher and each student: what it costs, its latency measured one at a time after all else.

    Args:
        plan: whose finalists they are.
        tasks: runs work on the cluster.
        samples: times of each model, at most.
        say: takes a line.
    """
    target = _target(plan)
    subjects = _subjects(plan)
    say(f"latency of {len(subjects)} models as a whole, one at a time: {target.describe()}")
    found = tasks.run(measured_whole, list(subjects.values()), target, samples)
    latency_of_teachers = {
        owner: one.latency_ms for (owner, name), one in zip(subjects, found, strict=True) if not name
    }
    rows = []
    for (owner, candidate_id), subject, latency in zip(subjects, subjects.values(), found, strict=True):
        static = static_costs(subject)
        rows.append(
            {
                "candidate_id": candidate_id,
                "teacher": owner,
                "form": FLOAT32,
                "costs": {
                    "params": static.params,
                    "flops": static.flops,
                    "size_mib": static.size_mib,
                    "latency_ms": latency.latency_ms,
                    "latency_spread_ms": latency.spread_ms,
                    # of a student, in the same session: another may be on another machine, and its students stand beside these
                    **({"teacher_latency_ms": latency_of_teachers[owner]} if candidate_id else {}),
                },
                "target": target.describe(),
            }
        )
    return rows


def form_rows(
    plan: Plan, lines: Sequence[Line], known: Sequence[Mapping[str, Any]], tasks: Tasks, *, say: Say
) -> list[dict[str, Any]]:
    """Return a row for each form of each teacher and each student of seed 0: float32, int8, and the teacher pruned.

    A teacher is pruned to as many weights as each of its students has. All of it is measured on a CPU, one after the other. A
    student that reads its teacher has no row: most of what it costs is not its own, and stays as it is in every form.

    Args:
        plan: whose finalists they are.
        lines: of the plan.
        known: rows of the finals, whose figures in float32 are not measured again.
        tasks: runs work on the cluster.
        say: takes a line.
    """
    target = replace(_target(plan), device="cpu", runtime="eager", dtype="float32", batch=1)
    subjects = _subjects(plan)
    sizes = {key: static_costs(subject).params for key, subject in subjects.items()}
    rows = []
    for (owner, candidate_id), subject in subjects.items():
        if subject.reads is not None:
            say(f"forms of {candidate_id}: left out, it reads its teacher whenever it is used")
            continue
        line = next((one for one in lines if one.candidate_id == candidate_id and _is_first(one)), None)
        finalist = next(one for one in plan.finalists if one.job.teacher == owner)
        asked = plan.measuring(finalist, of=LONGER if candidate_id else "")
        order = asked.order
        if candidate_id:
            stage = next((one for one in line.stages if one.name == LONGER), None) if line else None
            if stage is None or finished(stage) is None:
                continue  # it failed, which was told
            order = replace(order, student=stage.job.folder)
        mine = [
            one
            for one in sizes
            if one[0] == owner and one[1] and not candidate_id and not subjects[one].reads
        ]
        forms = Forms(
            order=order,
            subject=subject,
            keep={f"pruned to the weights of {one[1]}": sizes[one] for one in mine},
            known=_figures(known, owner, candidate_id),
        )
        say(
            f"forms of {candidate_id or f'the teacher {owner}'}: float32, int8" + (", pruned" if mine else "")
        )
        found = tasks.run(measure_forms, forms, target)
        rows += [{"candidate_id": candidate_id, "teacher": owner, **row} for row in found]
    return rows


def _is_first(line: Line) -> bool:
    return line.method == STUDENT and line.seed == 0


def _figures(rows: Sequence[Mapping[str, Any]], owner: str, candidate_id: str) -> Mapping[str, float] | None:
    """Return the figures of a model in float32, None where they are not known."""
    for row in rows:
        own = row["candidate_id"] == candidate_id and not row["domain"] and row["seed"] == 0
        if own and (row["method"], row["stage"]) == ((STUDENT, LONGER) if candidate_id else (TEACHER, owner)):
            figures: Mapping[str, float] = row["metrics"]
            return figures
    return None


def _target(plan: Plan) -> Target:
    """Return where latency was measured in the run; of a run that tells no target, one thread of this CPU."""
    facts = plan.run.facts.get("target") or {}
    known = {name: value for name, value in facts.items() if name in Target.__dataclass_fields__}
    return Target(**known)


def _subjects(plan: Plan) -> dict[tuple[str, str], Subject]:
    """Return (teacher, candidate or "") -> what is measured, teachers first."""
    found: dict[tuple[str, str], Subject] = {}
    for one in plan.finalists:
        found[one.job.teacher, ""] = plan.students(one).deployed(one.teacher.blueprint, one.teacher)
    for one in plan.finalists:
        found[one.job.teacher, one.trial.candidate_id] = plan.students(one).subject(one.job.config)
    return found


def static_costs(subject: Subject) -> StaticCosts:
    """Return the costs of a model and of what it reads of its teacher, from sizes alone."""
    return joined({owner: measure_static(part) for owner, part in subject.parts.items()})
