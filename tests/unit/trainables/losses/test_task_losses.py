import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spaces.errors import DatasetError, PluginError
from tests.tolerance import close
from tests.unit.trainables.losses.factory import make_batch, make_outputs, student_config, teacher_config
from trainables.losses.itm import Itm
from trainables.losses.lm import Lm
from trainables.losses.vqa import Vqa
from trainables.outputs import DecoderOutputs, FusedOutputs, Outputs

SIZES = student_config(), teacher_config()


def test_matching_costs_what_the_formula_says_by_hand() -> None:
    fused = FusedOutputs(
        mask_NT=torch.ones(3, 1, dtype=torch.bool),
        logits_N2=torch.tensor([[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]]),
        labels_N=torch.tensor([1, 0, 0]),
    )
    value = Itm(Itm.Config(), *SIZES)(Outputs(fused=fused), Outputs(), make_batch(1))
    by_hand = [math.log(1 + math.exp(-1)), math.log(2), math.log(1 + math.exp(-2))]
    close(value, sum(by_hand) / 3, ops=4)


def test_matching_that_always_answers_the_mix_of_one_to_two_costs_its_entropy() -> None:
    logits = torch.tensor([2.0, 1.0]).log().expand(6, 2)
    fused = FusedOutputs(
        mask_NT=torch.ones(6, 1, dtype=torch.bool),
        logits_N2=logits,
        labels_N=torch.tensor([1, 1, 0, 0, 0, 0]),
    )
    value = Itm(Itm.Config(), *SIZES)(Outputs(fused=fused), Outputs(), make_batch(2))
    assert value.item() == pytest.approx(0.6365, abs=5e-5)  # four digits by hand


def token_cost(logits_V: Tensor, target: int, smoothing: float) -> float:
    """Return the smoothed cross entropy of one token, written out."""
    probabilities = [math.exp(x) for x in logits_V.tolist()]
    logs = [math.log(p / sum(probabilities)) for p in probabilities]
    return -(1 - smoothing) * logs[target] - smoothing * sum(logs) / len(logs)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_captioning_is_the_mean_over_real_next_tokens(smoothing: float) -> None:
    batch = make_batch()
    mine = make_outputs(SIZES[0], batch)
    assert mine.decoder is not None
    assert mine.decoder.logits_BTV is not None
    costs = []
    for row, ids in enumerate(batch.caption_ids.tolist()):
        length = int(batch.caption_mask[row].sum())
        for position in range(length - 1):
            costs.append(token_cost(mine.decoder.logits_BTV[row, position], ids[position + 1], smoothing))
    value = Lm(Lm.Config(label_smoothing=smoothing), *SIZES)(mine, Outputs(), batch)
    close(value, sum(costs) / len(costs), ops=23 + len(costs))  # the vocabulary, the tokens


def test_captioning_smooths_labels_by_a_tenth_as_blip_does() -> None:
    assert Lm.Config().label_smoothing == 0.1


def test_captioning_ignores_the_ids_behind_the_caption() -> None:
    batch = make_batch()
    mine, lm = make_outputs(SIZES[0], batch), Lm(Lm.Config(), *SIZES)
    changed = replace(batch, caption_ids=batch.caption_ids.masked_fill(~batch.caption_mask, 9))
    assert torch.equal(lm(mine, Outputs(), changed), lm(mine, Outputs(), batch))


def test_answering_sums_over_answer_tokens_and_averages_over_questions() -> None:
    batch = make_batch()
    mine = make_outputs(SIZES[0], batch)
    assert mine.answer is not None
    assert mine.answer.logits_BTV is not None
    assert batch.question_ids is not None
    assert batch.answer_mask is not None
    total = 0.0
    for row, position in batch.answer_mask.nonzero().tolist():
        target = int(batch.question_ids[row, position + 1])
        total += token_cost(mine.answer.logits_BTV[row, position], target, 0.0)
    value = Vqa(Vqa.Config(), *SIZES)(mine, Outputs(), batch)
    close(value, total / len(batch.question_ids), ops=23 + len(batch.question_ids))


def test_answering_counts_rows_without_an_answer_nowhere() -> None:
    batch, vqa = make_batch(), Vqa(Vqa.Config(), *SIZES)
    mine = make_outputs(SIZES[0], batch)
    assert batch.answer_mask is not None
    half = replace(batch, answer_mask=batch.answer_mask & (torch.arange(5) < 2)[:, None])
    assert mine.answer is not None
    assert mine.answer.logits_BTV is not None
    first = Outputs(
        answer=DecoderOutputs(mask_BT=mine.answer.mask_BT[:2], logits_BTV=mine.answer.logits_BTV[:2])
    )
    alone = replace(make_batch(), question_ids=batch.question_ids[:2], answer_mask=batch.answer_mask[:2])  # type: ignore[index]
    close(vqa(mine, Outputs(), half), vqa(first, Outputs(), alone), ops=23 + 5)


def test_answering_is_zero_and_differentiable_where_nobody_asks() -> None:
    batch = make_batch()
    mine = make_outputs(SIZES[0], batch)
    assert batch.answer_mask is not None
    value = Vqa(Vqa.Config(), *SIZES)(
        mine, Outputs(), replace(batch, answer_mask=torch.zeros_like(batch.answer_mask))
    )
    value.backward()
    assert value.item() == 0
    assert mine.answer is not None
    assert mine.answer.logits_BTV is not None
    assert mine.answer.logits_BTV.grad is not None
    assert not mine.answer.logits_BTV.grad.any()


def test_answering_says_that_the_data_set_has_no_questions() -> None:
    batch = replace(make_batch(), question_ids=None, question_mask=None, answer_mask=None)
    with pytest.raises(DatasetError, match=r"no questions and answers.*losses\.vqa"):
        Vqa(Vqa.Config(), *SIZES)(make_outputs(SIZES[0], make_batch()), Outputs(), batch)


@pytest.mark.parametrize("config", [Lm.Config, Vqa.Config])
def test_refuses_label_smoothing_above_one(config: type[Lm.Config] | type[Vqa.Config]) -> None:
    with pytest.raises(PluginError, match=r"label_smoothing: got 1\.5"):
        config(label_smoothing=1.5)
