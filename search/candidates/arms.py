"""The candidates of an ablation: every arm with every seed, the first seed of all arms first."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from search.inputs.inputs import Inputs
from search.proposal import Proposal
from spaces.errors import IllegalCandidate, SpaceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One training of an arm.

    Attributes:
        name: of the arm.
        seed: of this training.
        proposal: the candidate, with the values of the arm.
    """

    name: str
    seed: int
    proposal: Proposal


def arms(inputs: Inputs) -> Iterator[Arm]:
    """Yield all trainings of the ablation of a space, none where it has none: seed by seed, so that a short run has whole ones.

    Raises:
        SpaceError: what is wrong with each arm that is no candidate.
    """
    space = inputs.space
    if space.ablation is None:
        return
    points = dict(
        zip(space.ablation.arms, (v for v, _ in space.completed(space.ablation.arms.values())), strict=True)
    )
    made, problems = list[Arm](), dict[str, None]()
    for seed in space.ablation.seeds:
        for name, values in points.items():
            try:
                candidate = inputs.feedable_part(space.build(values, inputs.students, seed))
            except IllegalCandidate as error:
                where = space.mark(("ablation", "arms", name))
                problems[f"{where}, ablation.arms.{name}: is no candidate: {error}"] = None
            else:
                made.append(Arm(name=name, seed=seed, proposal=Proposal(candidate=candidate, values=values)))
    if problems:
        raise SpaceError(list(problems))
    _check_apart(inputs, made)
    yield from made


def ablation_facts(inputs: Inputs) -> dict[str, Any] | None:
    """Return what run.json keeps of an ablation: which candidate is which arm, and the claims; None without one."""
    section = inputs.space.ablation
    if section is None:
        return None
    return {
        "arms": list(section.arms),
        "candidates": {
            one.proposal.candidate.candidate_id: {"arm": one.name, "seed": one.seed} for one in arms(inputs)
        },
        "claims": inputs.space.resolved()["ablation"]["claims"],
    }


def _check_apart(inputs: Inputs, made: list[Arm]) -> None:
    """Refuse two arms that are the same candidate: rounding, or a value that does not count, makes them so.

    Raises:
        SpaceError: names both.
    """
    first: dict[str, Arm] = {}
    problems: dict[str, None] = {}
    for one in made:
        other = first.setdefault(one.proposal.candidate.candidate_id, one)
        if other is not one:
            where = inputs.space.mark(("ablation", "arms", one.name))
            problems[
                f"{where}, ablation.arms.{one.name}: got the candidate that {other.name!r} is; allowed: arms that differ in what "
                "counts. Change a value, or drop one."
            ] = None
    if problems:
        raise SpaceError(list(problems))
