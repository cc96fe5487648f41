"""Models in several forms, as rows of one table: float32, quantised to int8, and pruned by magnitude."""

import math
from collections.abc import Mapping
from typing import Any

from analysis import wording

FORMS_HEAD = ("model", "form", "kept %", "parameters", "size", "latency")


def forms_rows(finals: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of each model and form, as `FORMS_HEAD` names them; [] where none were measured.

    Args:
        finals: of `finalised.json`.
    """
    several = len({one.get("teacher") for one in finals["forms"]}) > 1
    return [_row(one, finals, several=several) for one in finals["forms"]]


def _row(model: Mapping[str, Any], finals: Mapping[str, Any], *, several: bool) -> tuple[str, ...]:
    teacher = f"teacher {model.get('teacher')}" if several else "teacher"
    costs = {name: math.nan if value is None else float(value) for name, value in model["costs"].items()}
    return (
        f"student {model['candidate_id']}" if model["candidate_id"] else teacher,
        str(model["form"]),
        wording.number(kept(model, finals)),
        wording.count(costs.get("params", math.nan)),
        wording.cost("size_mib", costs.get("size_mib", math.nan)),
        wording.milliseconds(costs.get("latency_ms", math.nan), costs.get("latency_spread_ms", math.nan)),
    )


def kept(model: Mapping[str, Any], finals: Mapping[str, Any]) -> float:
    """Return the mean over tasks of the share of the teacher's figure in float32, in percent; NaN if that is not known."""
    owner = model.get("teacher")
    told = [
        row["metrics"]
        for row in finals["rows"]
        if row["method"] == "teacher" and not row["domain"] and row["stage"] == owner
    ]
    if not told:
        return math.nan
    shares = [
        float((model.get("metrics") or {}).get(metric) or 0.0) / told[0][metric]
        for metric in finals["counts"].values()
        if (told[0].get(metric) or 0.0) > 0
    ]
    return 100.0 * sum(shares) / len(shares) if shares else math.nan
