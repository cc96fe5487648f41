"""The objectives of one result row; what they are and which of them are costs stands in `spaces.objectives`."""

from collections.abc import Mapping
from typing import Any

from spaces.objectives import COSTS, Objectives


def measured(row: Mapping[str, Any], objectives: Objectives) -> dict[str, float] | None:
    """Return the objectives' values of a result row, None where one is missing, so that nobody can be ranked by it."""
    values = {name: row.get(name) for name in objectives}
    known = {name: float(value) for name, value in values.items() if value is not None}
    return known if len(known) == len(values) else None


def lacks_objective(row: Mapping[str, Any], objectives: Objectives) -> bool:
    """Return whether a candidate was evaluated and has no figure for an objective, since it cannot do that task.

    Such a one counts as a failure: it is never ranked, and stands on no front.
    """
    metrics = [row.get(name) for name in objectives if name not in COSTS]
    evaluated = row.get("status") == "finished" or any(value is not None for value in metrics)
    return evaluated and any(value is None or value != value for value in metrics)


def to_minimise(values: Mapping[str, float | None], objectives: Objectives) -> list[float]:
    """Return the values in the order of `objectives`, maximised ones negated, unknown ones NaN."""
    known = [(values.get(name), -1.0 if way == "max" else 1.0) for name, way in objectives.items()]
    return [sign * value if value is not None else float("nan") for value, sign in known]
