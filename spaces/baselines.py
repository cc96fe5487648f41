"""The students of `baselines:`: given whole, trained along as the default candidate is. Pure Python."""

from collections.abc import Callable

from spaces.candidate import Candidate, Plugins
from spaces.errors import IllegalCandidate, SpaceError
from spaces.schema import TEACHER, Space
from spaces.start_points import filled


def without_default(space: Space) -> list[str]:
    """Return the searched paths that count at the defaults and have none: with any, there is no default candidate."""
    return filled({}, space.domains(), conditions=space.conditions())[1]


def baselines(
    space: Space, plugins: Plugins, feedable: Callable[[Candidate], Candidate]
) -> tuple[Candidate, ...]:
    """Return the students of `baselines:`, in the order of the file.

    Args:
        space: checked.
        plugins: families, losses and tasks.
        feedable: takes the losses from a candidate that its student cannot feed.

    Raises:
        SpaceError: there is no default candidate whose training they could have, or what is wrong with each of them.
    """
    if not space.baselines:
        return ()
    default, problems, made = _default(space, plugins, feedable), list[str](), list[Candidate]()
    teacher = str(default.config.get(TEACHER, space.teachers[0]))
    for name, section in space.baselines.items():
        place = space.place(f"baselines.{name}")
        if not name.strip():
            problems.append(f"{place}: got no name; allowed: any text. Call it something.")
            continue
        try:
            student = plugins.student({"kind": section.kind, **section.options}, teacher)
            made.append(feedable(default.as_baseline(name, student)))
        except IllegalCandidate as error:
            problems.append(f"{place}: is no student: {error}")
    if problems:
        raise SpaceError(problems)
    return tuple(made)


def _default(space: Space, plugins: Plugins, feedable: Callable[[Candidate], Candidate]) -> Candidate:
    """Return the candidate of all defaults.

    Raises:
        SpaceError: a searched value has none, or they do not fit together.
    """
    place = f"{space.place('baselines')}: got {len(space.baselines)}, trained as the default candidate is"
    values = space.default_values()
    if values is None:
        lacking = ", ".join(without_default(space))
        problem = (
            f"{place}, but {lacking} has no default; allowed: baselines in a space of which each searched value has a default. "
            "Add `default: ...`, or drop the baselines."
        )
        raise SpaceError([problem])
    try:
        return feedable(space.build(values, plugins, space.search.seed))
    except IllegalCandidate as error:
        problem = (
            f"{place}, but the defaults are no candidate: {error} Change the defaults, or drop the baselines."
        )
        raise SpaceError([problem]) from error
