"""Objectives of a search, `name -> "max" | "min"`, read from one result row."""

from collections.abc import Mapping
from typing import Any

# known before a trial starts; every result row repeats them
COSTS = ("params", "flops", "latency_ms", "size_mib")

Objectives = Mapping[str, str]


def cost_columns(objectives: Objectives) -> list[int]:
    """Return the places of the costs among the objectives; equal ratios of them are equally far apart."""
    return [place for place, name in enumerate(objectives) if name in COSTS]


def quality_objective(objectives: Objectives) -> str:
    """Return the objective that stands for quality: the first maximised metric, else the first metric.

    Raises:
        ValueError: all objectives are costs; a checked space never is like that.
    """
    metrics = [name for name in objectives if name not in COSTS]
    if not metrics:
        raise ValueError(f"objectives: got only costs ({', '.join(objectives)}); one metric is needed.")
    return next((name for name in metrics if objectives[name] == "max"), metrics[0])


def measured(row: Mapping[str, Any], objectives: Objectives) -> dict[str, float] | None:
    """Return the objectives' values of a result row, or None where its metrics were not evaluated.

    Raises:
        ValueError: the row has metrics but lacks another objective, so it could never be ranked.
    """
    metrics = [name for name in objectives if name not in COSTS]
    if metrics and all(row.get(name) is None for name in metrics):
        return None
    missing = [name for name in objectives if row.get(name) is None]
    if missing:
        raise ValueError(
            f"result row of candidate {row.get('candidate_id', '?')}, epoch {row.get('epoch', '?')}: "
            f"lacks {', '.join(missing)}; every objective ({', '.join(objectives)}) must be reported."
        )
    return {name: float(row[name]) for name in objectives}


def to_minimise(values: Mapping[str, float | None], objectives: Objectives) -> list[float]:
    """Return the values in the order of `objectives`, maximised ones negated, unknown ones NaN."""
    known = [(values.get(name), -1.0 if way == "max" else 1.0) for name, way in objectives.items()]
    return [sign * value if value is not None else float("nan") for value, sign in known]
