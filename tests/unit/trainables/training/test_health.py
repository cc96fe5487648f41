"""What ends a training early, watched on losses whose values are given by hand."""

import math

import pytest
import torch

from trainables.training.health import MARGIN, PATIENCE, Collapsed, Diverged, Health


def health(patience: int = 3, **guessing: float | None) -> Health:
    made = Health({name: value for name, value in guessing.items() if value is not None}, world=1)
    made.patience = patience
    return made


def watch(made: Health, step: int, total: float = 1.0, **losses: float) -> None:
    made.watch(step, torch.tensor(total), {name: torch.tensor(value) for name, value in losses.items()}, 0.01)


def test_finite_values_that_guess_nothing_go_on() -> None:
    made = health(patience=1, itc=None, itm=0.6)
    for step in range(1, 20):
        watch(made, step, itc=0.6, itm=0.5)
    assert made.stuck == {"itm": 0}
    assert Health({}, world=1).patience == PATIENCE == 5000


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_told_with_its_name_and_the_others(value: float) -> None:
    made = health(itc=None, itm=None, lm=None)
    message = rf"^step 7: loss 'itm' is {value} \(itc 0.25, lm 3.00\); lr 1.0e-02$"
    with pytest.raises(Diverged, match=message):
        watch(made, 7, total=value, itc=0.25, itm=value, lm=3.0)


def test_a_sum_that_overflows_is_told_as_such() -> None:
    with pytest.raises(Diverged, match=r"^step 1: loss 'sum' is inf \(itc 2.00\)"):
        watch(health(itc=None), 1, total=math.inf, itc=2.0)
    with pytest.raises(Diverged, match=r"^step 1: loss 'itc' is nan \(no other loss\)"):
        watch(health(itc=None), 1, total=math.nan, itc=math.nan)


def test_a_loss_that_stands_at_guessing_for_its_patience_has_collapsed() -> None:
    made = health(itm=0.6)
    watch(made, 1, itm=0.6)
    watch(made, 2, itm=0.6 - 0.9 * MARGIN)
    with pytest.raises(
        Collapsed, match=r"^step 3: loss 'itm' stood at 0.6000 \+- 0.005 \(guessing\) for 3 steps$"
    ):
        watch(made, 3, itm=0.6 + 0.9 * MARGIN)


@pytest.mark.parametrize("away", [0.6 - 1.1 * MARGIN, 0.6 + 1.1 * MARGIN])
def test_leaving_it_once_begins_the_count_anew(away: float) -> None:
    made = health(itm=0.6)
    for step, value in enumerate((0.6, 0.6, away, 0.6, 0.6), start=1):
        watch(made, step, itm=value)
    assert made.stuck == {"itm": 2}


def test_a_loss_that_is_not_run_keeps_its_count() -> None:
    made = health(itm=0.6, itc=None)
    watch(made, 1, itm=0.6, itc=1.0)
    watch(made, 2, itc=1.0)
    watch(made, 3, itm=0.6, itc=1.0)
    assert made.stuck == {"itm": 2}


def test_each_loss_is_counted_by_itself() -> None:
    made = health(first=0.6, second=0.7)
    watch(made, 1, first=0.6, second=0.1)
    watch(made, 2, first=0.6, second=0.7)
    assert made.stuck == {"first": 2, "second": 1}
    with pytest.raises(Collapsed, match="loss 'first'"):
        watch(made, 3, first=0.6, second=0.7)
