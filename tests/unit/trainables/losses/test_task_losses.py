import math

import pytest
import torch
from torch import Tensor

from spaces.errors import DatasetError, PluginError
from tests.unit.trainables.losses.factory import (
    EPS,
    STUDENT,
    TEACHER,
    build,
    make_batch,
    make_signals,
    with_fields,
)
from trainables.losses.logits.itm import LABELS, LOGITS
from trainables.losses.logits.tokens import Lm, Vqa
from trainables.losses.similarity.contrast import IMAGE, TEMPERATURE, TEXT
from trainables.signals import Batch, Signals, Want

CAPTIONS, ANSWERS = Want("decoder", "logits"), Want("answer", "logits")
NOBODY = Signals()


def test_matching_costs_what_the_formula_says_by_hand() -> None:
    met = Signals(
        {
            LOGITS: torch.tensor([[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]]),
            LABELS: torch.tensor([1, 0, 0]),
        }
    )
    value = build("itm")(met, NOBODY, make_batch(1))
    by_hand = [math.log(1 + math.exp(-1)), math.log(2), math.log(1 + math.exp(-2))]
    assert value.item() == pytest.approx(sum(by_hand) / 3)


def test_matching_that_always_answers_the_mix_of_one_to_two_costs_its_entropy() -> None:
    met = Signals(
        {
            LOGITS: torch.tensor([2.0, 1.0]).log().expand(6, 2),
            LABELS: torch.tensor([1, 1, 0, 0, 0, 0]),
        }
    )
    value = build("itm")(met, NOBODY, make_batch(2))
    assert value.item() == pytest.approx(0.6365, abs=1e-4)
    assert value.item() == pytest.approx(build("itm").guessing(2), abs=8 * EPS)


def test_contrast_that_finds_all_pairs_alike_costs_the_logarithm_of_the_batch() -> None:
    batch, same = make_batch(3), torch.ones(3, 4) / 2
    alike = Signals({IMAGE: same, TEXT: same, TEMPERATURE: torch.tensor(0.07)})
    assert build("itc").guessing(3) == pytest.approx(math.log(3))
    assert build("itc")(alike, NOBODY, batch).item() == pytest.approx(math.log(3), abs=1e-5)


def test_words_have_no_value_of_guessing() -> None:
    assert build("lm").guessing(64) is None


def token_cost(logits_V: Tensor, target: int, smoothing: float) -> float:
    """Return the smoothed cross entropy of one token, written out."""
    probabilities = [math.exp(x) for x in logits_V.tolist()]
    logs = [math.log(p / sum(probabilities)) for p in probabilities]
    return -(1 - smoothing) * logs[target] - smoothing * sum(logs) / len(logs)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_captioning_is_the_mean_over_real_next_tokens(smoothing: float) -> None:
    batch = make_batch()
    mine = make_signals(STUDENT, batch)
    costs = []
    for row, ids in enumerate(batch["caption.ids"].tolist()):
        length = int(batch["caption.mask"][row].sum())
        for position in range(length - 1):
            costs.append(token_cost(mine[CAPTIONS][row, position], ids[position + 1], smoothing))
    value = build("lm", label_smoothing=smoothing)(mine, NOBODY, batch)
    assert value.item() == pytest.approx(sum(costs) / len(costs), rel=1e-5)


def test_captioning_smooths_labels_by_a_tenth_as_blip_does() -> None:
    assert Lm.Config().label_smoothing == 0.1


def test_captioning_ignores_the_ids_behind_the_caption() -> None:
    batch = make_batch()
    mine, lm = make_signals(STUDENT, batch), build("lm")
    changed = with_fields(batch, caption_ids=batch["caption.ids"].masked_fill(~batch["caption.mask"], 9))
    assert torch.equal(lm(mine, NOBODY, changed), lm(mine, NOBODY, batch))


def test_answering_sums_over_answer_tokens_and_averages_over_questions() -> None:
    batch = make_batch()
    mine = make_signals(STUDENT, batch)
    total = 0.0
    for row, position in batch["question.targets"].nonzero().tolist():
        target = int(batch["question.ids"][row, position + 1])
        total += token_cost(mine[ANSWERS][row, position], target, 0.0)
    value = build("vqa")(mine, NOBODY, batch)
    assert value.item() == pytest.approx(total / len(batch["question.ids"]), rel=1e-5)


def test_answering_weighs_questions_and_divides_by_their_number() -> None:
    """As in Li et al. 2022 (code): weight x negative log-likelihood, summed, over the number of questions in the batch."""
    batch = make_batch()
    mine = make_signals(STUDENT, batch)
    weights = [1.0, 0.2, 0.2, 1.0, 0.5][: len(batch["question.ids"])]
    total = 0.0
    for row, position in batch["question.targets"].nonzero().tolist():
        target = int(batch["question.ids"][row, position + 1])
        total += weights[row] * token_cost(mine[ANSWERS][row, position], target, 0.0)
    batch.fields["question.weight"] = torch.tensor(weights)
    value = build("vqa")(mine, NOBODY, batch)
    assert value.item() == pytest.approx(total / len(weights), rel=1e-5)


def test_a_teachers_answers_are_weighed_like_true_ones() -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)
    weights, total, tokens = [1.0, 0.2, 0.2, 1.0, 0.5][: len(batch["question.ids"])], 0.0, 0
    for row, position in batch["question.targets"].nonzero().tolist():
        said, taught = (one[ANSWERS][row, position].double().log_softmax(-1) for one in (mine, theirs))
        total += weights[row] * (taught.exp() * (taught - said)).sum().item()
        tokens += 1
    batch.fields["question.weight"] = torch.tensor(weights)
    value = build("answer_logit")(mine, theirs, batch)
    assert value.item() == pytest.approx(total / tokens, rel=1e-4)


def test_answering_counts_rows_without_an_answer_nowhere() -> None:
    batch, vqa = make_batch(), build("vqa")
    mine = make_signals(STUDENT, batch)
    asked = batch["question.targets"]
    half = with_fields(batch, question_targets=asked & (torch.arange(5) < 2)[:, None])
    alone = Batch(fields={name: field[:2] for name, field in batch.fields.items()}, rows={})
    torch.testing.assert_close(
        vqa(mine, NOBODY, half), vqa(Signals({ANSWERS: mine[ANSWERS][:2]}), NOBODY, alone)
    )


def test_answering_is_zero_and_differentiable_where_nobody_asks() -> None:
    batch = make_batch()
    mine = make_signals(STUDENT, batch)
    nobody_asks = with_fields(batch, question_targets=torch.zeros_like(batch["question.targets"]))
    value = build("vqa")(mine, NOBODY, nobody_asks)
    value.backward()
    assert value.item() == 0
    gradient = mine[ANSWERS].grad
    assert gradient is not None
    assert not gradient.any()


def test_answering_says_that_the_data_set_has_no_questions() -> None:
    bare = with_fields(make_batch(), question_ids=None, question_mask=None, question_targets=None)
    with pytest.raises(DatasetError, match=r"has no question\.\w+; the data gives .*Leave out the loss"):
        build("vqa")(make_signals(STUDENT, make_batch()), NOBODY, bare)


@pytest.mark.parametrize("config", [Lm.Config, Vqa.Config])
def test_refuses_label_smoothing_above_one(config: type[Lm.Config] | type[Vqa.Config]) -> None:
    with pytest.raises(PluginError, match=r"label_smoothing: got 1\.5"):
        config(label_smoothing=1.5)
