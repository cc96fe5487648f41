"""Loss recipes of published code, their formulas written out in numpy beside ours: TinyCLIP, CLIP-KD, knowledge distillation."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spaces.errors import PluginError, ShapeError
from tests.unit.trainables.losses.factory import (
    STUDENT,
    TEACHER,
    build,
    make_batch,
    make_signals,
    offers_of,
    student_architecture,
    with_fields,
)
from trainables.configs import plain
from trainables.losses.base import Ends, source_lack, student_lack
from trainables.losses.features.hidden import Hidden
from trainables.losses.logits.itm_logit import LOGITS
from trainables.losses.similarity.contrast import IMAGE, TEMPERATURE, TEXT
from trainables.signals import Batch, Offer, Offers, Signals, Want

Array = NDArray[np.float64]
SHORT = offers_of(student_architecture(embedding=12))
CLOSE = 1e-5  # sums of some 100 float32 products


def values(signals: Signals, want: Want) -> Array:
    return signals[want].detach().double().numpy()


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    found: Array = powers / powers.sum(-1, keepdims=True)
    return found


def distinct(batch: Batch) -> Batch:
    """Return a batch in which each row has a picture of its own, as published code takes for granted."""
    batch.rows["picture"] = torch.arange(len(batch.rows["picture"]))
    return batch


def unit(vectors: Array) -> Array:
    found: Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return found


def test_affinity_mimicking_is_tinyclips_cross_entropy_of_both_directions_less_the_teachers_entropy() -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)
    total = 0.0
    affinities = [
        values(said, IMAGE) @ values(said, TEXT).T / said[TEMPERATURE].item() for said in (mine, theirs)
    ]
    for student, teacher in (affinities, [one.T for one in affinities]):
        target = softmax(teacher)
        crossed = -(target * np.log(softmax(student))).sum(-1).mean()  # L_I2T and L_T2I of theirs
        entropy = -(target * np.log(target)).sum(-1).mean()
        total += crossed - entropy
    assert build("itc_logit")(mine, theirs, batch).item() == pytest.approx(total / 2, rel=CLOSE)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_a_temperature_softens_both_and_its_square_keeps_the_gradient(temperature: float) -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)
    for name, want in (("itm_logit", LOGITS), ("lm_logit", Want("decoder", "logits"))):
        student, teacher = (softmax(values(said, want) / temperature) for said in (mine, theirs))
        rows = (teacher * np.log(teacher / student)).sum(-1)
        if name == "lm_logit":
            rows = rows[:, :-1][batch["caption.targets"][:, :-1].numpy()]
        found = build(name, temperature=temperature)(mine, theirs, batch).item()
        assert found == pytest.approx(rows.mean() * temperature**2, rel=CLOSE)


def test_feature_distillation_of_clip_kd_is_the_embedding_loss_times_two_over_e() -> None:
    batch = make_batch()
    mine, theirs = make_signals(SHORT, batch), make_signals(TEACHER, batch, seed=2)
    for mode, want in (("image", IMAGE), ("text", TEXT)):
        loss = build(f"{mode}_embedding", SHORT)
        (weight,) = (p.detach().double().numpy() for p in loss.parameters())
        squared = ((unit(values(mine, want) @ weight.T) - values(theirs, want)) ** 2).mean()
        assert loss(mine, theirs, batch).item() * 2 / 16 == pytest.approx(squared, rel=CLOSE)


@pytest.mark.parametrize("student", [STUDENT, SHORT])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_interactive_contrast_of_clip_kd(student: Offers, temperature: float) -> None:
    batch = distinct(make_batch())
    mine, theirs = make_signals(student, batch), make_signals(TEACHER, batch, seed=2)
    loss = build("interactive", student, temperature=temperature)
    total = 0.0
    for mode, want, other in (("image", IMAGE, TEXT), ("text", TEXT, IMAGE)):
        projected = values(mine, want)
        if student is SHORT:
            projected = (
                projected @ loss.get_parameter(f"projections.{mode}.weight").detach().double().numpy().T
            )
        logits = unit(projected) @ values(theirs, other).T / temperature
        total -= np.log(np.diag(softmax(logits))).mean()
    assert loss(mine, theirs, batch).item() == pytest.approx(total / 2, rel=CLOSE)


def test_interactive_contrast_by_hand() -> None:
    image, text = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    offers = {want: Offer(axes=("E",), sizes=(2,), rows="caption") for want in (IMAGE, TEXT)}
    batch = distinct(make_batch(2))
    loss = build("interactive", offers, offers, temperature=1.0)
    mine = Signals({IMAGE: image, TEXT: text})
    # the student's pictures stand where the teacher's captions of the other row do: e / (1 + e) goes astray
    assert loss(mine, mine, batch).item() == pytest.approx(np.log(1 + np.e), rel=CLOSE)
    assert loss(mine, Signals({IMAGE: text, TEXT: image}), batch).item() == pytest.approx(
        np.log(1 + 1 / np.e), rel=CLOSE
    )


def test_rows_with_the_same_caption_are_no_false_negatives_of_interactive_contrast() -> None:
    batch = distinct(make_batch(2))
    same = with_fields(batch, caption_key=torch.tensor([7, 7]))
    offers = {want: Offer(axes=("E",), sizes=(2,), rows="caption") for want in (IMAGE, TEXT)}
    equal = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    said = Signals({IMAGE: equal, TEXT: equal})
    assert build("interactive", offers, offers)(said, said, same).item() == pytest.approx(
        np.log(2), rel=CLOSE
    )


def test_the_temperature_of_interactive_contrast_is_learned_and_does_not_fall_without_end() -> None:
    batch, loss = make_batch(), build("interactive")
    with torch.no_grad():
        loss.get_parameter("scale").fill_(50.0)
    value = loss(make_signals(STUDENT, batch), make_signals(TEACHER, batch), batch)
    assert value.isfinite()
    value.backward()
    scale = loss.get_parameter("scale")
    assert scale.item() == pytest.approx(-np.log(0.01), rel=CLOSE)
    assert float(scale.grad) != 0, "it may rise again"  # type: ignore[arg-type]
    for temperature in (0.0, 0.009, 1.5):
        with pytest.raises(PluginError, match="temperature: got"):
            build("interactive", temperature=temperature)


def test_matching_is_compared_on_the_given_pairs_only() -> None:
    batch, loss = make_batch(), build("itm_logit")
    mine, theirs = make_signals(STUDENT, batch, negatives=True), make_signals(TEACHER, batch, seed=2)
    before = loss(mine, theirs, batch)
    mine[LOGITS] = torch.cat([mine[LOGITS][:5], torch.full((5, 2), 99.0)])
    assert torch.equal(loss(mine, theirs, batch), before)


def test_verdicts_that_stand_for_something_else_are_refused() -> None:
    other = {LOGITS: Offer(axes=("C",), sizes=(2,), rows="caption", meaning="match, no match")}
    with pytest.raises(ShapeError, match=r"losses\.itm_logit: fused\.logits stands for match, no match"):
        build("itm_logit", other)


@pytest.mark.parametrize("name", ["interactive", "itm_logit", "itc_logit", "image_embedding", "text_hidden"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_signals_of_half_precision_are_compared_in_float32(name: str, dtype: torch.dtype) -> None:
    batch, loss = make_batch(), build(name)
    mine, theirs = (
        Signals(
            {
                want: value.detach().to(dtype) if value.is_floating_point() else value
                for want, value in said.items()
            }
        )
        for said in (make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2))
    )
    whole = [
        Signals({want: value.float() if value.is_floating_point() else value for want, value in said.items()})
        for said in (mine, theirs)
    ]
    found = loss(mine, theirs, batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(*whole, batch))


def test_layers_named_one_by_one_are_compared_pair_by_pair() -> None:
    batch = make_batch()
    mine, theirs = make_signals(STUDENT, batch), make_signals(TEACHER, batch, seed=2)
    found = build("image_hidden", layers="0>3, -1>-1")(mine, theirs, batch)
    torch.manual_seed(0)
    parts = []
    for pair in ("0>3", "2>5"):
        loss: Any = build("image_hidden", layers=pair)
        if pair == "2>5":  # both projections are drawn in a row
            torch.manual_seed(0)
            torch.nn.Linear(64, 128)
            loss.projections["2"] = torch.nn.Linear(64, 128)
        parts.append(loss(mine, theirs, batch))
    torch.testing.assert_close(found, torch.stack(parts).mean())


def test_a_student_without_a_named_layer_leaves_the_loss_out_and_a_teacher_without_is_refused() -> None:
    ends = Ends(name="text_hidden", student=STUDENT, source=TEACHER)
    needs = Hidden.needs_of(Hidden.Config(layers="4>5"), ends)
    assert (
        student_lack(needs, ends) == "needs text.hidden.4, which this student does not have; left out for it."
    )
    needs = Hidden.needs_of(Hidden.Config(layers="0>9"), ends)
    assert "needs text.hidden.9 of the teacher" in (source_lack(needs, ends) or "")


def test_a_younger_option_is_told_only_where_it_is_used_so_that_candidates_keep_their_ids() -> None:
    assert plain(Hidden.Config()) == {"weight": 1.0, "layers": "last", "kind": "mse", "tokens": "all"}
    assert plain(Hidden.Config(map="last"))["map"] == "last"
