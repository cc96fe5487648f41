"""Learning curves: each trial's metric or training loss over the epochs, and the rungs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from analysis import wording
from analysis.figures import palette
from analysis.pareto import front_ids
from analysis.run_folder import Run
from spaces.objectives import FRONT_COSTS

GROUPS = ("stopped or failed", "finished, dominated", "on a front")


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One trial: the epochs at which the value was measured, rising, and the values."""

    candidate_id: str
    group: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvesInfo:
    """All curves, by metric (`loss` among them), and the epochs of the rungs."""

    metric: str
    rungs: tuple[int, ...]
    curves: Mapping[str, tuple[Curve, ...]]


def curves_info(run: Run) -> CurvesInfo:
    """Return the curves of all candidates; of an epoch redone after a resume, the later value counts."""
    on_front = {candidate for axis in FRONT_COSTS for candidate in front_ids(run, axis)}
    groups = {
        trial.candidate_id: GROUPS[2 if trial.candidate_id in on_front else 1 if trial.finished else 0]
        for trial in run.candidates
    }
    table = run.history.table
    rows = table.to_pylist()
    names = [run.quality, *(name for name in run.metric_names if name != run.quality), "loss"]
    curves = {}
    for name in names:
        points: dict[str, dict[int, float]] = {}
        for row in rows if name in table.column_names else ():
            if row["candidate_id"] in groups and row[name] is not None and math.isfinite(row[name]):
                points.setdefault(row["candidate_id"], {})[row["epoch"]] = row[name]
        if points:
            curves[name] = tuple(_curve(one, groups[one], found) for one, found in points.items())
    rungs = tuple(int(rung) for rung in run.facts.get("rungs") or ())
    return CurvesInfo(metric=next(iter(curves), run.quality), rungs=rungs, curves=curves)


def draw_curves(info: CurvesInfo, *, legend: bool = False) -> go.Figure:
    """Return the figure; `legend` is for pictures that stand alone."""
    figure = go.Figure()
    styles = _styles()
    for style, points in zip(styles, trace_points(info, info.metric), strict=True):
        figure.add_trace(go.Scatter(**points, **style))
    palette.lay_out(figure, x_title="epoch", y_title=_title(info.metric), legend=legend)
    for rung in info.rungs:
        figure.add_vline(
            x=rung,
            line={"color": palette.RUNG, "width": 1, "dash": "dot"},
            annotation={
                "text": f"rung {rung}" if rung != info.rungs[-1] else "end",
                "font": {"size": 11},
                "textangle": 0,
            },
            annotation_position="top left" if rung == info.rungs[-1] else "top right",
        )
    figure.update_xaxes(dtick=1, rangemode="tozero")
    return figure


def trace_points(info: CurvesInfo, metric: str) -> list[dict[str, Any]]:
    """Return x, y and text of each trace (one per group, a gap after each curve) for one metric."""
    traces = []
    for group in GROUPS:
        points: dict[str, Any] = {"x": [], "y": [], "text": []}
        for curve in info.curves.get(metric, ()):
            if curve.group == group:
                points["x"] += [*curve.epochs, None]
                points["y"] += [*curve.values, None]
                points["text"] += [escape(curve.candidate_id)] * (len(curve.epochs) + 1)
        traces.append(points)
    return traces


def choices(info: CurvesInfo) -> dict[str, Any]:
    """Return for each metric the arguments of `Plotly.update` that show it."""
    updates = {}
    for metric in info.curves:
        traces = trace_points(info, metric)
        updates[metric] = {
            "traces": {key: [trace[key] for trace in traces] for key in ("x", "y", "text")},
            "layout": {"yaxis.title.text": _title(metric)},
        }
    return updates


def _curve(candidate_id: str, group: str, points: Mapping[int, float]) -> Curve:
    """Return one trial's points in the order of epochs."""
    epochs = tuple(sorted(points))
    return Curve(
        candidate_id=candidate_id, group=group, epochs=epochs, values=tuple(points[e] for e in epochs)
    )


def _title(metric: str) -> str:
    """Return the title of the value axis."""
    return wording.label(metric) if metric == "loss" else f"{wording.label(metric)} (%)"


def _styles() -> list[dict[str, Any]]:
    """Return the looks of the three groups."""
    hover = "<b>%{text}</b>, epoch %{x}: %{y:.3g}<extra></extra>"
    looks = [(palette.STOPPED, 1.2, 4), (palette.FINISHED, 1.5, 5), (palette.FRONT, 2.2, 7)]
    return [
        {
            "name": group,
            "mode": "lines+markers",
            "line": {"color": colour, "width": width},
            "marker": {"size": size, "color": colour},
            "hovertemplate": hover,
        }
        for group, (colour, width, size) in zip(GROUPS, looks, strict=True)
    ]
