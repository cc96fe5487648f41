"""Class logits: cross entropy with the data's labels, and the teacher's distribution over the classes."""

import math

import pytest
import torch

from spaces.errors import PluginError, ShapeError
from tests.unit.trainables.losses.factory import STUDENT, TEACHER, build, make_batch, with_fields
from trainables.losses.base import Ends, pair_lack
from trainables.losses.logits.class_label import ClassLabel
from trainables.losses.logits.class_logit import ClassLogit
from trainables.signals import NOTHING, Batch, Offer, Offers, Signals, Want, classes_meaning

LOGITS = Want("image", "logits")
LOGS = [
    [math.log(8), 0.0, 0.0],
    [0.0, math.log(3), 0.0],
    [0.0, 0.0, 0.0],
]  # 0.8, 0.1, 0.1; 0.2, 0.6, 0.2; thirds


def names(*classes: str) -> Offers:
    offer = Offer(axes=("C",), sizes=(len(classes),), rows="picture", meaning=classes_meaning(classes))
    return {LOGITS: offer}


THREE = names("cat", "dog", "eel")


def said(rows: list[list[float]]) -> Signals:
    return Signals({LOGITS: torch.tensor(rows, requires_grad=True)})


def labelled(*labels: int) -> Batch:
    return with_fields(make_batch(len(labels)), picture_label=torch.tensor(labels))


def test_labels_cost_what_the_formula_says_by_hand() -> None:
    value = build("class_label", THREE)(said(LOGS), Signals(), labelled(0, 1, 2))
    assert value.item() == pytest.approx(-(math.log(0.8) + math.log(0.6) + math.log(1 / 3)) / 3, rel=1e-5)


def test_smoothing_spreads_a_share_over_all_classes() -> None:
    value = build("class_label", THREE, label_smoothing=0.3)(said(LOGS[:1]), Signals(), labelled(0))
    assert value.item() == pytest.approx(-(0.8 * math.log(0.8) + 0.2 * math.log(0.1)), rel=1e-5)


def test_pictures_without_a_label_are_left_out_whatever_is_said_of_them() -> None:
    rows = [LOGS[0], [math.nan] * 3, LOGS[1]]
    mine = said(rows)
    value = build("class_label", THREE)(mine, Signals(), labelled(0, -1, 1))
    assert value.item() == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2, rel=1e-5)
    value.backward()
    assert mine[LOGITS].grad is not None
    assert torch.equal(mine[LOGITS].grad[1], torch.zeros(3))
    nobody = build("class_label", THREE)(mine, Signals(), labelled(-1, -1, -1))
    assert nobody.item() == 0


def test_equal_logits_cost_what_guessing_does() -> None:
    for smoothing in (0.0, 0.2):
        loss = build("class_label", THREE, label_smoothing=smoothing)
        assert loss.guessing(64) == pytest.approx(math.log(3))
        equal = loss(said([[5.0, 5.0, 5.0]]), Signals(), labelled(1)).item()
        assert equal == pytest.approx(math.log(3), rel=1e-6)


def test_labels_ask_nothing_of_a_teacher() -> None:
    loss = build("class_label", THREE, source={})
    assert loss.needs.source == NOTHING
    assert loss.needs.fields == {"picture.label"}
    with pytest.raises(PluginError, match=r"label_smoothing: got 1\.5"):
        ClassLabel.Config(label_smoothing=1.5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_divergence_from_the_teachers_classes_by_hand(temperature: float) -> None:
    # the teacher's row of equal logits stays equal at any temperature
    value = build("class_logit", THREE, THREE, temperature=temperature)(
        said(LOGS[:1]), said(LOGS[2:]), labelled(0)
    )
    heights = [8 ** (1 / temperature), 1.0, 1.0]
    shares = [height / sum(heights) for height in heights]
    expected = temperature**2 * sum(math.log(1 / 3 / share) / 3 for share in shares)
    assert value.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_squares_of_logits_over_the_temperature_by_hand(temperature: float) -> None:
    loss = build("class_logit", THREE, THREE, form="mse", temperature=temperature)
    value = loss(said(LOGS[:2]), said(LOGS[2:] * 2), labelled(0, 1))
    expected = (math.log(8) ** 2 + math.log(3) ** 2) / 6 / temperature**2
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "other", [names("cat", "dog"), names("dog", "cat", "eel"), {LOGITS: Offer(axes=("C",), sizes=(3,))}]
)
def test_other_classes_are_told_and_the_loss_is_left_out(other: Offers) -> None:
    ends = Ends(name="class_logit", student=THREE, source=other)
    told = pair_lack(ClassLogit, ClassLogit.Config(), ends)
    assert told is not None
    assert THREE[LOGITS].meaning in told
    assert (other[LOGITS].meaning or "nothing told") in told
    assert f"the student's 3 stand for {THREE[LOGITS].meaning}" in told
    assert told.endswith("left out for it.")
    with pytest.raises(ShapeError, match=r"losses\.class_logit: compares image\.logits"):
        build("class_logit", THREE, other)


def test_equal_classes_are_no_reason_and_a_lack_of_the_teacher_is_not_the_students() -> None:
    ends = Ends(name="class_logit", student=STUDENT, source=TEACHER)
    assert pair_lack(ClassLogit, ClassLogit.Config(), ends) is None
    bare = Ends(name="class_logit", student={}, source={})
    assert pair_lack(ClassLogit, ClassLogit.Config(), bare) is None
