"""Similarities of pictures among themselves: `image_logit`, and `image_combined`."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tests.unit.trainables.losses.factory import (
    EPS,
    STUDENT,
    TEACHER,
    build,
    make_batch,
    make_signals,
    offers_of,
    student_architecture,
)
from trainables.losses.similarity.contrast import IMAGE, TEMPERATURE
from trainables.losses.similarity.image_combined import FIXED
from trainables.signals import Batch, Offer, Offers, Signals, Want

FLAT: Offers = {IMAGE: Offer(axes=("E",), sizes=(2,), rows="picture")}
LEARNS: Offers = {**FLAT, TEMPERATURE: Offer()}


def at(*degrees: float) -> Signals:
    """Return unit vectors in the plane: the cosine of two is that of the angle between them."""
    angles = torch.tensor(degrees).deg2rad()
    return Signals({IMAGE: torch.stack([angles.cos(), angles.sin()], 1).requires_grad_()})


def pictures(*numbers: int) -> Batch:
    batch = make_batch(len(numbers))
    return replace(batch, rows={**batch.rows, "picture": torch.tensor(numbers)})


def softmax(values: Sequence[float]) -> list[float]:
    total = sum(map(math.exp, values))
    return [math.exp(value) / total for value in values]


def kl(target: Sequence[float], mine: Sequence[float]) -> float:
    return sum(p * math.log(p / q) for p, q in zip(target, mine, strict=True))


def test_three_pictures_by_hand() -> None:
    # cosines of the student 1/2 (0, 60), 0 (0, 90), sqrt(3)/2 (60, 90); the teacher's three are all -1/2: halves
    half, root = math.cos(math.radians(60)), math.cos(math.radians(30))
    value = build("image_logit", FLAT, FLAT, temperature=0.5, teacher_temperature=0.2)(
        at(0, 60, 90), at(0, 120, 240), pictures(0, 1, 2)
    )
    rows = [softmax([half / 0.5, 0.0]), softmax([half / 0.5, root / 0.5]), softmax([0.0, root / 0.5])]
    assert value.item() == pytest.approx(sum(kl([0.5, 0.5], row) for row in rows) / 3, rel=1e-5)


def test_the_squared_form_by_hand() -> None:
    half, root = math.cos(math.radians(60)), math.cos(math.radians(30))
    loss = build("image_logit", FLAT, FLAT, form="mse", temperature=1.0, teacher_temperature=1.0)
    value = loss(at(0, 60, 90), at(0, 120, 240), pictures(0, 1, 2))
    assert value.item() == pytest.approx(((half + 0.5) ** 2 + 0.5**2 + (root + 0.5) ** 2) / 3, rel=1e-5)
    tenth = build("image_logit", FLAT, FLAT, form="mse")(at(0, 60, 90), at(0, 120, 240), pictures(0, 1, 2))
    assert tenth.item() == pytest.approx(100 * value.item(), rel=1e-5)


@pytest.mark.parametrize("form", ["kl", "mse"])
def test_the_diagonal_says_nothing(form: str) -> None:
    # Two pictures: each has one other, to which all probability goes, and the cosine of which is all that counts.
    value = build("image_logit", FLAT, FLAT, form=form, temperature=1.0, teacher_temperature=1.0)(
        at(0, 90), at(0, 60), pictures(0, 1)
    )
    assert value.item() == pytest.approx(0.0 if form == "kl" else 0.25, abs=1e-6)


@pytest.mark.parametrize("form", ["kl", "mse"])
def test_rows_of_one_picture_are_no_others_of_each_other(form: str) -> None:
    loss = build("image_logit", FLAT, FLAT, form=form)
    twice = loss(at(0, 0, 60, 90), at(0, 0, 120, 240), pictures(4, 4, 1, 2))
    rows = {
        "kl": [  # by hand, each row over those of other pictures
            *2 * [([-0.5, -0.5], [0.5, 0.0])],
            ([-0.5, -0.5, -0.5], [0.5, 0.5, math.cos(math.radians(30))]),
            ([-0.5, -0.5, -0.5], [0.0, 0.0, math.cos(math.radians(30))]),
        ]
    }.get(form)
    if rows is None:
        squares = [1.0, 0.25] * 2 + [1.0, 1.0, (0.5 + math.cos(math.radians(30))) ** 2]
        squares += [0.25, 0.25, (0.5 + math.cos(math.radians(30))) ** 2]
        expected = 100 * sum(squares) / len(squares)
    else:
        costs = [kl(softmax([10 * v for v in t]), softmax([10 * v for v in s])) for t, s in rows]
        expected = sum(costs) / 4
    assert twice.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("form", ["kl", "mse"])
@pytest.mark.parametrize("numbers", [(3,), (3, 3, 3), (3, 3, 3, 8)])
def test_a_batch_of_one_picture_costs_nothing_and_no_row_makes_it_nan(
    form: str, numbers: tuple[int, ...]
) -> None:
    mine = at(0, 60, 90, 10)
    mine = Signals({IMAGE: mine[IMAGE][: len(numbers)].detach().requires_grad_()})
    theirs = Signals({IMAGE: at(0, 120, 240, 10)[IMAGE][: len(numbers)]})
    value = build("image_logit", FLAT, FLAT, form=form)(mine, theirs, pictures(*numbers))
    value.backward()
    gradient = mine[IMAGE].grad
    assert gradient is not None
    assert gradient.isfinite().all()
    if len(set(numbers)) == 1:
        assert value.item() == 0
    else:
        assert value.isfinite()


def test_a_sharp_temperature_stays_finite() -> None:
    mine = at(0, 60, 180)
    value = build("image_logit", FLAT, FLAT, temperature=1e-30, teacher_temperature=1e-3)(
        mine, at(0, 90, 200), pictures(0, 1, 2)
    )
    value.backward()
    assert value.isfinite()


def test_is_zero_for_equal_pictures_and_takes_embeddings_of_other_lengths() -> None:
    batch, short = make_batch(), offers_of(student_architecture(embedding=5))
    mine = make_signals(STUDENT, batch)
    assert build("image_logit")(mine, mine, batch).item() == 0
    value = build("image_logit", short)(make_signals(short, batch), make_signals(TEACHER, batch), batch)
    assert value > 0


def found_by_hand(mine: Tensor, theirs: Tensor, same: Sequence[Sequence[int]], temperature: float) -> float:
    """Return the mean cross entropy of finding the teacher's embedding of the same picture, with loops."""
    total = 0.0
    for row, others in enumerate(same):
        chances = softmax([(mine[row] @ other).item() / temperature for other in theirs])
        total -= sum(math.log(chances[other]) for other in others) / len(others)
    return total / len(same)


