"""Attention transfer by activations, worked by hand."""

import math

import pytest
import torch
from torch import Tensor

from spaces.errors import ShapeError
from tests.unit.trainables.losses.factory import build, make_batch
from trainables.losses.base import Ends, Loss, pair_lack
from trainables.losses.features.activation import Activation
from trainables.signals import Offer, Offers, Signals, Want

MAP = Want("image", "map")


def of(channels: int, rows: int, columns: int) -> Offers:
    return {MAP: Offer(axes=("E", "Y", "X"), sizes=(channels, rows, columns), rows="picture")}


def said(values: object) -> Signals:
    return Signals({MAP: torch.tensor(values, dtype=torch.float32, requires_grad=True)})


def loss_between(mine: Signals, theirs: Signals) -> Loss:
    a, b = tuple(mine[MAP].shape[1:]), tuple(theirs[MAP].shape[1:])
    return build("image_activation", of(*a), of(*b))


def value_of(mine: Signals, theirs: Signals) -> Tensor:
    return loss_between(mine, theirs)(mine, theirs, make_batch(len(mine[MAP])))


def test_two_places_by_hand() -> None:
    # student: Q = (9 + 16, 0) -> (1, 0); teacher: Q = (3, 4) -> (0.6, 0.8); squared distance 0.16 + 0.64
    mine = said([[[[3.0, 0.0]], [[-4.0, 0.0]]]])
    theirs = said([[[[math.sqrt(3), 2.0]]]])
    assert value_of(mine, theirs).item() == pytest.approx(0.8, rel=1e-5)


def test_strength_counts_and_neither_sign_nor_scale_nor_number_of_channels_does() -> None:
    mine = said([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    theirs = said([[[[-10.0, 0.0]], [[0.0, 20.0]], [[30.0, 0.0]]]])
    assert value_of(mine, theirs).item() == pytest.approx(0, abs=1e-12)


def test_maps_that_are_strong_in_other_places_cost_two() -> None:
    assert value_of(said([[[[5.0, 0.0]]]]), said([[[[0.0, 0.1]]]])).item() == pytest.approx(2)


def test_the_finer_map_is_averaged_down_to_the_coarser_one() -> None:
    # 2 x 4 -> 1 x 2: means of squares (1 + 4 + 9 + 0) / 4 = 3.5 and (0 + 0 + 16 + 2) / 4 = 4.5
    fine, root = [[[[1.0, 2.0, 0.0, 0.0], [3.0, 0.0, 4.0, math.sqrt(2)]]]], math.hypot(3.5, 4.5)
    expected = (3.5 / root - 1) ** 2 + (4.5 / root) ** 2
    coarse = [[[[1.0, 0.0]]]]
    assert value_of(said(fine), said(coarse)).item() == pytest.approx(expected, rel=1e-5)
    assert value_of(said(coarse), said(fine)).item() == pytest.approx(expected, rel=1e-5)


def test_each_axis_is_brought_to_the_smaller() -> None:
    # student 2 x 1, teacher 1 x 2 would leave one place; 3 x 1 and 2 x 2 leave 2 x 1
    mine, theirs = said([[[[1.0], [1.0], [0.0]]]]), said([[[[1.0, 1.0], [0.0, 0.0]]]])
    # rows of the student: adaptive windows 0..1 and 1..2: (1, 0.5); the teacher's: (1, 0)
    root = math.hypot(1, 0.5)
    assert value_of(mine, theirs).item() == pytest.approx((1 / root - 1) ** 2 + (0.5 / root) ** 2, rel=1e-5)


def test_a_map_of_zeros_costs_a_finite_amount_with_a_finite_gradient() -> None:
    mine = said([[[[0.0, 0.0]]], [[[1.0, 2.0]]]])
    value = value_of(mine, said([[[[1.0, 0.0]]], [[[0.0, 0.0]]]]))
    value.backward()
    assert value.item() == pytest.approx(1)
    assert mine[MAP].grad is not None
    assert mine[MAP].grad.isfinite().all()


def test_one_place_says_nothing_and_is_told() -> None:
    ends = Ends(name="image_activation", student=of(8, 1, 1), source=of(4, 7, 7))
    assert pair_lack(Activation, Activation.Config(), ends) == (
        "compares where image.map is strong: the student's has 1 x 1 places, the teacher's 7 x 7, which leaves a single one; "
        "left out for it."
    )
    with pytest.raises(ShapeError, match=r"losses\.image_activation: compares where"):
        build("image_activation", of(8, 1, 1), of(4, 7, 7))
    crossed = Ends(name="image_activation", student=of(8, 2, 1), source=of(4, 1, 2))
    assert pair_lack(Activation, Activation.Config(), crossed) is not None


def test_the_mode_comes_with_the_name() -> None:
    want = Want("depth", "map")
    offers = {want: Offer(axes=("E", "Y", "X"), sizes=(1, 1, 2), rows="picture")}
    loss = Activation(Activation.Config(), Ends(name="depth_activation", student=offers, source=offers))
    assert loss.needs.student == loss.needs.source == {want}
