"""The front of one metric against one cost: every measured candidate, and what to compare it with."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from analysis import wording
from analysis.figures import palette
from analysis.figures.hover import hover_text
from analysis.pareto import best, check_axis, front, knee
from analysis.run_folder import Run, Trial, number

Numbers = tuple[float | None, ...]
AXIS_TITLES = {
    "params": "parameters",
    "flops": "FLOPs, one example",
    "latency_ms": "latency, ms",
}
TEACHER_HOVER = "teacher: <b>%{y:.1f}</b><extra></extra>"
BLIND_HOVER = "blind student: <b>%{y:.1f}</b><extra></extra>"
ALONE, HEAD, BASELINE = "circle", "square", "triangle-up"
"""Shapes: a student that stands alone, a head that reads the teacher, a student that was not searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Points that share a look: where they stand on the cost axis, what hovering says, and their shapes."""

    ids: tuple[str, ...]
    x: tuple[float, ...]
    hover: tuple[str, ...]
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The heights of all marks for one metric (None: not measured), and the front of that metric.

    Attributes:
        names: "best", "knee" or "" for each front point.
        control: mean over seeds without distillation on the noisy transfer set; control_spread: its standard
            deviation.
        baseline: of the students that were not searched.
    """

    finished: Numbers
    stopped: Numbers
    front_x: tuple[float, ...]
    front_y: tuple[float, ...]
    names: tuple[str, ...]
    front_symbols: tuple[str, ...]
    teacher: float | None
    control: Numbers
    control_spread: Numbers
    blind: float | None
    baseline: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontInfo:
    """One figure: the marks are the same for every metric, a view holds their heights."""

    axis: str
    metric: str
    finished: Marks
    stopped: Marks
    control: Marks
    baseline: Marks
    teacher_x: float | None
    views: Mapping[str, View]


def front_info(run: Run, axis: str) -> FrontInfo:
    """Return the data of one front figure, with a view for every metric that some trial was measured in.

    Raises:
        RunError: no such axis.
    """
    check_axis(axis)
    finished = [trial for trial in run.finished if math.isfinite(trial.costs[axis])]
    stopped = [t for t in run.candidates if t.status == "stopped" and math.isfinite(t.costs[axis])]
    baselines = [trial for trial in run.baselines if math.isfinite(trial.costs[axis])]
    plain = _plain_rows(run)
    controlled = [trial for trial in finished if trial.candidate_id in plain]
    measured = [
        n
        for n in run.metric_names
        if any(math.isfinite(t.value(n)) for t in (*finished, *stopped, *baselines))
    ]
    metrics = [run.quality, *(name for name in measured if name != run.quality)]
    teacher_x = run.teacher(axis)
    return FrontInfo(
        axis=axis,
        metric=run.quality,
        finished=_marks(run, finished, axis),
        stopped=_marks(run, stopped, axis),
        control=Marks(
            ids=tuple(t.candidate_id for t in controlled),
            x=tuple(t.costs[axis] for t in controlled),
            hover=tuple(f"<b>{escape(t.candidate_id)}</b> without distillation" for t in controlled),
        ),
        baseline=_marks(run, baselines, axis),
        teacher_x=teacher_x if math.isfinite(teacher_x) else None,
        views={name: _view(run, axis, name, (finished, stopped, controlled, baselines)) for name in metrics},
    )


def draw_front(info: FrontInfo, *, legend: bool = False) -> go.Figure:
    """Return the figure; `legend` is for pictures that stand alone."""
    view = info.views[info.metric]
    heights = trace_heights(info, info.metric)
    figure = go.Figure()
    styles = _styles()
    hovers = [
        info.stopped.hover,
        info.finished.hover,
        None,
        info.control.hover,
        None,
        None,
        info.baseline.hover,
    ]
    for style, height, hover in zip(styles, heights, hovers, strict=True):
        trace = go.Scatter(x=height["x"], y=height["y"], **style)
        if hover is not None:
            trace.update(hovertext=hover, hovertemplate=_hover(info.metric))
        figure.add_trace(trace)
    figure.data[1].marker.symbol, figure.data[2].marker.symbol = info.finished.symbols, view.front_symbols
    figure.data[2].text = view.names
    figure.data[3].error_y = {**styles[3]["error_y"], "array": list(view.control_spread)}
    palette.lay_out(figure, x_title=AXIS_TITLES[info.axis], y_title=_title(info.metric), legend=legend)
    figure.update_xaxes(type="log", **_ticks(info))
    return figure


