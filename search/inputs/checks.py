"""What teacher and data cannot do of what a space asks for."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from search.inputs.students import LossCorner, Students
from spaces.checks import MOST
from spaces.domains import Domain, is_number
from spaces.errors import SpaceError, TeacherError
from spaces.objectives import COSTS
from spaces.plugins import resolve
from spaces.schema import Space
from trainables.losses import LOSSES
from trainables.losses.base import ADVICE, Ends, Loss, missing, reading_lack, source_lack
from trainables.signals import CLASS, Offers
from trainables.tasks import DEFAULT, TASKS
from trainables.tasks.base import Task
from trainables.tasks.evaluation import make_tasks
from trainables.tasks.retention import ABOVE_BLIND, ACCURACY, RETENTION
from trainables.teachers.teacher import Teacher
from trainables.training.build import loss_config


@dataclass(frozen=True, kw_only=True)
class Ability:
    """What decides which tasks can be done with a teacher.

    Attributes:
        offers: what it can say.
        fields: what batches of the data can have, in its encoding.
    """

    offers: Offers
    fields: Collection[str]

    def lack(self, task: Task) -> str:
        """Return why the teacher or the data cannot do a task, "" where they can."""
        model, data = task.model_lack(self.offers), task.data_lack(self.fields)
        reasons = [f"it {model}, which the teacher does not have"] if model else []
        return "; ".join([*reasons, f"it {data}"] if data else reasons)


def chosen_tasks(space: Space, teachers: Mapping[str, Ability]) -> tuple[dict[str, Task], list[str]]:
    """Return the tasks of a space, and sentences on those that were chosen for it, and on teachers that cannot do all of them.

    A named task is one that at least one teacher can do on this data. Where none are named, it is those that the reference
    can do.

    Args:
        space: names tasks, or leaves them to what reference and data allow.
        teachers: name -> what it can do; the reference comes first.

    Raises:
        SpaceError: a named task that no teacher or the data cannot do, none that they can, or a teacher that can do none.
    """
    made = make_tasks(space.tasks if space.tasks is not None else {name: {} for name in DEFAULT})
    if space.tasks is None and not any(CLASS in ability.fields for ability in teachers.values()):
        # pictures without classes lack nothing that need be told
        made = {name: task for name, task in made.items() if CLASS not in task.fields}
    _check_machine(space, made)
    lacks = {
        name: {one: ability.lack(task) for one, ability in teachers.items()} for name, task in made.items()
    }
    asked = list(teachers) if space.tasks is not None else list(teachers)[:1]
    broken = {
        name: _reasons(found, asked) for name, found in lacks.items() if all(found[one] for one in asked)
    }
    able = {name: task for name, task in made.items() if name not in broken}
    allowed = ", ".join(able) or _possible(teachers) or "none"
    if space.tasks is not None and broken:
        raise SpaceError(
            [
                f"{space.place(f'tasks.{name}')}: got {name}, but {why}; allowed here: {allowed}. "
                "Drop it, or change teacher or data."
                for name, why in broken.items()
            ]
        )
    if not able:
        why = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        raise SpaceError(
            [
                f"{space.place('tasks')}: teacher and data can do no task of the usual ones ({why}); allowed here: {allowed}. "
                "Name one in `tasks:`."
            ]
        )
    partial = _partial_notes(space, able, lacks, teachers)
    if space.tasks is not None:
        return able, partial
    left_out = "".join(f"; without {name}: {why}" for name, why in broken.items())
    return able, [f"tasks: {', '.join(able)} (all that teacher and data allow{left_out})", *partial]


def _check_machine(space: Space, tasks: Mapping[str, Task]) -> None:
    """Refuse tasks that this machine cannot measure.

    Raises:
        SpaceError: all of them at once.
    """
    lacking = {name: lack for name, task in tasks.items() if (lack := task.machine_lack())}
    if lacking:
        raise SpaceError([f"{space.place(f'tasks.{name}')}: {lack}" for name, lack in lacking.items()])


def _possible(teachers: Mapping[str, Ability]) -> str:
    """Return the names of all tasks that some teacher and the data can do."""
    every = make_tasks({name: {} for name in TASKS})
    return ", ".join(
        name for name, task in every.items() if any(not one.lack(task) for one in teachers.values())
    )


def _reasons(found: Mapping[str, str], teachers: Sequence[str]) -> str:
    """Return why none of some teachers can do a task, said once where it is the same for all."""
    different = {found[one] for one in teachers}
    if len(different) > 1:
        return "; ".join(f"{one}: {found[one]}" for one in teachers)
    (reason,) = different
    return reason if len(teachers) == 1 else reason.replace("the teacher does not have", "no teacher has")


def _partial_notes(
    space: Space, able: Mapping[str, Task], lacks: Mapping[str, Mapping[str, str]], teachers: Iterable[str]
) -> list[str]:
    """Return a sentence on each teacher that cannot do some of the tasks.

    Raises:
        SpaceError: one can do none of them.
    """
    notes, idle = [], []
    for teacher in teachers:
        lacking = {name: lacks[name][teacher] for name in able if lacks[name][teacher]}
        why = "; ".join(f"{name}: {reason}" for name, reason in lacking.items())
        if len(lacking) == len(able):
            idle.append(
                f"{space.place('teacher')}: got {teacher!r}, which can do no task of this space ({why}); allowed: teachers that "
                "can do one or more. Drop it, or name a task that it can do in `tasks:`."
            )
        elif lacking:
            rest = ", ".join(name for name in able if name not in lacking)
            notes.append(
                f"teacher {teacher}: retention of its students is made of {rest} alone (without {why})"
            )
    if idle:
        raise SpaceError(idle)
    return notes


def loss_configs(space: Space) -> Iterable[LossCorner]:
    """Yield name, class and the corners of the options of each loss that can be active at all.

    They are all combinations of options; where those are too many, numbers are at their ends only: what a loss reads hangs
    on words and on what is zero, hardly ever on a number in between.
    """
    for name, section in space.losses.items():
        kind: type[Loss] = resolve(LOSSES, name, "losses")
        axes = {
            option: [v for v in value.corners() if option != "weight" or v != 0]
            if isinstance(value, Domain)
            else [value]
            for option, value in section.options.items()
        }
        if axes["weight"] == [0]:
            continue
        if math.prod(map(len, axes.values())) > MOST:
            axes = {option: _ends(values) for option, values in axes.items()}
        for values in islice(product(*axes.values()), MOST):
            yield name, kind, loss_config(name, dict(zip(axes, values, strict=True)))


def _ends(values: Sequence[Any]) -> list[Any]:
    """Return values with the numbers among them cut down to the least, the greatest, and zero."""
    numbers = [value for value in values if is_number(value)]
    kept = {min(numbers), max(numbers), *(value for value in numbers if value == 0)} if numbers else set()
    return [value for value in values if not is_number(value) or value in kept]


def check_losses(space: Space, teachers: Mapping[str, Teacher]) -> None:
    """Refuse losses that a space asks for and none of its teachers can feed; one that some can feed the others leave out.

    A loss whose weight may be 0 is offered, not asked for: it is left out, which `left_out` tells.

    Raises:
        SpaceError: names each of them, with its line and the reason.
    """
    problems: dict[str, str] = {}
    for loss, kind, config in loss_configs(space):
        lacks: dict[str, str] = {}
        for name, teacher in teachers.items():
            ends = Ends(name=loss, student=teacher.offers, source=teacher.offers)
            needs = kind.needs_of(config, ends)
            if reason := source_lack(needs, ends):
                lacks[name] = reason if len(teachers) == 1 else missing(needs.source, ends.source)
        if len(lacks) == len(teachers) and not _may_be_off(space, loss):
            told = "; ".join(f"{name} has no {lack}" for name, lack in lacks.items())
            several = f"no teacher of this space can feed it ({told}). {ADVICE}"
            why = several if len(teachers) > 1 else next(iter(lacks.values()))
            problems[loss] = f"{space.place(f'losses.{loss}')}: {why} (--set losses.{loss}.weight=0)"
    if problems:
        raise SpaceError(list(problems.values()))


def _may_be_off(space: Space, loss: str) -> bool:
    """Return whether the space itself says that a loss may have no weight."""
    weight = space.losses[loss].options["weight"]
    return isinstance(weight, Domain) and 0 in weight.corners()


def data_lacks(space: Space, teacher: Offers, fields: Collection[str]) -> dict[str, str]:
    """Return loss -> why this data cannot feed it, of the losses that can be active."""
    found: dict[str, str] = {}
    for name, kind, config in loss_configs(space):
        needs = kind.needs_of(config, Ends(name=name, student=teacher, source=teacher))
        if reason := reading_lack(needs, teacher, fields):
            found[name] = reason
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Losses that are not trained, with the reasons.

    Attributes:
        everywhere: loss -> why nothing in this space can feed it.
        of_teachers: teacher -> loss -> why it is left out for its students, of those that another teacher's can feed.
        notes: sentences on them.
    """

    everywhere: Mapping[str, str]
    of_teachers: Mapping[str, Mapping[str, str]]
    notes: Sequence[str]


