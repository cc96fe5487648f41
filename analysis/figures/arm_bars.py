"""Arms of an ablation: the metric of each seed, its mean and 95 % interval, one row per arm."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.figures import palette
from analysis.seeds.arms import Arm
from analysis.seeds.contrast import contrast

POINT, MEAN = "#56B4E9", "#0072B2"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmInfo:
    """One row: name, the values of all seeds, their mean, and how far the interval goes to both sides (0 where there is none)."""

    name: str
    values: tuple[float, ...]
    mean: float
    half: float


def arm_info(arms: Sequence[Arm]) -> list[ArmInfo]:
    """Return the rows of the arms that have a value, in their order."""
    made = []
    for arm in arms:
        if arm.sample:
            found = contrast([(1.0, arm.sample)])
            half = found.high - found.estimate if math.isfinite(found.high) else 0.0
            made.append(
                ArmInfo(name=arm.name, values=tuple(arm.sample), mean=statistics.fmean(arm.sample), half=half)
            )
    return made


def draw_arms(rows: Sequence[ArmInfo], title: str) -> go.Figure:
    """Return the figure; the first arm stands on top."""
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            name="one seed",
            mode="markers",
            x=[value for row in rows for value in row.values],
            y=[row.name for row in rows for _ in row.values],
            marker={"color": POINT, "size": 8, "opacity": 0.8},
        )
    )
    figure.add_trace(
        go.Scatter(
            name="mean, 95 % interval",
            mode="markers",
            x=[row.mean for row in rows],
            y=[row.name for row in rows],
            error_x={"type": "data", "array": [row.half for row in rows], "thickness": 1.5, "width": 5},
            marker={"color": MEAN, "size": 11, "symbol": "line-ns-open"},
        )
    )
    palette.lay_out(figure, x_title=f"{title} (%)", y_title="arm", legend=True)
    figure.update_layout(
        margin={"t": 70, "l": 190},
        height=180 + 34 * len(rows),
        yaxis={"autorange": "reversed", "type": "category", "title": None},
    )
    return figure
