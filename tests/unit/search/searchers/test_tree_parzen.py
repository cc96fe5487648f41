"""What the Parzen estimator learns and what it must not learn."""

import math
import random
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest

from search.searchers.base import Outcome
from search.searchers.tree_parzen import TreeParzen, chebyshev, simplex
from spaces.conditions import Condition
from spaces.domains import Choice, Float, Int, Log, Scalar
from spaces.errors import PluginError

DOMAINS = {
    "depth": Int(low=1, high=5),
    "lr": Log(low=1e-4, high=1e-2),
    "share": Float(low=-1, high=1),
    "weight": Log(low=2, high=60, zero=0.3),
    "width": Choice(options=("0.25x", "0.5x", "0.75x")),
}
PENDING, FAILED = Outcome(state="pending"), Outcome(state="failed")
REFUSED = Outcome(state="refused", violation=0.3)
WIDTH_NEEDS_WEIGHT = {"width": (Condition(path="weight", values=(0,), negated=True),)}


def make(seed: int = 0, *, objectives: Mapping[str, str] | None = None, **options: object) -> TreeParzen:
    return TreeParzen(
        TreeParzen.Config(**options), DOMAINS, seed=seed, objectives=objectives or {"retention": "max"}
    )


def measured(**row: object) -> Outcome:
    return Outcome(state="measured", rows=({"status": "finished", **row},))


def quality(values: Mapping[str, Scalar]) -> float:
    off = 1.0 if values["weight"] == 0 else 0.0
    middle = 1.0 if values["width"] == "0.5x" else 0.0
    return off + middle - (math.log10(values["lr"]) + 3) ** 2 - 0.2 * (values["depth"] - 2) ** 2


@pytest.mark.parametrize("way", ["max", "min"])
def test_finds_better_candidates_than_random(way: str) -> None:
    proposer, sign, found = make(objectives={"retention": way}), 1.0 if way == "max" else -1.0, []
    for index in range(60):
        values = proposer.propose(index)
        proposer.observe(index, values, PENDING)
        proposer.observe(index, values, measured(retention=sign * quality(values)))
        found.append(quality(values))
    by_chance = [quality(proposer.draw(index)) for index in range(60)]
    assert sum(found[-20:]) / 20 > sum(by_chance) / 60 + 0.5


def test_seeks_both_ends_of_a_front_at_once() -> None:
    """Two objectives that pull `lr` to either end: a single scalarisation would find one of them."""
    proposer = make(objectives={"loss": "min", "params": "min"})
    for index in range(50):
        values = proposer.propose(index)
        exponent = math.log10(values["lr"])
        proposer.observe(index, values, measured(loss=(exponent + 4) ** 2, params=(exponent + 2) ** 2))
    exponents = [math.log10(proposer.propose(index)["lr"]) for index in range(50, 90)]
    assert sum(one < -3.3 for one in exponents) > 8
    assert sum(one > -2.7 for one in exponents) > 8


def test_proposals_stay_in_the_domains_with_their_types() -> None:
    proposer = make(startup=3)
    for index in range(40):
        values = proposer.propose(index)
        assert all(DOMAINS[path].contains(value) for path, value in values.items())
        assert isinstance(values["depth"], int)
        proposer.observe(index, values, measured(retention=quality(values)))


@pytest.mark.parametrize("end", [1, 5])
def test_both_ends_of_an_int_are_reached(end: int) -> None:
    proposer = make()
    for index in range(15):
        depth = end if index == 4 else 3
        values = {**proposer.draw(index), "depth": depth}
        proposer.observe(index, values, measured(retention=9.0 if depth == end else index / 100))
    assert end in {proposer.propose(index)["depth"] for index in range(15, 25)}


@pytest.mark.parametrize("fault", [FAILED, REFUSED])
def test_keeps_away_from_what_fails_or_is_refused(fault: Outcome) -> None:
    proposer = make(startup=5)
    for index in range(40):
        values = proposer.propose(index)
        fine = measured(retention=1.0 + values["share"] * 1e-6)
        proposer.observe(index, values, fault if values["width"] == "0.75x" else fine)
    widths = [proposer.propose(index)["width"] for index in range(40, 80)]
    assert widths.count("0.75x") < 7


