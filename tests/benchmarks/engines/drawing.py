"""The figure of the benchmark: hypervolume against evaluations on NAS-Bench-201, and against compute on curves."""

import bisect
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures import palette
from engines.proposals import COUNTS, ours

INKS = ("#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#8a93a0", "#b4855a")
OUR_INKS = {"evolution": "#0072B2", "hyperopt": "#D55E00", "random": "#000000"}
STOPPING_INKS = {
    "no stopping": "#000000",
    "**moasha**, rungs 1 2, best half": "#0072B2",
    "**moasha**, rungs 1 3, best third": "#56B4E9",
    "Ray ASHA, quality alone, best third": "#E69F00",
    "Syne Tune MOASHA, best third": "#CC79A7",
}
GRID = [step / 100 for step in range(1, 101)]
WORKERS = "8"
SIZE = (1000, 760)


def draw(result: Mapping[str, Any]) -> go.Figure:
    """Return the figure of the parts A and B, as far as the result has them."""
    parts = {name: part for name, part in result["parts"].items() if name != "A" or "tables" in part}
    data_sets = list(parts["A"]["tables"]) if "A" in parts else []
    titles = [
        *(f"{name}, mean" for name in data_sets),
        *(["early stopping, 8 workers, mean"] if "B" in parts else []),
    ]
    figure = make_subplots(
        rows=2, cols=2, subplot_titles=titles, vertical_spacing=0.16, horizontal_spacing=0.09
    )
    for place, data_set in enumerate(data_sets):
        _draw_proposals(figure, parts["A"]["tables"][data_set], place)
    if "B" in parts:
        _draw_stopping(figure, parts["B"], len(data_sets))
    palette.lay_out(figure, x_title="evaluations", y_title="share of the exact hypervolume", legend=True)
    for place in range(len(data_sets)):
        figure.update_xaxes(
            type="log", tickvals=[20, 50, 100, 300, 1000], row=place // 2 + 1, col=place % 2 + 1
        )
        figure.update_yaxes(range=[0.82, 1.0], row=place // 2 + 1, col=place % 2 + 1)
    if "B" in parts:
        row, col = _cell(len(data_sets))
        figure.update_xaxes(title="compute, share of training all to the end", row=row, col=col)
        figure.update_yaxes(range=[0.3, 1.02], row=row, col=col)
    width, height = SIZE
    figure.update_layout(
        width=width,
        height=height,
        font={"size": 11},
        margin={"l": 56, "r": 16, "t": 36, "b": 150},
        legend={"orientation": "h", "yanchor": "top", "y": -0.1, "x": 0},
    )
    return figure


def _cell(place: int) -> tuple[int, int]:
    return place // 2 + 1, place % 2 + 1


def _draw_proposals(figure: go.Figure, rows: Mapping[str, Any], place: int) -> None:
    """Draw all searchers on one data set."""
    row, col = _cell(place)
    inks = iter(INKS)
    for name, figures in rows.items():
        mine = name in ours()
        ink = OUR_INKS.get(name) if mine else next(inks)
        figure.add_trace(
            go.Scatter(
                x=list(COUNTS),
                y=[None if share is None else round(share, 4) for share in figures["mean"]],
                name=f"<b>{name}</b>" if mine else name,
                mode="lines",
                line={"color": ink, "width": 2.4 if mine else 1.4, "dash": "solid" if mine else "dot"},
                legendgroup=name,
                showlegend=place == 0,
            ),
            row=row,
            col=col,
        )


def _draw_stopping(figure: go.Figure, part: Mapping[str, Any], place: int) -> None:
    """Draw some contenders on the recorded curves, for the first set of objectives."""
    row, col = _cell(place)
    for name, ink in STOPPING_INKS.items():
        figures = part["sets"][0][WORKERS][name]
        curves = list(zip(figures["curves"]["compute"], figures["curves"]["shares"], strict=True))
        levels = [round(statistics.fmean(_at(*curve, level) for curve in curves), 4) for level in GRID]
        figure.add_trace(
            go.Scatter(
                x=GRID,
                y=levels,
                name=name.replace("**moasha**", "<b>moasha</b>"),
                mode="lines",
                line={"color": ink, "width": 2.4, "dash": "solid" if "moasha" in name else "dash"},
                legendgroup="stopping " + name,
            ),
            row=row,
            col=col,
        )


def _at(compute: Sequence[float], shares: Sequence[float], level: float) -> float:
    """Return the share reached when so much is spent."""
    finished = bisect.bisect_right(compute, level)
    return shares[finished - 1] if finished else 0.0


def save(figure: go.Figure, path: Path) -> str:
    """Write the figure, as HTML where there is no browser to draw a picture; return what was done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".html":
        try:
            import kaleido  # an extra

            width, height = SIZE
            spec = {
                "fig": figure,
                "path": path,
                "opts": {"format": path.suffix[1:], "width": width, "height": height},
            }
            # mathjax would come from a network, and is not used
            kaleido.write_fig_from_object_sync([spec], cancel_on_error=True, kopts={"mathjax": False})
            return f"figure: {path}, {path.stat().st_size / 1000:.0f} kB"
        except (ImportError, RuntimeError, OSError) as error:
            path = path.with_suffix(".html")
            figure.write_html(path)
            return (
                f"figure: {path}; no picture, since kaleido or a browser is missing ({type(error).__name__})"
            )
    figure.write_html(path)
    return f"figure: {path}"
