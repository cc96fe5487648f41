"""Goals: the objectives of a simulation as the command line names them, `min:val_loss`, `min:params[log]`."""

from collections.abc import Sequence
from dataclasses import dataclass

from spaces.errors import TableError
from spaces.objectives import COSTS, quality_objective

LOG = "[log]"


@dataclass(frozen=True, slots=True)
class Goal:
    """One objective.

    Attributes:
        name: the column.
        way: "min" or "max".
        log: whether hypervolume and exact front see the logarithm; searchers and schedulers see the plain value.
    """

    name: str
    way: str
    log: bool = False

    def __str__(self) -> str:
        return f"{self.way}:{self.name}{LOG if self.log else ''}"


Goals = Sequence[Goal]


def parse_goals(texts: Sequence[str]) -> tuple[Goal, ...]:
    """Return the goals that texts mean.

    Raises:
        TableError: a text of another form, a column named twice, or nothing but costs.
    """
    goals = tuple(_parse(text) for text in texts)
    names = [goal.name for goal in goals]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TableError(f"--objectives: got {twice!r} twice; allowed: each column once. Drop one of them.")
    if set(names) <= set(COSTS):
        raise TableError(
            f"--objectives: got {', '.join(texts) or 'none'}; allowed: at least one that is no cost "
            f"({', '.join(COSTS)} are). Add one that training changes, as in min:val_loss."
        )
    return goals


def directions(goals: Goals) -> dict[str, str]:
    """Return name -> "max" | "min", as searchers and schedulers take objectives."""
    return {goal.name: goal.way for goal in goals}


def quality(goals: Goals) -> str:
    """Return the objective that plug-ins with a single one look at."""
    return quality_objective(directions(goals))


def _parse(text: str) -> Goal:
    """Return the goal of one text."""
    way, _, column = text.partition(":")
    name = column.removesuffix(LOG)
    if way not in ("min", "max") or not name:
        raise TableError(
            f"--objectives: got {text!r}; allowed: min:COLUMN or max:COLUMN, perhaps with [log], as in max:retention "
            f"min:params[log]. Write for example min:{name or way}."
        )
    return Goal(name, way, log=name != column)
