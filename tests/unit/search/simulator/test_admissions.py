"""Which candidate stands for a point that is in the table, or is not."""

import random

import numpy as np
import pytest

from search.simulator.admissions import Neighbours
from spaces.conditions import Condition
from spaces.domains import Choice, Float, Int, Log
from tests.unit.search.simulator.curves import make_table

DOMAINS = {
    "act": Choice(options=("gelu", "relu", "silu")),
    "depth": Int(low=1, high=11),
    "drop": Float(low=0.0, high=0.5),
    "rate": Log(low=1e-4, high=1e-1),
    "width": Choice(options=("0.25x", "0.5x", "1x")),
}


def table_of(*values: dict, **more):
    names = [f"c{number}" for number in range(len(values))]
    curves = {name: [(1, 1.0, 0.5)] for name in names}
    return make_table(curves, values=dict(zip(names, values, strict=True)), **more)


def distance(one: dict, other: dict) -> float:
    """Return the distance written out for these domains, without any array."""
    steps = {"0.25x": 0.0, "0.5x": 0.5, "1x": 1.0}
    return (
        (one["act"] != other["act"])
        + abs(one["depth"] - other["depth"]) / 10
        + abs(one["drop"] - other["drop"]) / 0.5
        + abs(np.log10(one["rate"] / other["rate"])) / 3
        + abs(steps[one["width"]] - steps[other["width"]])
    )


def test_nearest_untried_agrees_with_a_search_through_all() -> None:
    rng = random.Random(3)
    points = [{path: domain.sample(rng) for path, domain in DOMAINS.items()} for _ in range(60)]
    table = table_of(*points, fields=DOMAINS)
    look_up = Neighbours(table)
    for _ in range(100):
        asked = {path: domain.sample(rng) for path, domain in DOMAINS.items()}
        untried = np.array([rng.random() < 0.5 for _ in points])
        distances = [
            distance(asked, values) if free else np.inf
            for values, free in zip(table.values, untried, strict=True)
        ]
        assert look_up.find(asked, untried) == int(np.argmin(distances))


def test_the_point_itself_counts_even_when_it_was_tried() -> None:
    points = [{"depth": depth} for depth in (1, 5, 9)]
    look_up = Neighbours(table_of(*points, fields={"depth": Int(low=1, high=9)}))
    nobody_but_first = np.array([True, False, False])
    assert look_up.find({"depth": 5}, nobody_but_first) == 1
    assert look_up.find({"depth": 6}, nobody_but_first) == 0
    assert look_up.find({"depth": 8}, np.zeros(3, dtype=bool)) == 2


def test_of_equal_candidates_the_first_untried_counts() -> None:
    look_up = Neighbours(
        table_of({"depth": 5}, {"depth": 5}, {"depth": 9}, fields={"depth": Int(low=1, high=9)})
    )
    assert look_up.find({"depth": 5}, np.array([True, True, True])) == 0
    assert look_up.find({"depth": 5}, np.array([False, True, True])) == 1
    assert look_up.find({"depth": 5}, np.array([False, False, True])) == 0


def test_ties_fall_to_the_first_id() -> None:
    look_up = Neighbours(table_of({"depth": 3}, {"depth": 7}, fields={"depth": Int(low=1, high=9)}))
    assert look_up.find({"depth": 5}, np.array([True, True])) == 0


@pytest.mark.parametrize("asked", [{"layers": 0, "place": "first"}, {"layers": 0, "place": "last"}])
def test_what_is_switched_off_makes_no_difference(asked: dict) -> None:
    fields = {"layers": Choice(options=(0, 1, 2)), "place": Choice(options=("first", "last"))}
    points = [{"layers": 0, "place": "last"}, {"layers": 1, "place": "first"}]
    look_up = Neighbours(
        table_of(
            *points,
            fields=fields,
            conditions={"place": (Condition(path="layers", values=(0,), negated=True),)},
        )
    )
    assert look_up.find(asked, np.array([False, True])) == 0
    assert look_up.find({"layers": 2, "place": "last"}, np.array([True, True])) == 1


def test_a_zero_beside_a_range_is_as_far_from_all_of_it() -> None:
    weights = [{"weight": 0}, {"weight": 0.1}, {"weight": 10.0}]
    look_up = Neighbours(table_of(*weights, fields={"weight": Log(low=0.1, high=10.0, zero=0.2)}))
    everyone = np.ones(3, dtype=bool)
    assert look_up.find({"weight": 0}, everyone) == 0
    assert look_up.find({"weight": 0.2}, everyone) == 1
    assert look_up.find({"weight": 0}, np.array([False, True, True])) == 0
