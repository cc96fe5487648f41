"""Hypervolume against compute of search engines: median and spread over seeds, with the exact front as the limit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from analysis.figures import palette

LOW, HIGH = 0.1, 0.9  # the quantiles that are drawn as spread
LEVELS = (0.95, 0.98)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito 2008
DASHES = ("solid", "dash", "dot")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnytimeCurve:
    """One engine.

    Attributes:
        compute: rising.
        median: over seeds, of the share of the exact hypervolume reached by then; each holds until the next.
        low: the 10th percentile.
        high: the 90th.
    """

    name: str
    compute: tuple[float, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnytimeInfo:
    """All engines, and what compute is counted in."""

    unit: str
    curves: tuple[AnytimeCurve, ...]


def anytime_info(
    engines: Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]], *, unit: str
) -> AnytimeInfo:
    """Return the data of the figure.

    Args:
        engines: name -> (compute, rising; for each seed the share of the exact hypervolume at each of these).
        unit: of compute.
    """
    curves = []
    for name, (compute, seeds) in engines.items():
        columns = list(zip(*seeds, strict=True))
        curves.append(
            AnytimeCurve(
                name=name,
                compute=tuple(compute),
                median=tuple(quantile(column, 0.5) for column in columns),
                low=tuple(quantile(column, LOW) for column in columns),
                high=tuple(quantile(column, HIGH) for column in columns),
            )
        )
    return AnytimeInfo(unit=unit, curves=tuple(curves))


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile, linear between neighbours; infinite where a neighbour that counts is."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below, part = math.floor(place), place - math.floor(place)
    if part < 1e-9:
        return ordered[below]
    if math.isinf(ordered[below + 1]):
        return math.inf
    return ordered[below] + part * (ordered[below + 1] - ordered[below])


def draw_anytime(info: AnytimeInfo, *, legend: bool = True) -> go.Figure:
    """Return the figure: a step for each engine's median, a band for its spread."""
    figure = go.Figure()
    for place, curve in enumerate(info.curves):
        colour = COLOURS[place % len(COLOURS)]
        dash = DASHES[place // len(COLOURS) % len(DASHES)]
        red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
        band = {
            "x": curve.compute,
            "mode": "lines",
            "line": {"width": 0, "shape": "hv"},
            "hoverinfo": "skip",
            "showlegend": False,
            "legendgroup": curve.name,
        }
        figure.add_trace(go.Scatter(y=curve.low, **band))
        figure.add_trace(
            go.Scatter(y=curve.high, fill="tonexty", fillcolor=f"rgba({red},{green},{blue},0.14)", **band)
        )
        figure.add_trace(
            go.Scatter(
                x=curve.compute,
                y=curve.median,
                name=escape(curve.name),
                mode="lines",
                line={"color": colour, "width": 2.2, "shape": "hv", "dash": dash},
                legendgroup=curve.name,
                hovertemplate=f"<b>{escape(curve.name)}</b>: %{{y:.4f}} at %{{x:.4g}}<extra></extra>",
            )
        )
    palette.lay_out(
        figure,
        x_title=f"compute, {escape(info.unit)}",
        y_title="share of the exact hypervolume",
        legend=legend,
    )
    for level in LEVELS:
        figure.add_hline(y=level, line={"color": palette.RUNG, "width": 1, "dash": "dot"})
    figure.add_hline(y=1.0, line={"color": palette.INK, "width": 1})
    figure.update_xaxes(type="log")
    figure.update_yaxes(range=[_floor(info), 1.01])
    return figure


def _floor(info: AnytimeInfo) -> float:
    """Return where the value axis begins: below the medians of the later half, where engines differ."""
    late = [value for curve in info.curves for value in curve.low[len(curve.low) // 3 :]]
    return max(min(late, default=0.0) - 0.05, 0.0)
