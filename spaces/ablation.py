"""The section `ablation`: named points of a space, each trained with several seeds, and what they are to show. Pure Python.

ablation:
  seeds: [0, 1, 2]
  arms:
    all layers: {student.fusion.layers: 6}
    half: {student.fusion.layers: 3}
  claims:
    half of the fusion layers are enough: {same: [half, all layers], within: 1}

An arm is written as a start point is (`spaces.start_points`): what it does not name takes its default.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, final

from pydantic import Field

from spaces.document import Path, Problem, dotted
from spaces.domains import is_number
from spaces.leaves import fixed
from spaces.plugins import listed, meant
from spaces.rules import Number, Rule, Word, show
from spaces.sections import Section

if TYPE_CHECKING:
    from spaces.schema import Space

BETTER, SAME, SATURATES, FASTER = "better", "same", "saturates", "faster"
KINDS = (BETTER, SAME, SATURATES, FASTER)
NAMING = (*KINDS, "than")  # what of a claim names arms
LEAST_SEEDS = 2  # one seed has no spread, so nothing can be told from chance

_SEED = Number(whole=True, low=0, high=2**31 - 1)
_POINTS = Number(low=0, null=True)


@final
class _Point(Rule):
    """A point of the space, given in part."""

    def allowed(self) -> str:
        """Return the words for `allowed: ...`."""
        return "a mapping, searched path: value"

    def accept(self, value: Any) -> Any:
        """Return the point."""
        if not isinstance(value, dict):
            raise self.refuse(value, "Write `{student.image.width: 0.25x}`, or {} for all defaults.")
        return value


@final
class _Seeds(Rule):
    """Seeds, each once."""

    def allowed(self) -> str:
        """Return the words for `allowed: ...`."""
        return f"a list of at least {LEAST_SEEDS} whole numbers >= 0, each once"

    def accept(self, value: Any) -> Any:
        """Return the seeds."""
        if not isinstance(value, list | tuple):
            raise self.refuse(value, "Write [0, 1, 2].")
        seeds = [_SEED.read(one) for one in value]
        if len(seeds) < LEAST_SEEDS or len(set(seeds)) < len(seeds):
            raise self.refuse(value, "Write [0, 1, 2]: with one seed nothing can be told from chance.")
        return tuple(seeds)


@final
class _Names(Rule):
    """Names of arms."""

    def allowed(self) -> str:
        """Return the words for `allowed: ...`."""
        return "a list of at least 2 arms, each once"

    def accept(self, value: Any) -> Any:
        """Return the names; a number stands for an arm that is called so."""
        if not isinstance(value, list | tuple) or not all(
            isinstance(one, str) or (is_number(one) and not isinstance(one, bool)) for one in value
        ):
            raise self.refuse(value, "Write [arm, other arm].")
        names = tuple(str(one) for one in value)
        if len(names) < 2 or len(set(names)) < len(names):
            raise self.refuse(value, "Name two or more that differ.")
        return names


Names = Annotated[tuple[str, ...] | None, fixed(_Names(null=True))]


class ClaimSection(Section):
    """What some arms are to show, of which exactly one kind is given. Differences are in points of the metric.

    Attributes:
        better: [a, b]: a is better than b by more than `above` points (0), or by more than a is better than b in `than`.
        than: [c, d]: see `better`.
        same: [a, b]: they differ by less than `within` points (1).
        saturates: arms in rising order: from `at` up to the best of all, that is less than `within` points (1) better.
        faster: [a, b]: a needs less epochs than b to be as good as b ends, by a factor of more than `above` (1).
    """

    better: Names = None
    than: Names = None
    same: Names = None
    saturates: Names = None
    faster: Names = None
    at: Annotated[str | None, fixed(Word(null=True))] = None
    above: Annotated[float | None, fixed(_POINTS)] = None
    within: Annotated[float | None, fixed(_POINTS)] = None


class AblationSection(Section):
    """Arms and their seeds: each arm is trained once with each seed, nobody proposes anything.

    Attributes:
        seeds: of each arm, at least two.
        arms: name -> point, what it does not name takes its default.
        claims: what is to be tested, in words -> arms.
    """

    seeds: Annotated[tuple[int, ...], fixed(_Seeds())] = (0, 1, 2)
    arms: dict[str, Annotated[dict[str, Any], fixed(_Point())]]
    claims: dict[str, ClaimSection] = Field(default_factory=dict)

    @property
    def trials(self) -> int:
        """How many candidates all arms are."""
        return len(self.arms) * len(self.seeds)


NEEDS: Mapping[str, tuple[str, ...]] = {
    BETTER: ("than", "above"),
    SAME: ("within",),
    SATURATES: ("at", "within"),
    FASTER: ("above",),
}
"""Kind of claim -> what may stand beside it."""


def ablation_problems(space: "Space") -> Iterator[Problem]:
    """Yield what is wrong with the arms and claims of a space, with the line of each."""
    found = space.ablation
    if found is None:
        return
    if len(found.arms) < 2:
        text = f"got {len(found.arms)}; allowed: at least 2, to be compared. Add `name: {{path: value}}`."
        yield _problem(space, ("ablation", "arms"), text)
    for (name, _), (_, findings) in zip(
        found.arms.items(), space.completed(found.arms.values()), strict=True
    ):
        for keys, text in findings:
            yield _problem(space, ("ablation", "arms", name, *keys), text)
    for name, claim in found.claims.items():
        for key, text in _wrong(claim, tuple(found.arms)):
            yield _problem(space, ("ablation", "claims", name, *key), text)
    if space.search.seed:
        now = list(found.seeds)
        text = f"got {space.search.seed}, but an ablation has seeds of its own; allowed: 0. Set ablation.seeds, now {now}."
        yield _problem(space, ("search", "seed"), text)
    if space.search.start:
        text = "got start points, but an ablation trains its arms and nothing else; allowed: none. Make arms of them."
        yield _problem(space, ("search", "start"), text)
    if space.search.trials > found.trials:
        text = (
            f"got {space.search.trials}; allowed: at most {found.trials}, since the ablation has {len(found.arms)} arms and "
            f"{len(found.seeds)} seeds, and nothing else is proposed. Write {found.trials}."
        )
        yield _problem(space, ("search", "trials"), text)


def _wrong(claim: ClaimSection, arms: Sequence[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what is wrong with a claim: the key, and the text."""
    given = [name for name in KINDS if getattr(claim, name)]
    if len(given) != 1:
        got = listed(given, none="none")
        yield (
            (),
            f"got {got}; allowed: exactly one of {', '.join(KINDS)}. Write `same: [arm, other], within: 1`.",
        )
        return
    kind = given[0]
    for key in ("than", "at", "above", "within"):
        if getattr(claim, key) is not None and key not in NEEDS[kind]:
            allowed = ", ".join(NEEDS[kind])
            yield (
                (key,),
                f"got {show(getattr(claim, key))} beside `{kind}`; allowed there: {allowed}. Drop it.",
            )
    for key in (kind, "than"):
        names = getattr(claim, key)
        if names and kind != SATURATES and len(names) != 2:
            yield (key,), f"got {len(names)} arms; allowed: 2. Write [arm, other]."
        for name in names or ():
            if name not in arms:
                yield (
                    (key,),
                    f"got {show(name)}; allowed: {listed(arms)}. {meant(name, arms, 'Name an arm.')}",
                )
    if kind == BETTER and claim.than and claim.above is not None:
        yield ("above",), "got a number beside `than`; allowed: one of the two. Drop one."
    if claim.saturates and claim.at not in claim.saturates[:-1]:
        allowed = listed(claim.saturates[:-1])
        yield ("at",), f"got {show(claim.at)}; allowed: {allowed}. Write from which arm on nothing is gained."


def _problem(space: "Space", path: Path, text: str) -> Problem:
    return Problem(space.mark(path), dotted(path), text)
