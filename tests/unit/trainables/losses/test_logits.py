import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from spaces.errors import DatasetError, PluginError, ShapeError
from tests.tolerance import close
from tests.unit.trainables.losses.factory import (
    VOCABULARY,
    make_batch,
    make_outputs,
    student_config,
    teacher_config,
)
from trainables.losses.answer_logit import AnswerLogit
from trainables.losses.lm_logit import LmLogit
from trainables.outputs import Outputs

OPS = 3 * 23 + 5 * 7  # two softmaxes and a sum over the vocabulary, a mean over tokens
SIZE = 8.0  # logits lie within 4 of zero; their differences cancel to a divergence
SIZES = student_config(), teacher_config()
BOTH = pytest.mark.parametrize("kind", [LmLogit, AnswerLogit])
Kind = type[Any]


def divergence(target: Tensor, student: Tensor, temperature: float) -> float:
    """Return KL of two softened rows times the squared temperature, entry by entry."""
    p, q = ([math.exp(x / temperature) for x in row.tolist()] for row in (target, student))
    p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
    return temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_caption_divergence_equals_loops_over_real_next_tokens(temperature: float) -> None:
    batch = make_batch()
    mine, theirs = make_outputs(SIZES[0], batch), make_outputs(SIZES[1], batch, seed=2)
    assert mine.decoder
    assert theirs.decoder
    a, b = mine.decoder.logits_BTV, theirs.decoder.logits_BTV
    assert a is not None
    assert b is not None
    costs = [
        divergence(b[row, position], a[row, position], temperature)
        for row in range(5)
        for position in range(int(batch.caption_mask[row].sum()) - 1)
    ]
    value = LmLogit(LmLogit.Config(temperature=temperature), *SIZES)(mine, theirs, batch)
    close(value, sum(costs) / len(costs), ops=OPS, size=temperature**2 * SIZE)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_answer_divergence_equals_loops_over_answer_positions(temperature: float) -> None:
    batch = make_batch()
    mine, theirs = make_outputs(SIZES[0], batch), make_outputs(SIZES[1], batch, seed=2)
    assert mine.answer
    assert theirs.answer
    a, b = mine.answer.logits_BTV, theirs.answer.logits_BTV
    assert a is not None
    assert b is not None
    assert batch.answer_mask is not None
    costs = [divergence(b[i, t], a[i, t], temperature) for i, t in batch.answer_mask.nonzero().tolist()]
    value = AnswerLogit(AnswerLogit.Config(temperature=temperature), *SIZES)(mine, theirs, batch)
    close(value, sum(costs) / len(costs), ops=OPS, size=temperature**2 * SIZE)


@BOTH
def test_is_zero_for_equal_models(kind: Kind) -> None:
    batch = make_batch()
    mine = make_outputs(SIZES[0], batch)
    close(kind(kind.Config(), *SIZES)(mine, mine, batch), 0.0, ops=OPS, size=SIZE)


@BOTH
def test_is_zero_where_logits_differ_by_a_constant(kind: Kind) -> None:
    batch = make_batch()
    mine, theirs = make_outputs(SIZES[0], batch), make_outputs(SIZES[1], batch, seed=1)
    assert mine.decoder
    assert mine.answer
    assert theirs.decoder
    assert theirs.answer
    for part, target in ((mine.decoder, theirs.decoder), (mine.answer, theirs.answer)):
        assert target.logits_BTV is not None
        part.logits_BTV = target.logits_BTV.detach() + 3
    close(kind(kind.Config(), *SIZES)(mine, theirs, batch), 0.0, ops=OPS, size=SIZE)


@BOTH
def test_refuses_two_vocabularies(kind: Kind) -> None:
    other = student_config(vocabulary=replace(VOCABULARY, size=40))
    with pytest.raises(ShapeError, match=r"vocabulary: the student has .*tokenizer"):
        kind(kind.Config(), other, teacher_config())


@BOTH
@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_refuses_a_temperature_that_is_none(kind: Kind, temperature: float) -> None:
    with pytest.raises(PluginError, match=r"temperature: got .*above 0"):
        kind.Config(temperature=temperature)


def test_answers_need_questions() -> None:
    batch = make_batch()
    both = make_outputs(SIZES[0], batch), make_outputs(SIZES[1], batch)
    with pytest.raises(DatasetError, match="no questions and answers"):
        AnswerLogit(AnswerLogit.Config(), *SIZES)(*both, replace(batch, question_ids=None, answer_mask=None))


def test_says_which_model_did_not_fill_the_logits() -> None:
    batch = make_batch()
    with pytest.raises(ValueError, match="decoder is not filled"):
        LmLogit(LmLogit.Config(), *SIZES)(make_outputs(SIZES[0], batch), Outputs(), batch)


def test_large_logits_stay_finite() -> None:
    batch = make_batch()
    mine, theirs = make_outputs(SIZES[0], batch), make_outputs(SIZES[1], batch, seed=2)
    assert mine.decoder
    assert theirs.decoder
    for part in (mine.decoder, theirs.decoder):
        assert part.logits_BTV is not None
        part.logits_BTV = part.logits_BTV.detach() * 1e4
    assert torch.isfinite(LmLogit(LmLogit.Config(), *SIZES)(mine, theirs, batch))
