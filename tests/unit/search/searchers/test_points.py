"""Where points come from when the proposer repeats itself."""

import pytest

from search.searchers.points import SMALL, PointSource, every_point, size
from search.searchers.random_search import RandomSearch
from spaces.conditions import Condition, active
from spaces.domains import Choice, Float, Int, Log


def source(domains) -> PointSource:
    objectives = {"retention": "max", "params": "min"}
    return PointSource(RandomSearch(RandomSearch.Config(), domains, seed=0, objectives=objectives))


def test_every_point_comes_once_the_zero_included() -> None:
    domains = {"a": Choice(options=("x", "y")), "b": Int(low=3, high=4, zero=0.1)}
    assert [(one["a"], one["b"]) for one in every_point(domains, {})] == [
        (a, b) for a in "xy" for b in (3, 4, 0)
    ]
    assert size(domains, {}) == 6


@pytest.mark.parametrize(
    ("domain", "points"),
    [
        (Int(low=1, high=10**12), None),  # more than can be swept
        (Int(low=1, high=5000), 10_000),
        (Int(low=-2, high=1, zero=0.5), 10),
        (Choice(options=("a",), zero=0.5), 4),
        (Float(low=0.0, high=1.0), None),
        (Log(low=0.1, high=1.0), None),
    ],
)
def test_only_a_small_countable_space_has_a_size(domain, points: int | None) -> None:
    assert size({"a": Choice(options=(1, 2)), "b": domain}, {}) == points
    assert size({}, {}) == 1


def test_points_that_differ_only_in_what_does_not_count_are_one() -> None:
    domains = {
        "head.width": Choice(options=(1, 2, 3)),
        "kind": Choice(options=("head", "tower")),
        "tower.depth": Int(low=1, high=4),
        "tower.skip": Choice(options=(True, False)),
    }
    conditions = {
        "head.width": (Condition(path="kind", values=("head",)),),
        "tower.depth": (Condition(path="kind", values=("tower",)),),
        # a tower of depth 1 has nothing to skip; a head has no depth at all
        "tower.skip": (Condition(path="tower.depth", values=(1,), negated=True),),
    }
    found = list(every_point(domains, conditions))
    assert all(list(one) == list(domains) for one in found)
    heads = [("head", width) for width in (1, 2, 3)]
    towers = [("tower", 1), *(("tower", depth, skip) for depth in (2, 3, 4) for skip in (True, False))]
    kept = [tuple(active(one, conditions).values()) for one in found]
    assert sorted(map(repr, kept)) == sorted(
        repr((row[1], row[0]) if row[0] == "head" else row) for row in [*heads, *towers]
    )
    assert size(domains, conditions) == 3 + 1 + 6


def test_the_sweep_begins_after_a_hundred_known_points_and_ends_with_the_last() -> None:
    domains = {"a": Choice(options=(1,), zero=1e-9), "b": Int(low=1, high=3)}
    points = source(domains)
    for index in range(100):
        assert not points.exhausted
        assert points.take(index)["a"] == 1
        points.note(known=True)
    swept = []
    while not points.exhausted:
        swept.append(points.take(100 + len(swept)))
        points.note(known=len(swept) % 2 == 0)
    assert swept == list(every_point(domains, {}))
    assert points.exhausted == "nothing new is left of the 6 points of the space"


@pytest.mark.parametrize("domain", [Float(low=0.0, high=1.0), Int(low=1, high=SMALL + 1)])
def test_a_larger_space_is_never_swept(domain) -> None:
    points = source({"a": domain})
    for index in range(500):
        assert not points.exhausted
        points.take(index)
        points.note(known=True)
    assert points.exhausted == "the last 500 proposals were all known: next to nothing new is left"
    points.note(known=False)
    assert not points.exhausted