def test_keeps_away_from_what_is_in_training() -> None:
    """The width 0.25x is the best one measured: without a lie it would be proposed all the time."""
    widths = {}
    for training in (0, 40):
        proposer = make(startup=5)
        for index in range(21):
            values = {**proposer.draw(index), "width": ("0.25x", "0.5x", "0.75x")[index % 3]}
            proposer.observe(index, values, measured(retention=float(-(index % 3))))
        for index in range(21, 21 + training):
            proposer.observe(index, {**proposer.draw(index), "width": "0.25x"}, PENDING)
        widths[training] = [proposer.propose(index)["width"] for index in range(100, 130)].count("0.25x")
    assert widths[0] == 30
    assert widths[40] < 15


def test_failures_never_count_among_the_good_ones() -> None:
    """With one good candidate of five and 200 failures at one width, the estimator still draws near the good one."""
    proposer = make(startup=5, gamma=0.2)
    for index in range(200):
        proposer.observe(index, {**proposer.draw(index), "width": "0.75x"}, FAILED)
    for index in range(200, 206):
        values = {**proposer.draw(index), "width": "0.25x" if index == 203 else "0.5x"}
        proposer.observe(index, values, measured(retention=9.0 if index == 203 else 1.0))
    widths = [proposer.propose(index)["width"] for index in range(300, 340)]
    assert widths.count("0.25x") > 20
    assert widths.count("0.75x") < 5


def test_nan_counts_as_a_failure_and_never_as_a_value() -> None:
    proposer, other = make(startup=2), make(startup=2)
    for index in range(4):
        for one, outcome in ((proposer, measured(retention=math.nan)), (other, FAILED)):
            one.observe(index, one.draw(index), outcome)
            one.observe(index + 10, one.draw(index + 10), measured(retention=float(index)))
    assert [proposer.propose(i) for i in range(20, 25)] == [other.propose(i) for i in range(20, 25)]


def test_random_until_enough_candidates_are_measured() -> None:
    proposer = make(startup=3)
    for index in range(20):
        proposer.observe(index, proposer.draw(index), FAILED)
    assert proposer.propose(20) == proposer.draw(20)


def test_a_trial_that_ended_without_a_measurement_leaves_no_trace() -> None:
    proposer, other = make(startup=1), make(startup=1)
    for one in (proposer, other):
        one.observe(0, one.draw(0), measured(retention=1.0))
    proposer.observe(1, proposer.draw(1), PENDING)
    proposer.observe(1, proposer.draw(1), Outcome(state="measured"))
    assert [proposer.propose(i) for i in range(2, 9)] == [other.propose(i) for i in range(2, 9)]


def test_values_of_another_space_are_left_out() -> None:
    proposer = make(startup=1)
    proposer.observe(0, {**proposer.draw(0), "width": "2x"}, measured(retention=1.0))
    proposer.observe(1, {"width": "0.5x"}, measured(retention=1.0))
    assert proposer.propose(2) == proposer.draw(2)


def test_a_value_that_is_switched_off_teaches_nothing() -> None:
    """All candidates have weight 0, which switches `width` off: whatever it stood at is not learnt."""
    proposers = [
        TreeParzen(
            TreeParzen.Config(startup=2),
            DOMAINS,
            seed=0,
            objectives={"retention": "max"},
            conditions=WIDTH_NEEDS_WEIGHT,
        )
        for _ in range(2)
    ]
    for proposer, width in zip(proposers, ("0.25x", "0.75x"), strict=True):
        for index in range(12):
            values = {**proposer.draw(index), "weight": 0, "width": width}
            proposer.observe(index, values, measured(retention=float(index)))
    one, other = ([p.propose(index) for index in range(20, 30)] for p in proposers)
    assert one == other


