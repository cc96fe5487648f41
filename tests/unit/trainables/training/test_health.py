"""What ends a training early, watched on losses whose values are given by hand."""

import math

import pytest
import torch

from trainables.training.health import LEVEL, MARGIN, PATIENCE, Collapsed, Diverged, Health


def health(patience: float = 3, *, steps: int = 10, begin: int = 0, **guessing: float) -> Health:
    made = Health({"rest": 1.0, "itm": 0.0, "itc": 0.0}, guessing, world=1, steps=steps, begin=begin)
    made.patience = patience
    return made


def watch(made: Health, step: int, total: float, **losses: float) -> None:
    """Watch a step whose weighted sum is that of the loss `rest`; the others are there with weight 0."""
    values = {"rest": total, **losses}
    made.watch(step, torch.tensor(total), {name: torch.tensor(value) for name, value in values.items()}, 0.01)


def stuck_after(made: Health, totals: list[float], **losses: float) -> list[int]:
    found = []
    for step, total in enumerate(totals, start=1):
        watch(made, step, total, **losses)
        found.append(made.stuck)
    return found


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_told_with_its_name_and_the_others(value: float) -> None:
    losses = {"itc": torch.tensor(0.25), "itm": torch.tensor(value), "lm": torch.tensor(3.0)}
    message = rf"^step 7: loss 'itm' is {value} \(itc 0.25, lm 3.00\); lr 1.0e-02$"
    with pytest.raises(Diverged, match=message):
        health().watch(7, torch.tensor(value), losses, 0.01)


def test_a_loss_that_is_nan_on_another_worker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """This one's own values are fine; what is joined of all is not."""

    def reduced(values: torch.Tensor, operation: object) -> None:
        if values.ndim:
            values[1] = math.nan
        else:
            values.zero_()

    monkeypatch.setattr(torch.distributed, "all_reduce", reduced)
    losses = {"itc": torch.tensor(2.0), "lm": torch.tensor(2.5)}
    with pytest.raises(Diverged, match=r"^step 7: loss 'lm' is nan \(itc 1.00\)"):
        Health({"itc": 1.0, "lm": 1.0}, {}, world=2, steps=10, begin=0).watch(
            7, torch.tensor(4.5), losses, 0.01
        )


def test_a_sum_that_overflows_is_told_as_such() -> None:
    two, nan = torch.tensor(2.0), torch.tensor(math.nan)
    with pytest.raises(Diverged, match=r"^step 1: loss 'sum' is inf \(itc 2.00\)"):
        health().watch(1, torch.tensor(math.inf), {"itc": two}, 0.01)
    with pytest.raises(Diverged, match=r"^step 1: loss 'itc' is nan \(no other loss\)"):
        health().watch(1, nan, {"itc": nan}, 0.01)


def test_a_training_that_stays_where_it_began_has_collapsed() -> None:
    made = health(itm=0.6)
    assert stuck_after(made, [9.0, 8.0], itm=0.7) == [1, 2]
    told = (
        r"^step 3: nothing was learned for 3 steps: the sum of losses averages 7.5, at the start 9, "
        r"itm 0.7000 \(guessing 0.6000\)$"
    )
    with pytest.raises(Collapsed, match=told):
        watch(made, 3, 7.5, itm=0.7)


def test_without_a_loss_that_can_guess_nothing_is_concluded() -> None:
    # a student that inherits its weights may begin close to its best, so that its losses hardly fall
    assert stuck_after(health(2), [9.0, 9.0, 9.0, 9.0]) == [0, 0, 0, 0]


def test_the_sum_must_fall_below_a_level() -> None:
    assert stuck_after(health(9, itm=0.6), [10.0, 8.1, 7.9, 8.1], itm=0.7) == [1, 2, 0, 1]  # 8 is the level
    assert LEVEL == 0.8


def test_a_loss_that_is_better_than_guessing_is_enough() -> None:
    made = health(9, itc=4.0, itm=0.6)
    watch(made, 1, 5.0, itc=4.0 - 0.9 * MARGIN, itm=0.6)
    assert made.stuck == 1
    watch(made, 2, 5.0, itc=4.0 - 1.1 * MARGIN, itm=0.7)
    assert made.stuck == 0


def test_matching_that_guesses_through_a_healthy_training_is_none() -> None:
    # as measured on the embedded task: the sum falls from 48 to 6 while itm stays at 0.64
    made = health(2, itm=0.6365)
    assert stuck_after(made, [48.0, 24.0, 14.0, 9.9, 8.3, 7.4, 6.8, 6.7, 6.2, 6.3], itm=0.639) == [
        1,
        *[0] * 9,
    ]


def test_single_steps_do_not_count_but_their_moving_average() -> None:
    made = health(9, steps=96, itm=0.6)  # averages of 4
    totals = [10.0, 10.0, 10.0, 10.0, 1.0, 10.0, 10.0]
    # after the fifth: 10 - 9 / 4 = 7.75, below 8; then 8.3125 and 8.734
    assert stuck_after(made, totals, itm=0.7) == [0, 0, 0, 1, 0, 1, 2]


def test_a_loss_that_comes_in_late_is_compared_with_its_own_beginning() -> None:
    made = Health({"lm": 1.0, "itm": 8.0}, {}, world=1, steps=10)
    made.patience = 9
    lm, itm = torch.tensor(10.0), torch.tensor(0.6)
    made.watch(1, lm, {"lm": lm}, 0.01)
    made.watch(2, lm / 2, {"lm": lm / 2}, 0.01)
    assert made.stuck == 0
    made.watch(3, lm / 2 + 8 * itm, {"lm": lm / 2, "itm": itm}, 0.01)  # 9.8 of 14.8, though no lower than 10
    assert made.stuck == 0


def test_steps_of_warm_up_do_not_count() -> None:
    assert stuck_after(health(9, begin=2, itm=0.6), [5.0, 5.0, 5.0, 5.0], itm=0.7) == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("patience", "steps", "limit"),
    [(0.5, 288, 144), (0.5, 289, 145), (0.5, 20, 50), (5000, 288, 5000), (1, 70, 70)],
)
def test_patience_is_a_share_of_all_steps_or_their_number(patience: float, steps: int, limit: int) -> None:
    assert health(patience, steps=steps).limit == limit
    assert Health({}, {}, world=1, steps=9).patience == PATIENCE == 0.5


def test_what_was_seen_goes_through_a_checkpoint() -> None:
    totals, itm = [10.0, 9.0, 9.5, 7.0, 9.9, 9.8], 0.7
    whole, first = health(9, steps=48, itm=0.6), health(9, steps=48, itm=0.6)
    expected = stuck_after(whole, totals, itm=itm)
    stuck_after(first, totals[:3], itm=itm)
    again = health(9, steps=48, itm=0.6)
    again.restore(first.state())
    for step, total in enumerate(totals[3:], start=4):
        watch(again, step, total, itm=itm)
        assert again.stuck == expected[step - 1]
    assert again.state() == whole.state()
