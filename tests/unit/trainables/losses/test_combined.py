"""Similarities of pictures and captions: forms and temperature of `itc_logit`, and `combined`."""

import math
from typing import Any

import pytest
import torch

from spaces.errors import PluginError
from tests.unit.trainables.losses.factory import STUDENT, TEACHER, build, loss_class, make_batch, make_signals
from tests.unit.trainables.losses.test_itc import PAIRS, batch_of, signals
from trainables.losses.divergence import softened_divergence
from trainables.losses.similarity.contrast import CONTRAST, similarities
from trainables.signals import NOTHING, Signals

ALIKE = [[1.0, 0.0], [1.0, 0.0]]  # one vector twice: every similarity is the same
TWO = [0, 1]


def kl(p: float, q: float) -> float:
    """Return KL of two distributions over two outcomes."""
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("softening", [1.0, 2.0, 4.0])
def test_a_temperature_softens_both_beyond_their_own_and_is_squared(softening: float) -> None:
    # student: logits 1/0.5 and 0; teacher: equal logits. KL(half || sigmoid(2 / softening)) x softening ** 2
    mine, theirs = signals(PAIRS, PAIRS, 0.5), signals(ALIKE, ALIKE, 0.1)
    value = build("itc_logit", temperature=softening)(mine, theirs, batch_of(TWO, TWO))
    expected = kl(0.5, sigmoid(2 / softening)) * softening**2
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("softening", "expected"), [(1.0, 82.0), (2.0, 20.5)])
def test_the_squared_form_compares_similarities_over_their_temperatures(
    softening: float, expected: float
) -> None:
    # student 2, 0; 0, 2; teacher 10 everywhere: squares 64 and 100, of which the mean is 82
    mine, theirs = signals(PAIRS, PAIRS, 0.5), signals(ALIKE, ALIKE, 0.1)
    loss = build("itc_logit", form="mse", temperature=softening)
    assert loss(mine, theirs, batch_of(TWO, TWO)).item() == pytest.approx(expected, rel=1e-5)


def test_by_default_it_is_to_the_bit_what_it_was_before_it_had_options() -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)
    a, b = similarities(mine), similarities(theirs)
    before = (softened_divergence(a, b, 1.0).mean() + softened_divergence(a.T, b.T, 1.0).mean()) / 2
    assert torch.equal(build("itc_logit")(mine, theirs, batch), before)


def test_half_of_each_by_hand() -> None:
    # contrast: ln(1 + e^-2); KL of equal halves from sigmoid(2)
    mine, theirs = signals(PAIRS, PAIRS, 0.5), signals(ALIKE, ALIKE, 0.1)
    value = build("combined")(mine, theirs, batch_of(TWO, TWO))
    expected = 0.5 * math.log(1 + math.exp(-2)) + 0.5 * kl(0.5, sigmoid(2))
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("softening", [1.0, 3.0])
def test_is_the_weighed_sum_of_contrast_and_divergence(alpha: float, softening: float) -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)
    parts = [
        build("itc")(mine, theirs, batch).item(),
        build("itc_logit", temperature=softening)(mine, theirs, batch).item(),
    ]
    value = build("combined", alpha=alpha, temperature=softening)(mine, theirs, batch)
    assert value.item() == pytest.approx((1 - alpha) * parts[0] + alpha * parts[1], rel=1e-5)


def test_repeated_pictures_and_captions_are_positives() -> None:
    loss = build("combined", alpha=0.0)
    repeated = loss(signals(PAIRS, PAIRS, 0.5), Signals(), batch_of([7, 7], TWO)).item()
    assert repeated == pytest.approx((math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 2)
    assert loss(signals(PAIRS, PAIRS, 0.5), Signals(), batch_of(TWO, [5, 5])).item() == repeated


def test_reads_no_more_than_its_shares_need() -> None:
    assert build("combined", alpha=0.0).needs.source == NOTHING
    assert build("combined").needs.source == CONTRAST
    assert build("combined", alpha=1.0).needs.fields == frozenset()
    assert build("combined", alpha=0.0, source={}).needs.student == CONTRAST


@pytest.mark.parametrize("name", ["itc_logit", "image_logit", "class_logit"])
def test_refuses_an_unknown_form(name: str) -> None:
    config: Any = loss_class(name).Config
    with pytest.raises(PluginError, match="form: got 'l1'; allowed: kl, mse"):
        config(form="l1")


@pytest.mark.parametrize("name", ["itc_logit", "combined", "class_logit", "image_logit", "image_combined"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_refuses_temperatures_that_are_none(name: str, value: float) -> None:
    config: Any = loss_class(name).Config
    with pytest.raises(PluginError, match=r"temperature: got .*a finite number above 0"):
        config(temperature=value)
    if name.startswith("image"):
        with pytest.raises(PluginError, match="teacher_temperature: got"):
            config(teacher_temperature=value)


@pytest.mark.parametrize("name", ["combined", "image_combined"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_refuses_an_alpha_that_is_no_share(name: str, value: float) -> None:
    config: Any = loss_class(name).Config
    with pytest.raises(PluginError, match=r"alpha: got .*0\.0 to 1\.0"):
        config(alpha=value)
