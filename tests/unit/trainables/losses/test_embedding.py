import pytest
import torch
from torch import nn

from tests.unit.trainables.losses.factory import (
    EPS,
    STUDENT,
    TEACHER,
    build,
    loss_class,
    make_batch,
    make_signals,
    offers_of,
    student_architecture,
)
from trainables.signals import Signals, Want

BOTH = pytest.mark.parametrize("mode", ["image", "text"])
SHORT = offers_of(student_architecture(embedding=12))


def test_costs_one_minus_the_cosine_by_hand() -> None:
    want = Want("image", "embedding")
    mine = Signals({want: torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])})
    theirs = Signals({want: torch.tensor([[1.0, 0.0], [0.0, -1.0], [1.0, 0.0]])})
    assert build("image_embedding")(mine, theirs, make_batch(3)).item() == pytest.approx((0 + 2 + 0.4) / 3)


@BOTH
def test_is_zero_for_equal_models(mode: str) -> None:
    batch = make_batch()
    mine = make_signals(STUDENT, batch)
    loss = build(f"{mode}_embedding", STUDENT, STUDENT)
    # norms and products of 16 numbers whose squares sum to 1
    assert loss(mine, mine, batch).item() == pytest.approx(0, abs=16 * EPS)
    assert not list(loss.parameters())


@BOTH
def test_projects_the_student_where_lengths_differ(mode: str) -> None:
    batch = make_batch()
    loss = build(f"{mode}_embedding", SHORT)
    mine, theirs = make_signals(SHORT, batch), make_signals(TEACHER, batch, seed=2)
    (weight,) = loss.parameters()
    assert weight.shape == (16, 12)
    a, b = mine[Want(mode, "embedding")], theirs[Want(mode, "embedding")]
    expected = 0.0
    for x, y in zip(a, b, strict=True):
        projected = weight @ x
        expected += (1 - projected.dot(y) / projected.norm() / y.norm()).item() / len(a)
    assert loss(mine, theirs, batch).item() == pytest.approx(expected, rel=1e-5)


@BOTH
def test_weighs_what_the_measurements_found(mode: str) -> None:
    assert loss_class(f"{mode}_embedding").Config().weight == 20


def test_projection_is_part_of_the_losss_state() -> None:
    loss = build("image_embedding", SHORT)
    assert list(loss.state_dict()) == ["projection.weight"]
    assert isinstance(loss, nn.Module)
