"""Stopped candidates at full fidelity: against gains worked by hand."""

import math
from itertools import permutations

import pytest

from search.searchers.base import Outcome
from search.searchers.fidelity import FullFidelity

OBJECTIVES = {"retention": "max", "params": "min", "loss": "min"}


def outcome(*rows: tuple[int, float, float], status: str = "running", full: int = 9) -> Outcome:
    """Return what a candidate of 100 params has reached: (epoch, retention, loss) of each row."""
    found = [
        {"epoch": e, "retention": r, "loss": x, "params": 100.0, "status": "running"} for e, r, x in rows
    ]
    found[-1]["status"] = status
    return Outcome(state="measured", rows=found, full_epochs=full)


def finished(at_one: float, at_end: float, *, loss_at_end: float = 1.0) -> Outcome:
    return outcome((1, at_one, 2.0), (9, at_end, loss_at_end), status="finished")


def at_full(fidelity: FullFidelity, one: Outcome) -> tuple[float, ...]:
    reached = fidelity.reached(one)
    assert reached is not None
    return fidelity.at_full(reached)


def taught(*outcomes: Outcome) -> FullFidelity:
    fidelity = FullFidelity(OBJECTIVES)
    for one in outcomes:
        fidelity.learn(one)
    return fidelity


def test_adds_the_median_gain_of_the_finished_to_every_metric_and_none_to_costs() -> None:
    # gains in retention from epoch 1: 20, 30, 70; in loss: -1, -1.5, -0.5
    fidelity = taught(finished(50, 70), finished(40, 70, loss_at_end=0.5), finished(10, 80, loss_at_end=1.5))
    assert at_full(fidelity, outcome((1, 45, 2.5))) == pytest.approx((-(45 + 30), 100, 2.5 - 1))


def test_an_even_number_of_gains_has_the_mean_of_the_middle_two() -> None:
    fidelity = taught(*(finished(50, 50 + gain) for gain in (10, 20, 40, 90)))
    assert at_full(fidelity, outcome((1, 45, 2.0)))[0] == pytest.approx(-(45 + 30))


def test_two_finished_candidates_are_too_few() -> None:
    fidelity = taught(finished(50, 70), finished(40, 70))
    assert at_full(fidelity, outcome((1, 45, 2.0))) == (-45, 100, 2.0)


def test_what_ended_is_taken_as_it_is() -> None:
    fidelity = taught(*[finished(50, 70)] * 3)
    assert at_full(fidelity, finished(40, 60)) == (-60, 100, 1.0)
    # a last epoch that the scheduler stopped at is the end too
    assert at_full(fidelity, outcome((9, 60, 1.0), status="stopped")) == (-60, 100, 1.0)


def test_stopped_candidates_teach_nothing() -> None:
    fidelity = taught(*[outcome((1, 50, 2.0), (3, 90, 1.0), status="stopped")] * 5)
    assert at_full(fidelity, outcome((1, 45, 2.0))) == (-45, 100, 2.0)


def test_gains_count_from_the_same_point_of_training_only() -> None:
    ends = [outcome((1, 50, 2.0), (3, 60, 1.5), (9, 70, 1.0), status="finished")] * 3
    fidelity = taught(*ends)
    assert at_full(fidelity, outcome((1, 45, 2.0)))[0] == pytest.approx(-(45 + 20))
    assert at_full(fidelity, outcome((1, 45, 2.0), (3, 55, 2.0)))[0] == pytest.approx(-(55 + 10))
    assert at_full(fidelity, outcome((2, 45, 2.0)))[0] == -45


def test_candidates_of_another_length_meet_at_the_same_share_of_it() -> None:
    fidelity = taught(*[finished(50, 70)] * 3)
    assert at_full(fidelity, outcome((2, 45, 2.0), full=18))[0] == pytest.approx(-(45 + 20))
    assert at_full(fidelity, outcome((1, 45, 2.0), full=18))[0] == -45


def test_the_order_of_the_finished_does_not_matter() -> None:
    ends = [finished(50, 50 + gain, loss_at_end=1 / gain) for gain in (10, 35, 20, 5)]
    found = {at_full(taught(*order), outcome((1, 45, 2.0))) for order in permutations(ends)}
    assert len(found) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_candidate_without_a_finite_objective_has_reached_nothing(value: float | None) -> None:
    fidelity = FullFidelity(OBJECTIVES)
    row = {"epoch": 9, "retention": value, "loss": 1.0, "params": 1.0}
    assert fidelity.reached(Outcome(state="measured", rows=(row,), full_epochs=9)) is None


@pytest.mark.parametrize("state", ["pending", "failed", "refused"])
def test_only_measured_candidates_have_reached_anything(state: str) -> None:
    row = {"epoch": 9, "retention": 1.0, "loss": 1.0, "params": 1.0}
    assert FullFidelity(OBJECTIVES).reached(Outcome(state=state, rows=(row,), full_epochs=9)) is None


def test_rows_of_unknown_length_are_taken_as_they_are() -> None:
    fidelity = taught(*[finished(50, 70)] * 3)
    assert at_full(fidelity, outcome((1, 45, 2.0), full=0))[0] == -45