def trace_heights(info: FrontInfo, metric: str) -> list[dict[str, Any]]:
    """Return x and y of each trace of `draw_front` for one metric, in the order of its traces."""
    view = info.views[metric]
    known = _known_costs(info)
    ends = [min(known), max(known)] if known else []
    teacher = [] if info.teacher_x is None else [info.teacher_x]
    return [
        {"x": list(info.stopped.x), "y": list(view.stopped)},
        {"x": list(info.finished.x), "y": list(view.finished)},
        {"x": list(view.front_x), "y": list(view.front_y)},
        {"x": list(info.control.x), "y": list(view.control)},
        {"x": teacher, "y": [view.teacher] * len(teacher)},
        {"x": ends, "y": [view.blind] * len(ends)},
        {"x": list(info.baseline.x), "y": list(view.baseline)},
    ]


def choices(info: FrontInfo) -> dict[str, Any]:
    """Return for each metric the arguments of `Plotly.update` that show it."""
    updates = {}
    for metric, view in info.views.items():
        heights = trace_heights(info, metric)
        updates[metric] = {
            "traces": {
                "x": [height["x"] for height in heights],
                "y": [height["y"] for height in heights],
                "error_y.array": [[], [], [], list(view.control_spread), [], [], []],
                "text": ["", "", view.names, "", "", "", ""],
                "marker.symbol": [
                    *("x-thin", info.finished.symbols, view.front_symbols, "diamond-open", "star", ALONE),
                    BASELINE,
                ],
                "hovertemplate": [
                    _hover(metric),
                    _hover(metric),
                    "",
                    _hover(metric),
                    TEACHER_HOVER,
                    BLIND_HOVER,
                    _hover(metric),
                ],
            },
            "layout": {"yaxis.title.text": _title(metric)},
        }
    return updates


def _view(run: Run, axis: str, metric: str, groups: tuple[Sequence[Trial], ...]) -> View:
    """Return the view of one metric over (finished, stopped, controlled, baseline) trials."""
    finished, stopped, controlled, baselines = groups
    maximise = run.maximise if metric == run.quality else True
    members = front(run, axis, metric)
    names = dict.fromkeys((trial.candidate_id for trial in members), "")
    if members:
        names[knee(members, axis, metric, maximise=maximise).candidate_id] = "knee"
        names[best(members, metric, maximise=maximise).candidate_id] = "best"
    plain = _plain_rows(run)
    values = [
        [row[metric] for row in plain[t.candidate_id] if row.get(metric) is not None] for t in controlled
    ]
    return View(
        finished=tuple(_known(trial.value(metric)) for trial in finished),
        stopped=tuple(_known(trial.value(metric)) for trial in stopped),
        front_x=tuple(trial.costs[axis] for trial in members),
        front_y=tuple(trial.value(metric) for trial in members),
        names=tuple(names[trial.candidate_id] for trial in members),
        front_symbols=tuple(map(_symbol, members)),
        teacher=_known(run.teacher(metric)),
        control=tuple(statistics.fmean(one) if one else None for one in values),
        control_spread=tuple(statistics.stdev(one) if len(one) > 1 else 0.0 for one in values),
        blind=_known(number((run.facts.get("blind") or {}).get(metric))),
        baseline=tuple(_known(trial.value(metric)) for trial in baselines),
    )


def _symbol(trial: Trial) -> str:
    """Return the shape of a searched student."""
    return HEAD if trial.reads_teacher else ALONE


def _known_costs(info: FrontInfo) -> list[float]:
    """Return the places of all marks on the cost axis, above 0."""
    return [x for x in (*info.finished.x, *info.stopped.x, *info.baseline.x, info.teacher_x) if x]


