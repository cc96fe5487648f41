import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spaces.errors import PluginError
from tests.tolerance import close
from tests.unit.trainables.losses.factory import make_batch, make_outputs, student_config, teacher_config
from trainables.losses.itc import Itc
from trainables.losses.itc_logit import ItcLogit
from trainables.outputs import Batch, ImageOutputs, Outputs, TextOutputs


def outputs(image: list[list[float]], text: list[list[float]], temperature: float) -> Outputs:
    mask = torch.ones(len(text), 1, dtype=torch.bool)
    return Outputs(
        image=ImageOutputs(embedding_BE=torch.tensor(image)),
        text=TextOutputs(mask_BT=mask, embedding_BE=torch.tensor(text)),
        temperature=torch.tensor(temperature),
    )


def batch_of(captions: list[int], images: list[int]) -> Batch:
    batch = make_batch(len(captions))
    return replace(batch, caption_keys=torch.tensor(captions), image_keys=torch.tensor(images))


def contrast(**options: float) -> Itc:
    return Itc(Itc.Config(**options), student_config(), teacher_config())


OPS = 16 + 3 * 5  # a product, and softmaxes over five rows
SIZE = 10.0  # logits: cosines over a temperature of 0.1 and more
PAIRS = [[1.0, 0.0], [0.0, 1.0]]


def test_two_orthogonal_pairs_cost_what_the_formula_says_by_hand() -> None:
    value = contrast()(outputs(PAIRS, PAIRS, 0.5), Outputs(), batch_of([0, 1], [0, 1]))
    close(value, math.log(1 + math.exp(-2)), ops=OPS, size=2.0)  # logits 2 and 0


def test_rows_with_one_caption_share_the_target() -> None:
    value = contrast()(outputs(PAIRS, PAIRS, 0.5), Outputs(), batch_of([7, 7], [0, 1]))
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    close(value, (right + wrong) / 2, ops=OPS, size=SIZE)


def test_rows_with_one_image_are_no_negatives_of_each_other() -> None:
    same_image = contrast()(outputs(PAIRS, PAIRS, 0.5), Outputs(), batch_of([0, 1], [5, 5]))
    same_caption = contrast()(outputs(PAIRS, PAIRS, 0.5), Outputs(), batch_of([5, 5], [0, 1]))
    assert torch.equal(same_image, same_caption)


def soft_reference(student: Outputs, teacher: Outputs, batch: Batch, alpha: float) -> float:
    """Return the loss with loops over rows, both directions."""
    assert student.image
    assert student.text
    assert teacher.image
    assert teacher.text
    total, rows = 0.0, len(batch.caption_keys)

    def scores(model: Outputs, i: int, j: int) -> float:
        assert model.image
        assert model.text
        assert model.temperature is not None
        image, text = model.image.embedding_BE, model.text.embedding_BE
        assert image is not None
        assert text is not None
        return ((image[i] * text[j]).sum() / model.temperature).item()

    for flip in (False, True):
        for i in range(rows):
            pairs = [(j, i) if flip else (i, j) for j in range(rows)]
            mine = [math.exp(scores(student, *p)) for p in pairs]
            theirs = [math.exp(scores(teacher, *p)) for p in pairs]
            same = [
                float(
                    batch.caption_keys[a] == batch.caption_keys[b]
                    or batch.image_keys[a] == batch.image_keys[b]
                )
                for a, b in pairs
            ]
            for j in range(rows):
                target = (1 - alpha) * same[j] / sum(same) + alpha * theirs[j] / sum(theirs)
                total -= target * math.log(mine[j] / sum(mine)) / rows / 2
    return total


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_soft_targets_mix_the_teachers_softmax_in(alpha: float) -> None:
    batch = make_batch()
    mine, theirs = make_outputs(student_config(), batch), make_outputs(teacher_config(), batch, seed=2)
    value = contrast(soft_targets=alpha)(mine, theirs, batch)
    close(value, soft_reference(mine, theirs, batch, alpha), ops=OPS, size=SIZE)


def test_soft_targets_send_no_gradient_to_the_teacher() -> None:
    batch = make_batch()
    mine, theirs = make_outputs(student_config(), batch), make_outputs(teacher_config(), batch, seed=2)
    contrast(soft_targets=0.4)(mine, theirs, batch).backward()
    assert theirs.image is not None
    assert theirs.image.embedding_BE is not None
    assert theirs.image.embedding_BE.grad is None
    assert theirs.temperature is not None
    assert theirs.temperature.grad is None


def test_wants_the_teacher_only_for_soft_targets() -> None:
    assert contrast().teacher_wants == frozenset()
    assert contrast(soft_targets=0.1).teacher_wants == contrast().student_wants


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_refuses_soft_targets_that_are_no_share(alpha: float) -> None:
    with pytest.raises(PluginError, match=r"soft_targets: got .*0\.0 to 1\.0"):
        Itc.Config(soft_targets=alpha)


def itc_logit() -> ItcLogit:
    return ItcLogit(ItcLogit.Config(), student_config(), teacher_config())


def test_logit_distillation_is_zero_for_equal_models() -> None:
    batch = make_batch()
    mine = make_outputs(student_config(), batch)
    close(itc_logit()(mine, mine, batch), 0.0, ops=OPS, size=SIZE)


def test_logit_distillation_equals_the_divergence_of_the_two_softmaxes() -> None:
    batch = make_batch()
    mine, theirs = make_outputs(student_config(), batch), make_outputs(teacher_config(), batch, seed=2)

    def rows(model: Outputs) -> Tensor:
        assert model.image
        assert model.text
        assert model.temperature is not None
        assert model.image.embedding_BE is not None
        assert model.text.embedding_BE is not None
        return torch.exp(model.image.embedding_BE @ model.text.embedding_BE.T / model.temperature)

    expected = 0.0
    for dim in (0, 1):
        p = rows(theirs) / rows(theirs).sum(dim, keepdim=True)
        q = rows(mine) / rows(mine).sum(dim, keepdim=True)
        expected += (p * (p / q).log()).sum().item() / len(p) / 2
    close(itc_logit()(mine, theirs, batch), expected, ops=OPS, size=SIZE)


def test_logit_distillation_keeps_each_models_own_temperature() -> None:
    # Half the cosines at half the temperature are the same distribution.
    half = [[0.5, 0.0], [0.0, 0.5]]
    value = itc_logit()(outputs(half, PAIRS, 0.1), outputs(PAIRS, PAIRS, 0.2), batch_of([0, 1], [0, 1]))
    close(value, 0.0, ops=OPS, size=SIZE)