def left_out(space: Space, students: Students, unread: Mapping[str, Mapping[str, str]]) -> LeftOut:
    """Return the losses that neither teacher nor data nor any student can feed, told once for all candidates.

    Args:
        space: as it was loaded.
        students: of its teachers.
        unread: teacher -> loss -> why the data cannot feed it in this teacher's encoding.

    Raises:
        SpaceError: no loss is left, for all candidates or for those of a teacher.
    """
    corners = list(loss_configs(space))
    names = list(dict.fromkeys(name for name, _, _ in corners))
    lacks = {}
    for teacher, known in unread.items():
        unfed = students.unfed_by_all(space, [one for one in corners if one[0] not in known], teacher)
        lacks[teacher] = {name: why.rstrip(".") for name, why in {**known, **unfed}.items()}
    everywhere = {
        name: _joined(reasons)
        for name, reasons in _by_reason(lacks).items()
        if all(name in others for others in lacks.values())
    }
    _require_some(space, names, everywhere, lacks)
    of_teachers = {
        teacher: {name: why for name, why in reasons.items() if name not in everywhere}
        for teacher, reasons in lacks.items()
    }
    notes = [f"loss {name} is left out and not searched: it {why}" for name, why in everywhere.items()]
    notes += _notes(of_teachers, "")
    if len(lacks) > 1:
        partly = {
            teacher: _partly_untaught(
                students.teachers[teacher], [one for one in corners if one[0] not in known]
            )
            for teacher, known in lacks.items()
        }
        notes += _notes(partly, " with some of its options")
    return LeftOut(everywhere=everywhere, of_teachers=of_teachers, notes=notes)


