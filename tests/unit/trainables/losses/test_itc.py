import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spaces.errors import PluginError
from tests.unit.trainables.losses.factory import (
    EPS,
    STUDENT,
    TEACHER,
    build,
    make_batch,
    make_signals,
    with_fields,
)
from trainables.losses.base import Loss
from trainables.losses.similarity.contrast import CONTRAST, IMAGE, TEMPERATURE, TEXT
from trainables.losses.similarity.itc import Itc
from trainables.signals import NOTHING, Batch, Signals


def signals(image: list[list[float]], text: list[list[float]], temperature: float) -> Signals:
    return Signals(
        {IMAGE: torch.tensor(image), TEXT: torch.tensor(text), TEMPERATURE: torch.tensor(temperature)}
    )


def batch_of(captions: list[int], pictures: list[int]) -> Batch:
    batch = with_fields(make_batch(len(captions)), caption_key=torch.tensor(captions))
    return replace(batch, rows={**batch.rows, "picture": torch.tensor(pictures)})


def contrast(**options: float) -> Loss:
    return build("itc", **options)


PAIRS = [[1.0, 0.0], [0.0, 1.0]]


def test_two_orthogonal_pairs_cost_what_the_formula_says_by_hand() -> None:
    value = contrast()(signals(PAIRS, PAIRS, 0.5), Signals(), batch_of([0, 1], [0, 1]))
    assert value.item() == pytest.approx(math.log(1 + math.exp(-2)))  # logits 2 and 0


def test_rows_with_one_caption_share_the_target() -> None:
    value = contrast()(signals(PAIRS, PAIRS, 0.5), Signals(), batch_of([7, 7], [0, 1]))
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert value.item() == pytest.approx((right + wrong) / 2)


def test_rows_with_one_image_are_no_negatives_of_each_other() -> None:
    same_image = contrast()(signals(PAIRS, PAIRS, 0.5), Signals(), batch_of([0, 1], [5, 5]))
    same_caption = contrast()(signals(PAIRS, PAIRS, 0.5), Signals(), batch_of([5, 5], [0, 1]))
    assert torch.equal(same_image, same_caption)


def soft_reference(student: Signals, teacher: Signals, batch: Batch, alpha: float) -> float:
    """Return the loss with loops over rows, both directions."""
    captions, pictures = batch["caption.key"], batch.rows["picture"]
    total, rows = 0.0, len(captions)

    def scores(model: Signals, i: int, j: int) -> float:
        return ((model[IMAGE][i] * model[TEXT][j]).sum() / model[TEMPERATURE]).item()

    for flip in (False, True):
        for i in range(rows):
            pairs = [(j, i) if flip else (i, j) for j in range(rows)]
            mine = [math.exp(scores(student, *p)) for p in pairs]
            theirs = [math.exp(scores(teacher, *p)) for p in pairs]
            same = [float(captions[a] == captions[b] or pictures[a] == pictures[b]) for a, b in pairs]
            for j in range(rows):
                target = (1 - alpha) * same[j] / sum(same) + alpha * theirs[j] / sum(theirs)
                total -= target * math.log(mine[j] / sum(mine)) / rows / 2
    return total


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_soft_targets_mix_the_teachers_softmax_in(alpha: float) -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)
    value = contrast(soft_targets=alpha)(mine, theirs, batch)
    assert value.item() == pytest.approx(soft_reference(mine, theirs, batch, alpha), rel=1e-5)


def test_soft_targets_send_no_gradient_to_the_teacher() -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)
    contrast(soft_targets=0.4)(mine, theirs, batch).backward()
    assert all(theirs[want].grad is None for want in CONTRAST)


def test_wants_the_teacher_only_for_soft_targets() -> None:
    assert contrast().needs.source == NOTHING
    assert contrast(soft_targets=0.1).needs.source == contrast().needs.student == CONTRAST


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_refuses_soft_targets_that_are_no_share(alpha: float) -> None:
    with pytest.raises(PluginError, match=r"soft_targets: got .*0\.0 to 1\.0"):
        Itc.Config(soft_targets=alpha)


def test_logit_distillation_is_zero_for_equal_models() -> None:
    batch = make_batch()
    mine = make_signals(STUDENT, batch)
    assert build("itc_logit")(mine, mine, batch).item() == 0  # both go through the same steps


def test_logit_distillation_equals_the_divergence_of_the_two_softmaxes() -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)

    def rows(model: Signals) -> Tensor:
        return torch.exp(model[IMAGE] @ model[TEXT].T / model[TEMPERATURE])

    expected = 0.0
    for dim in (0, 1):
        p = rows(theirs) / rows(theirs).sum(dim, keepdim=True)
        q = rows(mine) / rows(mine).sum(dim, keepdim=True)
        expected += (p * (p / q).log()).sum().item() / len(p) / 2
    assert build("itc_logit")(mine, theirs, batch).item() == pytest.approx(expected, rel=1e-5)


def test_logit_distillation_keeps_each_models_own_temperature() -> None:
    # Half the cosines at half the temperature are the same distribution; its logits are 5 and 0.
    half = [[0.5, 0.0], [0.0, 0.5]]
    value = build("itc_logit")(
        signals(half, PAIRS, 0.1), signals(PAIRS, PAIRS, 0.2), batch_of([0, 1], [0, 1])
    )
    assert value.item() == pytest.approx(0, abs=4 * 5 * EPS)
