"""Whether the teacher can do what it is to teach: clearly more than guessing, and than a student that sees no image; and whether
anything trains students to do it."""

from collections.abc import Mapping, Sequence

from search.inputs.checks import loss_configs
from search.inputs.students import Students
from spaces.plugins import resolve
from spaces.schema import Space
from trainables.datasets.base import Dataset
from trainables.datasets.encoded import fields_of
from trainables.losses import LOSSES
from trainables.losses.base import Ends, Loss, Needs, reading_lack, student_lack
from trainables.signals import Want, Wants
from trainables.tasks.chance import ERRORS, SHARE, Chance
from trainables.training.build import loss_config

GUESSING, BLIND = "guessing", "a student that sees no image"
REMEDY = (
    "Check that teacher and data belong together, take a teacher that was trained on such data, or name under `tasks:` only "
    "what it can do."
)


def untrained(space: Space, students: Students, data: Dataset) -> list[str]:
    """Return a sentence on each task that none of the losses of a space trains, though one could.

    Args:
        space: without the losses that nothing can feed.
        students: of its teachers.
        data: that they are trained on.
    """
    found, fields = dict[str, str](), fields_of(data.kinds)
    for teacher in students.teachers:
        source = students.teachers[teacher].offers
        offers = [one.offers for one in students.variants(space, teacher)]
        looked_at: Wants = frozenset[Want]().union(
            *(
                kind.needs_of(config, Ends(name=name, student=source, source=source)).student
                for name, kind, config in loss_configs(space)
            )
        )
        for task, made in students.made.items():
            for name in made.losses:
                kind: type[Loss] = resolve(LOSSES, name, "losses")
                needs: Needs = kind.needs_of(
                    loss_config(name, {"weight": 1.0}), Ends(name=name, student=source, source=source)
                )
                able = any(
                    student_lack(needs, Ends(name=name, student=one, source=source)) is None
                    and reading_lack(needs, one, fields) is None
                    for one in offers
                )
                if able and not needs.student & looked_at:
                    found[name] = task
    return [
        f"WARNING: none of the losses trains what {task} looks at, so that its figures are chance. Add "
        f"--set losses.{name}.weight=1, or leave {task} out of the tasks"
        for name, task in found.items()
    ]


def figures_line(name: str, metrics: Mapping[str, float], levels: Mapping[str, Chance]) -> str:
    """Return what the teacher scores in each metric that has a level, with what guessing scores."""
    parts = [
        f"{metric} {metrics[metric]:.1f} (guessing {level.level:.1f})"
        for metric, level in levels.items()
        if metric in metrics
    ]
    return f"teacher {name} on the validation split, in percent: {', '.join(parts)}"


def caveat(
    name: str,
    metrics: Mapping[str, float],
    levels: Mapping[str, Chance],
    *,
    counts: Sequence[str],
    rival: str,
) -> str | None:
    """Return a sentence on the tasks in which the teacher is not clearly better than a rival, None where it is in all.

    Args:
        name: of the teacher.
        metrics: of the teacher, in percent.
        levels: what the rival scores, by metric.
        counts: the metrics that retention is made of.
        rival: `GUESSING` or `BLIND`.
    """
    measured = [metric for metric in counts if metric in metrics]
    weak = [one for one in measured if one in levels and metrics[one] <= levels[one].bound]
    if not weak:
        return None
    told = "; ".join(
        f"{one} {metrics[one]:.1f} %, {rival} {levels[one].level:.1f} %, needed more than {levels[one].bound:.1f} %"
        for one in weak
    )
    means = (
        "retention means nothing in this run"
        if len(weak) == len(measured)
        else f"{' and '.join(weak)} should not count in retention, which is the mean over {', '.join(measured)}"
    )
    return (
        f"the teacher {name} is not clearly better than {rival} ({told}: {ERRORS:g} standard errors or a {SHARE:.0%} margin, "
        f"whichever is more); {means}. {REMEDY}"
    )