def _by_reason(of_teachers: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, list[str]]]:
    """Return loss -> reason -> the teachers of which it is told."""
    found: dict[str, dict[str, list[str]]] = {}
    for teacher, reasons in of_teachers.items():
        for name, why in reasons.items():
            found.setdefault(name, {}).setdefault(why, []).append(teacher)
    return found


def _joined(reasons: Mapping[str, Sequence[str]]) -> str:
    """Return why no teacher feeds a loss; the teachers are named where their reasons differ."""
    if len(reasons) == 1:
        return next(iter(reasons))
    return "; ".join(f"{why} ({', '.join(teachers)})" for why, teachers in reasons.items())


def _notes(of_teachers: Mapping[str, Mapping[str, str]], how: str) -> list[str]:
    """Return a sentence on each loss and reason, with all teachers of which it holds."""
    return [
        f"loss {name} is left out for students of the teacher{'s' * (len(teachers) > 1)} {', '.join(teachers)}{how}: it {why}"
        for name, reasons in _by_reason(of_teachers).items()
        for why, teachers in reasons.items()
    ]


def _partly_untaught(teacher: Teacher, corners: Iterable[LossCorner]) -> dict[str, str]:
    """Return loss -> what a teacher lacks of it, of those that it cannot feed with some of their options only."""
    found = {}
    for loss, kind, config in corners:
        ends = Ends(name=loss, student=teacher.offers, source=teacher.offers)
        if lacking := missing(kind.needs_of(config, ends).source, ends.source):
            found[loss] = f"needs {lacking}, which the teacher does not have"
    return found


def _require_some(
    space: Space,
    names: Collection[str],
    everywhere: Mapping[str, str],
    lacks: Mapping[str, Mapping[str, str]],
) -> None:
    """Refuse a space in which nothing can be trained, or nothing with one of its teachers.

    Raises:
        SpaceError: says so.
    """

    def told(reasons: Mapping[str, str]) -> str:
        return "; ".join(f"{name} {why}" for name, why in reasons.items())

    if everywhere and all(name in everywhere for name in names):
        problems = [
            f"{space.place('losses')}: got none that can be trained ({told(everywhere)}); allowed: at least one. Add one."
        ]
    else:
        problems = [
            f"{space.place('teacher')}: got {teacher!r}, whose students can be trained by none of the losses ({told(reasons)}); "
            "allowed: at least one for each teacher. Add one that it can feed, or take it out of the choice."
            for teacher, reasons in lacks.items()
            if reasons and all(name in reasons for name in names)
        ]
    if problems:
        raise SpaceError(problems)


def check_capable(name: str, metrics: Mapping[str, float], counts: Iterable[str]) -> None:
    """Refuse a teacher that can do no task at all on this data.

    Raises:
        TeacherError: there is nothing to retain.
    """
    if not any(metrics.get(metric, 0.0) > 0.0 for metric in counts):
        raise TeacherError(
            f"teacher {name}: scores 0 in every task on the validation split, so nothing can be "
            f"retained: {dict(metrics)}. Check that teacher and data belong together."
        )


def check_measurable(space: Space, teacher: Mapping[str, float]) -> None:
    """Refuse objectives that no student can be ranked by while it trains.

    Args:
        space: the loaded space.
        teacher: its metrics on the validation split; what it lacks, every student lacks.

    Raises:
        SpaceError: names each of them, with its line.
    """
    allowed = [*dict.fromkeys((RETENTION, ACCURACY, *sorted(teacher))), *COSTS]
    problems = [
        f"{space.place(f'objectives.{name}')}: got {name}, which "
        + (
            "is known only when the blind student is through"
            if name == ABOVE_BLIND
            else "this teacher does not have on this data"
        )
        + f"; allowed: {', '.join(allowed)}. Take one of these."
        for name in space.objectives
        if name not in allowed
    ]
    if problems:
        raise SpaceError(problems)