def _plain_rows(run: Run) -> dict[str, list[Mapping[str, Any]]]:
    """Return the control rows without distillation on the noisy transfer set, by candidate."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in (run.control or {}).get("rows", []):
        if not row["distilled"] and row["data"] == "noisy":
            rows.setdefault(row["candidate_id"], []).append(row)
    return rows


def _marks(run: Run, trials: Sequence[Trial], axis: str) -> Marks:
    """Return trials as marks with their whole configuration as hover text."""
    return Marks(
        ids=tuple(trial.candidate_id for trial in trials),
        x=tuple(trial.costs[axis] for trial in trials),
        hover=tuple(hover_text(run, trial) for trial in trials),
        symbols=tuple(map(_symbol, trials)),
    )


def _hover(metric: str) -> str:
    """Return the hover template of points with a text."""
    return f"{escape(wording.label(metric))} <b>%{{y:.1f}}</b><br>%{{hovertext}}<extra></extra>"


def _title(metric: str) -> str:
    """Return the title of the metric axis."""
    unit = "% of the teacher" if metric.startswith("retention") else "%"
    return f"{wording.label(metric)} ({unit})"


def _known(value: float) -> float | None:
    """Return the value, None if it was not measured."""
    return value if math.isfinite(value) else None


def _ticks(info: FrontInfo) -> dict[str, Any]:
    """Return ticks at 1, 2 and 5 of each decade, more where there is only one."""
    known = _known_costs(info)
    if not known:
        return {}
    decades = range(math.floor(math.log10(min(known))), math.ceil(math.log10(max(known))) + 1)
    steps = (1, 2, 5) if max(known) / min(known) > 10 else (1, 1.5, 2, 3, 4, 5, 7)
    values = [step * 10.0**decade for decade in decades for step in steps]
    unit = "{:g}".format if info.axis == "latency_ms" else _short
    return {"tickvals": values, "ticktext": [unit(value) for value in values]}


def _short(value: float) -> str:
    """Return a tick value: 200k, 1M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _styles() -> list[dict[str, Any]]:
    """Return the looks of the seven traces."""
    return [
        {
            "name": "stopped early (last measured)",
            "mode": "markers",
            "marker": {
                "size": 5,
                "color": palette.STOPPED,
                "symbol": "x-thin",
                "line": {"width": 1.2, "color": palette.RUNG},
            },
        },
        {
            "name": "finished, dominated",
            "mode": "markers",
            "marker": {"size": 10, "color": palette.FINISHED, "opacity": 0.5},
        },
        {
            "name": "front",
            "mode": "lines+markers+text",
            "line": {"color": palette.FRONT, "width": 2, "shape": "hv"},
            "marker": {"size": 11, "color": palette.FRONT, "line": {"color": "white", "width": 1.5}},
            "textposition": "top center",
            "textfont": {"color": palette.FRONT, "size": 12},
            "cliponaxis": False,
            "hoverinfo": "skip",  # the finished mark beneath answers
        },
        {
            "name": "without distillation (control)",
            "mode": "markers",
            "marker": {"size": 11, "symbol": "diamond-open", "color": palette.CONTROL, "line": {"width": 2}},
            "error_y": {"type": "data", "color": palette.CONTROL, "thickness": 1.2, "width": 4},
        },
        {
            "name": "teacher",
            "mode": "markers",
            "marker": {"size": 16, "symbol": "star", "color": palette.TEACHER},
            "hovertemplate": TEACHER_HOVER,
            "cliponaxis": False,
        },
        {
            "name": "blind student (sees no image)",
            "mode": "lines",
            "line": {"color": palette.BLIND, "width": 1.5, "dash": "dash"},
            "hovertemplate": BLIND_HOVER,
        },
        {
            "name": "baseline, not searched",
            "mode": "markers",
            "marker": {
                "size": 12,
                "symbol": BASELINE,
                "color": palette.BASELINE,
                "line": {"color": "white", "width": 1},
            },
        },
    ]
