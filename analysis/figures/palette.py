"""Colours (Okabe and Ito 2008, safe for the colour-blind) and the common layout of all figures."""

import plotly.graph_objects as go

FRONT = "#0072B2"
TEACHER = "#D55E00"
CONTROL = "#009E73"
BLIND = "#CC79A7"
BASELINE = "#E69F00"
FINISHED = "#7f9db9"
STOPPED = "#b4bcc6"
RUNG = "#8a93a0"
INK = "#1d2733"
GRID = "#e8ecf1"
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
HEIGHT = 430


def lay_out(figure: go.Figure, *, x_title: str, y_title: str, legend: bool) -> None:
    """Give a figure the common look; `legend` is for one that stands alone, the report has its own key."""
    figure.update_layout(
        template="none",
        height=HEIGHT,
        margin={"l": 56, "r": 16, "t": 12, "b": 52},
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": FONT, "size": 13, "color": INK},
        hoverlabel={
            "bgcolor": "white",
            "bordercolor": "#c7d0da",
            "align": "left",
            "font": {"size": 12, "family": FONT, "color": INK},
        },
        hovermode="closest",
        dragmode="zoom",
        showlegend=legend,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0},
    )
    axis = {
        "gridcolor": GRID,
        "linecolor": "#c7d0da",
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": "#c7d0da",
    }
    figure.update_xaxes(title={"text": x_title, "standoff": 8}, automargin=True, **axis)
    figure.update_yaxes(title={"text": y_title, "standoff": 8}, automargin=True, **axis)
