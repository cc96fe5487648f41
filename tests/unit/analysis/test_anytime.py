"""The figure of hypervolume against compute."""

import math

import pytest

from analysis.figures.anytime import AnytimeCurve, AnytimeInfo, anytime_info, draw_anytime, quantile


def test_info_holds_median_and_deciles_over_seeds() -> None:
    shares = [[0.0, 0.5], [0.1, 0.6], [0.2, 1.0]]
    assert anytime_info({"random": ((1.0, 10.0), shares)}, unit="s") == AnytimeInfo(
        unit="s",
        curves=(
            AnytimeCurve(
                name="random",
                compute=(1.0, 10.0),
                median=(0.1, 0.6),
                low=(pytest.approx(0.02), pytest.approx(0.52)),
                high=(pytest.approx(0.18), pytest.approx(0.92)),
            ),
        ),
    )


def test_quantiles_are_linear_and_infinite_where_a_neighbour_is() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0, 2.0], 0.5) == 1.5
    assert quantile([7.0], 0.9) == 7.0
    assert quantile([1.0, 2.0, math.inf], 0.5) == 2.0
    assert quantile([1.0, math.inf], 0.5) == math.inf
    assert quantile([math.inf, math.inf], 0.5) == math.inf


def test_drawing_carries_the_data_over_and_escapes_names() -> None:
    curve = AnytimeCurve(name="a <b>", compute=(1.0, 2.0), median=(0.5, 0.9), low=(0.4, 0.8), high=(0.6, 1.0))
    figure = draw_anytime(AnytimeInfo(unit="s", curves=(curve,)))
    low, high, median = figure.data
    assert (tuple(low.y), tuple(high.y), tuple(median.y)) == (curve.low, curve.high, curve.median)
    assert tuple(median.x) == curve.compute
    assert median.name == "a &lt;b&gt;"
    assert median.line.shape == "hv"
    levels = sorted(shape.y0 for shape in figure.layout.shapes)
    assert levels == [0.95, 0.98, 1.0]


def test_more_engines_than_colours_differ_by_their_dashes() -> None:
    curve = AnytimeCurve(name="x", compute=(1.0,), median=(0.5,), low=(0.5,), high=(0.5,))
    figure = draw_anytime(AnytimeInfo(unit="s", curves=(curve,) * 9))
    looks = {(trace.line.color, trace.line.dash) for trace in figure.data[2::3]}
    assert len(looks) == 9


def test_an_engine_without_a_curve_is_no_failure() -> None:
    assert draw_anytime(anytime_info({"random": ((), [(), ()])}, unit="s")).data[2].x == ()
