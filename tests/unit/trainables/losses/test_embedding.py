from typing import Any

import pytest
import torch
from torch import nn

from tests.tolerance import close
from tests.unit.trainables.losses.factory import make_batch, make_outputs, student_config, teacher_config
from trainables.losses.image_embedding import ImageEmbedding
from trainables.losses.text_embedding import TextEmbedding
from trainables.outputs import ImageOutputs, Outputs

BOTH = pytest.mark.parametrize("kind", [ImageEmbedding, TextEmbedding])


def test_costs_one_minus_the_cosine_by_hand() -> None:
    mine = Outputs(image=ImageOutputs(embedding_BE=torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])))
    theirs = Outputs(image=ImageOutputs(embedding_BE=torch.tensor([[1.0, 0.0], [0.0, -1.0], [1.0, 0.0]])))
    loss = ImageEmbedding(ImageEmbedding.Config(), student_config(), teacher_config())
    close(loss(mine, theirs, make_batch(3)), (0 + 2 + 0.4) / 3, ops=3 * 2 + 3)


@BOTH
def test_is_zero_for_equal_models(kind: type[Any]) -> None:
    batch = make_batch()
    mine = make_outputs(student_config(), batch)
    loss = kind(kind.Config(), student_config(), teacher_config())
    close(loss(mine, mine, batch), 0.0, ops=3 * 16, size=1.0)  # a product and two norms; 1 - 1
    assert not list(loss.parameters())


@BOTH
def test_projects_the_student_where_lengths_differ(kind: type[Any]) -> None:
    student, teacher, batch = student_config(embedding=12), teacher_config(), make_batch()
    loss = kind(kind.Config(), student, teacher)
    mine, theirs = make_outputs(student, batch), make_outputs(teacher, batch, seed=2)
    (weight,) = loss.parameters()
    assert weight.shape == (16, 12)
    mode = "image" if kind is ImageEmbedding else "text"
    a, b = getattr(mine, mode).embedding_BE, getattr(theirs, mode).embedding_BE
    expected = 0.0
    for x, y in zip(a, b, strict=True):
        projected = weight @ x
        expected += (1 - projected.dot(y) / projected.norm() / y.norm()).item() / len(a)
    close(loss(mine, theirs, batch), expected, ops=12 + 3 * 16)  # the projection, a product and two norms


@BOTH
def test_weighs_what_the_measurements_found(kind: type[Any]) -> None:
    assert kind.Config().weight == 20


def test_projection_is_part_of_the_losss_state() -> None:
    loss = ImageEmbedding(ImageEmbedding.Config(), student_config(embedding=12), teacher_config())
    assert list(loss.state_dict()) == ["match.projection.weight"]
    assert isinstance(loss, nn.Module)
