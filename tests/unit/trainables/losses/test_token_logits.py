import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spaces.errors import DatasetError, PluginError, ShapeError
from tests.unit.trainables.losses.factory import (
    EPS,
    STUDENT,
    TEACHER,
    VOCABULARY,
    build,
    make_batch,
    make_signals,
    offers_of,
    student_architecture,
    with_fields,
)
from trainables.losses.logits.token_logits import TokenLogits
from trainables.signals import Signals, Want

MODES = {"lm_logit": ("decoder", "caption"), "answer_logit": ("answer", "question")}
BOTH = pytest.mark.parametrize("name", MODES)


def logits(name: str) -> Want:
    return Want(MODES[name][0], "logits")


def divergence(target: Tensor, student: Tensor, temperature: float) -> float:
    """Return KL of two softened rows times the squared temperature, entry by entry."""
    p, q = ([math.exp(x / temperature) for x in row.tolist()] for row in (target, student))
    p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
    return temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_caption_divergence_equals_loops_over_real_next_tokens(temperature: float) -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)
    a, b = mine[logits("lm_logit")], theirs[logits("lm_logit")]
    costs = [
        divergence(b[row, position], a[row, position], temperature)
        for row in range(5)
        for position in range(int(batch["caption.mask"][row].sum()) - 1)
    ]
    value = build("lm_logit", temperature=temperature)(mine, theirs, batch)
    assert value.item() == pytest.approx(sum(costs) / len(costs), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_answer_divergence_equals_loops_over_answer_positions(temperature: float) -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)
    a, b = mine[logits("answer_logit")], theirs[logits("answer_logit")]
    asked = batch["question.targets"].nonzero().tolist()
    costs = [divergence(b[i, t], a[i, t], temperature) for i, t in asked]
    value = build("answer_logit", temperature=temperature)(mine, theirs, batch)
    assert value.item() == pytest.approx(sum(costs) / len(costs), rel=1e-5)


@BOTH
def test_is_zero_for_equal_models(name: str) -> None:
    batch = make_batch()
    mine = make_signals(STUDENT, batch)
    assert build(name)(mine, mine, batch).item() == 0  # both go through the same steps


@BOTH
def test_is_zero_where_logits_differ_by_a_constant(name: str) -> None:
    batch = make_batch()
    theirs = make_signals(TEACHER, batch)
    moved = Signals({logits(name): theirs[logits(name)].detach() + 3})
    largest = float(moved[logits(name)].abs().max())  # both log-softmaxes are rounded to this size
    assert build(name)(moved, theirs, batch).item() == pytest.approx(0, abs=2 * EPS * largest)


@BOTH
def test_refuses_two_vocabularies(name: str) -> None:
    other = offers_of(student_architecture(vocabulary=replace(VOCABULARY, size=40)))
    with pytest.raises(ShapeError, match=rf"losses\.{name}: .* in the student, .* in the teacher.*tokenizer"):
        build(name, other)


@BOTH
def test_refuses_two_vocabularies_of_one_size(name: str) -> None:
    other = offers_of(student_architecture(vocabulary=replace(VOCABULARY, sep=7)))
    with pytest.raises(ShapeError, match="both must agree"):
        build(name, other)


@BOTH
@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_refuses_a_temperature_that_is_none(name: str, temperature: float) -> None:
    with pytest.raises(PluginError, match=r"temperature: got .*above 0"):
        TokenLogits.Config(temperature=temperature)


@BOTH
def test_texts_are_needed(name: str) -> None:
    batch, field = make_batch(), f"{MODES[name][1]}.targets"
    bare = with_fields(batch, **{field.replace(".", "_"): None})
    with pytest.raises(DatasetError, match=f"has no {field}; the data gives .*Leave out the loss"):
        build(name)(make_signals(STUDENT, batch), make_signals(TEACHER, batch), bare)


def test_says_which_signal_was_not_filled() -> None:
    batch = make_batch()
    with pytest.raises(ValueError, match=r"decoder\.logits is not filled"):
        build("lm_logit")(make_signals(STUDENT, batch), Signals(), batch)


def test_large_logits_stay_finite() -> None:
    batch, want = make_batch(), logits("lm_logit")
    mine, theirs = (
        Signals({want: 1e4 * make_signals(offers, batch, seed=seed)[want].detach()})
        for offers, seed in ((STUDENT, 1), (TEACHER, 2))
    )
    assert torch.isfinite(build("lm_logit")(mine, theirs, batch))
