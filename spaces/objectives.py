"""Objectives of a search, `name -> "max" | "min"`, and what every room has to know of costs. Pure Python."""

from collections.abc import Mapping

# Known before a trial starts; a smaller one is always better.
COSTS = ("params", "flops", "latency_ms", "size_mib")
# The same of the student alone -> of all that is deployed: equal where it reads nothing of its teacher.
HEAD_COSTS = {f"head_{name}": name for name in COSTS}
READS_TEACHER = "reads_teacher"  # whether it does
# Each front is the quality objective against one of these; size_mib follows params.
FRONT_COSTS = ("params", "flops", "latency_ms")

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
