"""Whether the teacher can do what it is to teach: clearly more than guessing, and than a student that sees no image."""

from collections.abc import Mapping, Sequence

from trainables.tasks.chance import ERRORS, SHARE, Chance

GUESSING, BLIND = "guessing", "a student that sees no image"
REMEDY = (
    "Check that teacher and data belong together, take a teacher that was trained on such data, or name under `tasks:` only "
    "what it can do."
)


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
