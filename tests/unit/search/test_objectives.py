"""Objectives read from result rows."""

import math

import pytest

from search.objectives import COSTS, measured, quality_objective, to_minimise
from spaces import schema


def test_quality_is_the_first_maximised_metric_as_the_space_says() -> None:
    assert quality_objective({"params": "min", "error": "min", "recall": "max", "other": "max"}) == "recall"
    assert quality_objective({"params": "min", "error": "min"}) == "error"
    with pytest.raises(ValueError, match="only costs"):
        quality_objective({"params": "min"})
    assert COSTS == schema.COSTS


def test_only_rows_with_metrics_are_measured() -> None:
    ways = {"recall": "max", "params": "min"}
    assert measured({"params": 3, "epoch": 2}, ways) is None
    assert measured({"params": 3, "recall": 5, "other": 1}, ways) == {"recall": 5.0, "params": 3.0}
    with pytest.raises(ValueError, match="lacks params"):
        measured({"recall": 5}, ways)


def test_maximised_objectives_are_negated_and_unknown_ones_nan() -> None:
    vector = to_minimise({"recall": 5.0, "params": None}, {"recall": "max", "params": "min"})
    assert vector[0] == -5.0
    assert math.isnan(vector[1])