def test_two_pictures_find_their_own_by_hand() -> None:
    # cosines 1 with the own, 0 with the other, over 0.07; both rows of the KL have one other, so it is 0
    value = build("image_combined", FLAT, FLAT)(at(0, 90), at(0, 90), pictures(0, 1))
    assert pytest.approx(0.07) == FIXED
    assert value.item() == pytest.approx(0.5 * math.log(1 + math.exp(-1 / 0.07)), abs=EPS)
    swapped = build("image_combined", FLAT, FLAT)(at(90, 0), at(0, 90), pictures(0, 1))
    assert swapped.item() == pytest.approx(0.5 * (1 / 0.07 + math.log(1 + math.exp(-1 / 0.07))), rel=1e-5)


def test_rows_of_one_picture_share_the_target() -> None:
    mine, theirs = at(10, 20, 80), at(0, 5, 90)
    value = build("image_combined", FLAT, FLAT, alpha=0.0)(mine, theirs, pictures(6, 6, 1))
    expected = found_by_hand(mine[IMAGE], theirs[IMAGE], [[0, 1], [0, 1], [2]], 0.07)
    assert value.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_is_the_weighed_sum_of_both(alpha: float) -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)
    same = [[0, 1], [0, 1], [2], [3], [4]]
    contrast = found_by_hand(mine[IMAGE], theirs[IMAGE], same, mine[TEMPERATURE].item())
    related = build("image_logit", temperature=0.3, teacher_temperature=0.2)(mine, theirs, batch).item()
    value = build("image_combined", alpha=alpha, temperature=0.3, teacher_temperature=0.2)(
        mine, theirs, batch
    )
    assert value.item() == pytest.approx((1 - alpha) * contrast + alpha * related, rel=1e-4)


def test_the_students_own_temperature_is_learned_where_it_has_one() -> None:
    assert build("image_combined", FLAT, FLAT).needs.student == {IMAGE}
    assert build("image_combined", LEARNS, FLAT).needs.student == {IMAGE, TEMPERATURE}
    assert build("image_combined", LEARNS, FLAT, alpha=1.0).needs.student == {IMAGE}
    mine = at(0, 90)
    mine[TEMPERATURE] = torch.tensor(0.5, requires_grad=True)
    value = build("image_combined", LEARNS, FLAT, alpha=0.0)(mine, at(0, 90), pictures(0, 1))
    value.backward()
    assert value.item() == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-5)
    assert mine[TEMPERATURE].grad is not None
    assert mine[TEMPERATURE].grad > 0  # a sharper contrast would cost less


def test_embeddings_of_another_length_are_projected_on_the_students_side() -> None:
    batch, short = make_batch(), offers_of(student_architecture(embedding=5))
    loss = build("image_combined", short, alpha=0.0)
    mine, theirs = make_signals(short, batch), make_signals(TEACHER, batch, seed=2)
    (weight,) = loss.parameters()
    assert weight.shape == (16, 5)
    projected = normalize(mine[IMAGE] @ weight.T, dim=-1)
    same = [[0, 1], [0, 1], [2], [3], [4]]
    expected = found_by_hand(projected, theirs[IMAGE], same, mine[TEMPERATURE].item())
    assert loss(mine, theirs, batch).item() == pytest.approx(expected, rel=1e-4)
    assert list(build("image_combined", short, alpha=1.0).parameters()) == []


def test_names_what_a_model_without_embedding_lacks() -> None:
    needs = build("image_combined").needs
    assert needs.source == {Want("image", "embedding")}
    assert needs.fields == frozenset()
