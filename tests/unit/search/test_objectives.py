"""Objectives read from result rows."""

import math

import pytest

from search.proposal import lacks_objective, measured, to_minimise
from spaces.objectives import quality_objective


def test_quality_is_the_first_maximised_metric() -> None:
    assert quality_objective({"params": "min", "error": "min", "recall": "max", "other": "max"}) == "recall"
    assert quality_objective({"params": "min", "error": "min"}) == "error"
    with pytest.raises(ValueError, match="only costs"):
        quality_objective({"params": "min"})


def test_only_rows_with_all_objectives_are_measured() -> None:
    ways = {"recall": "max", "params": "min"}
    assert measured({"params": 3, "epoch": 2}, ways) is None
    assert measured({"recall": 5}, ways) is None
    assert measured({"params": 3, "recall": 5, "other": 1}, ways) == {"recall": 5.0, "params": 3.0}


@pytest.mark.parametrize(
    ("row", "lacks"),
    [
        ({"params": 3}, False),  # an epoch between two rungs
        ({"params": 3, "recall": 5.0}, True),
        ({"params": 3, "recall": 5.0, "vqa": math.nan}, True),
        ({"params": 3, "recall": 5.0, "vqa": 0.0}, False),
        ({"params": 3, "status": "running"}, False),
        ({"params": 3, "status": "finished"}, True),
    ],
)
def test_who_was_evaluated_without_an_objective_lacks_it(row: dict, lacks: bool) -> None:
    assert lacks_objective(row, {"recall": "max", "vqa": "max", "params": "min"}) is lacks


def test_maximised_objectives_are_negated_and_unknown_ones_nan() -> None:
    vector = to_minimise({"recall": 5.0, "params": None}, {"recall": "max", "params": "min"})
    assert vector[0] == -5.0
    assert math.isnan(vector[1])
