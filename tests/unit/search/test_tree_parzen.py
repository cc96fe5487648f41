"""What the Parzen estimator learns and what it must not learn."""

import math

import pytest

from search.searchers.tree_parzen import TreeParzen
from spaces.domains import Choice, Float, Int, Log
from spaces.errors import PluginError

DOMAINS = {
    "depth": Int(low=1, high=5),
    "lr": Log(low=1e-4, high=1e-2),
    "share": Float(low=-1, high=1),
    "weight": Log(low=2, high=60, zero=0.3),
    "width": Choice(options=("0.25x", "0.5x", "0.75x")),
}


def make(seed: int = 0, way: str = "max", **options: object) -> TreeParzen:
    return TreeParzen(
        TreeParzen.Config(**options), DOMAINS, seed=seed, objectives={"retention": way, "params": "min"}
    )


def quality(values: dict) -> float:
    off = 1.0 if values["weight"] == 0 else 0.0
    middle = 1.0 if values["width"] == "0.5x" else 0.0
    return off + middle - (math.log10(values["lr"]) + 3) ** 2 - 0.2 * (values["depth"] - 2) ** 2


def search(proposer: TreeParzen, steps: int, *, sign: float = 1.0) -> list[float]:
    found = []
    for index in range(steps):
        values = proposer.propose(index)
        proposer.observe(index, values, None, failed=False)
        proposer.observe(index, values, {"retention": sign * quality(values)}, failed=False)
        found.append(quality(values))
    return found


@pytest.mark.parametrize("way", ["max", "min"])
def test_finds_better_candidates_than_random(way: str) -> None:
    proposer = make(way=way)
    found = search(proposer, 60, sign=1.0 if way == "max" else -1.0)
    random = [quality(proposer.draw(index)) for index in range(60)]
    assert sum(found[-20:]) / 20 > sum(random) / 60 + 0.5


def test_proposals_stay_in_the_domains_with_their_types() -> None:
    proposer = make(startup=3)
    for index in range(40):
        values = proposer.propose(index)
        assert all(DOMAINS[path].contains(value) for path, value in values.items())
        assert isinstance(values["depth"], int)
        proposer.observe(index, values, {"retention": quality(values)}, failed=False)


@pytest.mark.parametrize("end", [1, 5])
def test_both_ends_of_an_int_are_reached(end: int) -> None:
    proposer = make()
    for index in range(15):
        depth = end if index == 4 else 3
        values = {**proposer.draw(index), "depth": depth}
        proposer.observe(index, values, {"retention": 9.0 if depth == end else index / 100}, failed=False)
    assert end in {proposer.propose(index)["depth"] for index in range(15, 25)}


def test_keeps_away_from_what_fails() -> None:
    proposer = make(startup=5)
    for index in range(60):
        values = proposer.propose(index)
        failed = values["width"] == "0.75x"
        row = None if failed else {"retention": 1.0 + values["share"] * 1e-6}
        proposer.observe(index, values, row, failed=failed)
    widths = [proposer.propose(index)["width"] for index in range(60, 120)]
    assert widths.count("0.75x") < 10


def test_nan_counts_as_a_failure_and_never_as_a_value() -> None:
    proposer, other = make(startup=2), make(startup=2)
    for index in range(4):
        for one, row, failed in ((proposer, {"retention": math.nan}, False), (other, None, True)):
            one.observe(index, one.draw(index), row, failed=failed)
            one.observe(index + 10, one.draw(index + 10), {"retention": float(index)}, failed=False)
    assert [proposer.propose(i) for i in range(20, 25)] == [other.propose(i) for i in range(20, 25)]


def test_random_until_enough_candidates_have_a_quality() -> None:
    proposer = make(startup=3)
    for index in range(20):
        proposer.observe(index, proposer.draw(index), None, failed=True)
    assert proposer.propose(20) == proposer.draw(20)


def test_a_row_without_the_quality_leaves_no_trace() -> None:
    proposer, other = make(startup=1), make(startup=1)
    for one in (proposer, other):
        one.observe(0, one.draw(0), {"retention": 1.0}, failed=False)
    proposer.observe(1, proposer.draw(1), None, failed=False)
    proposer.observe(1, proposer.draw(1), {"loss": 3.0}, failed=False)
    assert [p["width"] for p in map(proposer.propose, range(2, 9))] == [
        p["width"] for p in map(other.propose, range(2, 9))
    ]


def test_values_of_another_space_are_left_out() -> None:
    proposer = make(startup=1)
    proposer.observe(0, {**proposer.draw(0), "width": "2x"}, {"retention": 1.0}, failed=False)
    proposer.observe(1, {"width": "0.5x"}, {"retention": 1.0}, failed=False)
    assert proposer.propose(2) == proposer.draw(2)


@pytest.mark.parametrize("options", [{"startup": 0}, {"draws": 0}, {"gamma": 0.0}, {"gamma": 1.5}])
def test_wrong_options_are_told(options: dict) -> None:
    with pytest.raises(PluginError, match=r"got .*allowed"):
        TreeParzen.Config(**options)
