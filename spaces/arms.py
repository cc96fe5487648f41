"""The candidates of an ablation: every arm with every seed, the first seed of all arms first. Pure Python."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spaces.candidate import Candidate, Plugins
from spaces.domains import Scalar
from spaces.errors import IllegalCandidate, SpaceError
from spaces.schema import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One training of an arm.

    Attributes:
        name: of the arm.
        seed: of this training.
        candidate: what is trained.
        values: dotted path -> value of the arm.
    """

    name: str
    seed: int
    candidate: Candidate
    values: Mapping[str, Scalar]


def arms(space: Space, plugins: Plugins, feedable: Callable[[Candidate], Candidate]) -> tuple[Arm, ...]:
    """Return all trainings of the ablation of a space, none where it has none: seed by seed, so that a short run has whole ones.

    Args:
        space: checked.
        plugins: families, losses and tasks.
        feedable: takes the losses from a candidate that its student cannot feed.

    Raises:
        SpaceError: what is wrong with each arm that is no candidate, or is the same one as another.
    """
    if space.ablation is None:
        return ()
    points = dict(
        zip(space.ablation.arms, (v for v, _ in space.completed(space.ablation.arms.values())), strict=True)
    )
    made, problems = list[Arm](), dict[str, None]()
    for seed in space.ablation.seeds:
        for name, values in points.items():
            try:
                candidate = feedable(space.build(values, plugins, seed))
            except IllegalCandidate as error:
                where = space.mark(("ablation", "arms", name))
                problems[f"{where}, ablation.arms.{name}: is no candidate: {error}"] = None
            else:
                made.append(Arm(name=name, seed=seed, candidate=candidate, values=values))
    if problems:
        raise SpaceError(list(problems))
    _check_apart(space, made)
    return tuple(made)


def ablation_facts(space: Space, made: Sequence[Arm]) -> dict[str, Any] | None:
    """Return what run.json keeps of an ablation: which candidate is which arm, and the claims; None without one."""
    if space.ablation is None:
        return None
    return {
        "arms": list(space.ablation.arms),
        "candidates": {one.candidate.candidate_id: {"arm": one.name, "seed": one.seed} for one in made},
        "claims": space.resolved()["ablation"]["claims"],
    }


def _check_apart(space: Space, made: Sequence[Arm]) -> None:
    """Refuse two arms that are the same candidate: rounding, or a value that does not count, makes them so.

    Raises:
        SpaceError: names both.
    """
    first: dict[str, Arm] = {}
    problems: dict[str, None] = {}
    for one in made:
        other = first.setdefault(one.candidate.candidate_id, one)
        if other is not one:
            where = space.mark(("ablation", "arms", one.name))
            problems[
                f"{where}, ablation.arms.{one.name}: got the candidate that {other.name!r} is; allowed: arms that differ in what "
                "counts. Change a value, or drop one."
            ] = None
    if problems:
        raise SpaceError(list(problems))