def test_stopped_candidates_count_with_what_they_would_have_reached() -> None:
    """Width 0.25x is stopped at epoch 1 with 60; the others go on from 40 to 70, so that 0.25x would have been ahead."""
    proposer = make(startup=4)
    for index in range(18):
        width = ("0.25x", "0.5x", "0.75x")[index % 3]
        rows = [{"epoch": 1, "retention": 60.0 if width == "0.25x" else 40.0 + index / 100}]
        if width != "0.25x":
            rows.append({"epoch": 9, "retention": 70.0 + index / 100, "status": "finished"})
        ended = Outcome(state="measured", rows=rows, full_epochs=9)
        proposer.observe(index, {**proposer.draw(index), "width": width}, ended)
    widths = [proposer.propose(index)["width"] for index in range(20, 40)]
    assert widths.count("0.25x") > 15


@pytest.mark.parametrize("history", [20, 400])
def test_does_not_depend_on_the_order_of_observation(history: int) -> None:
    objectives = {"retention": "max", "params": "min"}
    proposers = [make(startup=5, history=history, objectives=objectives) for _ in range(2)]
    outcomes = []
    for index in range(60):
        values = proposers[0].draw(index)
        rows = [{"epoch": e, "retention": quality(values) + e, "params": values["depth"]} for e in (1, 3, 9)]
        state = {5: FAILED, 6: REFUSED, 7: PENDING}.get(index % 9)
        ended = Outcome(state="measured", rows=rows[: 1 + index % 3], full_epochs=9)
        outcomes.append((index, values, state or ended))
    for entry in outcomes:
        proposers[0].observe(*entry)
    for entry in random.Random(3).sample(outcomes, len(outcomes)):
        proposers[1].observe(*entry)
    assert [proposers[0].propose(i) for i in range(60, 66)] == [
        proposers[1].propose(i) for i in range(60, 66)
    ]


def test_the_fitted_history_is_bounded_and_keeps_the_best() -> None:
    """The one good candidate is the oldest of 200, the fit sees 20: it still leads the proposals."""
    proposer = make(history=20, startup=5)
    for index in range(200):
        values = {**proposer.draw(index), "width": "0.25x" if index == 0 else "0.75x"}
        proposer.observe(index, values, measured(retention=9.0 if index == 0 else index / 1000))
    sample = proposer._observations.sample(20, random.Random(0))
    assert len(sample.measured) == 20
    assert [one.index for one in sample.measured] == sorted(one.index for one in sample.measured)
    assert {0, *range(195, 200)} <= {one.index for one in sample.measured}
    assert "0.25x" in {proposer.propose(index)["width"] for index in range(200, 206)}


def test_weights_are_uniform_on_the_simplex() -> None:
    """Each of k weights of a uniform simplex has mean 1/k and second moment 2/(k(k+1))."""
    weights = np.asarray([simplex(3, random.Random(number)) for number in range(4000)])
    assert weights.sum(axis=1) == pytest.approx(1.0)
    assert weights.mean(axis=0) == pytest.approx(1 / 3, abs=0.02)
    assert (weights**2).mean(axis=0) == pytest.approx(2 / 12, abs=0.015)


def test_scalarises_by_the_augmented_chebyshev_norm() -> None:
    # scaled: (0, 1), (0.5, 0.25), (1, 0); weights .4 and .6; rho .05
    points = np.asarray([[10.0, 8.0], [15.0, 2.0], [20.0, 0.0]])
    expected = [0.6 + 0.05 * 0.6, 0.2 + 0.05 * 0.35, 0.4 + 0.05 * 0.4]
    assert chebyshev(points, np.asarray([0.4, 0.6])) == pytest.approx(expected)


def test_one_objective_keeps_its_order_and_an_equal_one_adds_nothing() -> None:
    losses = chebyshev(np.asarray([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0]]), np.asarray([0.1, 0.9]))
    assert losses[0] < losses[2] < losses[1]
    single = chebyshev(np.asarray([[value] for value in (-3.0, 1.0, 7.0)]), np.asarray([1.0]))
    assert all(a < b for a, b in pairwise(single))


@pytest.mark.parametrize(
    "options", [{"startup": 0}, {"draws": 0}, {"gamma": 0.0}, {"gamma": 1.5}, {"history": 19}]
)
def test_wrong_options_are_told(options: dict) -> None:
    with pytest.raises(PluginError, match=r"got .*allowed"):
        TreeParzen.Config(**options)
