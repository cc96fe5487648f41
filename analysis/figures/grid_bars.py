"""Bars of a grid: methods across, a colour for each teacher, the first shown epoch light and the last one full."""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from analysis.figures import palette
from analysis.seeds.cells import Cell, Place

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def draw_bars(grid: Mapping[Place, Cell], methods: Sequence[str], title: str) -> go.Figure:
    """Return the figure of one set of losses; error bars are standard deviations over seeds."""
    figure = go.Figure()
    teachers = list(dict.fromkeys(place.teacher for place in grid))
    found = {(place.teacher, place.method): cell for place, cell in grid.items()}
    for number, teacher in enumerate(teachers):
        colour = COLOURS[number % len(COLOURS)]
        cells = [found.get((teacher, method)) for method in methods]
        epochs = sorted({epoch for cell in cells if cell for epoch in cell.at})
        for epoch in dict.fromkeys((epochs[0], epochs[-1])):
            values = [cell.at.get(epoch) if cell else None for cell in cells]
            figure.add_trace(
                go.Bar(
                    name=f"{teacher}, epoch {epoch}",
                    x=list(methods),
                    y=[value.mean if value and math.isfinite(value.mean) else None for value in values],
                    error_y={
                        "type": "data",
                        "array": [
                            value.spread if value and math.isfinite(value.spread) else 0.0 for value in values
                        ],
                        "thickness": 1.2,
                        "width": 3,
                    },
                    marker={"color": colour, "opacity": 1.0 if epoch == epochs[-1] else 0.45},
                )
            )
    palette.lay_out(figure, x_title="method", y_title=f"{title} (%)", legend=True)
    figure.update_layout(barmode="group", bargap=0.25, margin={"t": 70})
    return figure
