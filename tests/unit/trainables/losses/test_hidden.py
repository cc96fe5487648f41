import importlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from spaces.errors import PluginError, ShapeError
from tests.tolerance import close
from tests.unit.trainables.losses.factory import make_batch, make_outputs, student_config, teacher_config
from trainables.losses import LOSSES
from trainables.losses.base import Loss
from trainables.losses.decoder_hidden import DecoderHidden
from trainables.losses.image_hidden import ImageHidden
from trainables.losses.text_hidden import TextHidden
from trainables.models.config import BlipConfig, EncoderConfig
from trainables.outputs import Outputs, TextOutputs, Want

MODES = ["image", "text", "fused", "decoder"]
OPS = 64 + 3 * 128  # project, take mean, variance and distance
EQUAL_WIDTH = EncoderConfig(width=128, depth=3, heads=4)


def build(mode: str, student: BlipConfig, **options: Any) -> Loss:
    module, _, attribute = LOSSES[f"{mode}_hidden"].partition(":")
    kind = getattr(importlib.import_module(module), attribute)
    torch.manual_seed(0)
    return kind(kind.Config(**options), student, teacher_config())


def distance(x: Tensor, y: Tensor, kind: str) -> float:
    """Return the distance of two vectors, written out."""
    if kind == "cosine":
        return (1 - x.dot(y) / x.norm() / y.norm()).item()
    x, y = ((v - v.mean()) / (v.var(correction=0) + 1e-5).sqrt() for v in (x, y))
    return ((x - y) ** 2).mean().item()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["mse", "cosine"])
@pytest.mark.parametrize("tokens", ["all", "first"])
def test_equals_loops_over_layers_rows_and_real_tokens(mode: str, kind: str, tokens: str) -> None:
    student, batch = student_config(), make_batch()
    loss = build(mode, student, kind=kind, tokens=tokens, layers="all")
    mine, theirs = make_outputs(student, batch, negatives=True), make_outputs(teacher_config(), batch, seed=2)
    per_layer = []
    for layer, target_layer in ((0, 1), (1, 3), (2, 5)):
        weight = loss.get_parameter(f"match.projections.{layer}.weight")
        bias = loss.get_parameter(f"match.projections.{layer}.bias")
        states, target = getattr(mine, mode).hidden[layer], getattr(theirs, mode).hidden[target_layer]
        costs = []
        for row in range(len(target)):
            length = target.shape[1] if mode == "image" else int(batch.caption_mask[row].sum())
            for token in range(1 if tokens == "first" else length):
                costs.append(distance(weight @ states[row, token] + bias, target[row, token], kind))
        per_layer.append(sum(costs) / len(costs))
    close(loss(mine, theirs, batch), sum(per_layer) / 3, ops=OPS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_is_zero_without_projection_for_equal_states(mode: str, kind: str) -> None:
    student = student_config(image=EQUAL_WIDTH, text=EQUAL_WIDTH)
    batch = make_batch()
    loss = build(mode, student, kind=kind)
    mine, theirs = make_outputs(student, batch), make_outputs(teacher_config(), batch, seed=2)
    getattr(mine, mode).hidden[2] = getattr(theirs, mode).hidden[5].detach().clone()
    assert not list(loss.parameters())
    close(loss(mine, theirs, batch), 0.0, ops=OPS, size=1.0)


def test_opposite_states_cost_four_whatever_their_scale() -> None:
    student = student_config(text=EQUAL_WIDTH)
    batch = make_batch()
    theirs = make_outputs(teacher_config(), batch)
    assert theirs.text is not None
    opposite = TextOutputs(mask_BT=batch.caption_mask, hidden={2: -30 * theirs.text.hidden[5].detach()})
    loss = build("text", student)
    # a variance of about 1 has a floor of 1e-5 under it
    assert loss(Outputs(text=opposite), theirs, batch).item() == pytest.approx(4, rel=1e-4)


def test_fused_states_of_negatives_are_not_compared() -> None:
    student, batch = student_config(), make_batch()
    loss = build("fused", student)
    mine, theirs = make_outputs(student, batch, negatives=True), make_outputs(teacher_config(), batch, seed=2)
    assert mine.fused is not None
    before = loss(mine, theirs, batch)
    mine.fused.hidden[2] = torch.cat([mine.fused.hidden[2][:5], torch.full((5, 7, 64), 99.0)])
    assert torch.equal(loss(mine, theirs, batch), before)


def test_wants_the_last_layers_by_default() -> None:
    loss = build("decoder", student_config())
    assert loss.student_wants == {Want("decoder", "hidden", 2)}
    assert loss.teacher_wants == {Want("decoder", "hidden", 5)}


def test_each_mapped_layer_has_its_own_projection_on_the_students_side() -> None:
    loss = TextHidden(TextHidden.Config(layers="all"), student_config(), teacher_config())
    shapes = {name: tuple(p.shape) for name, p in loss.named_parameters() if name.endswith("weight")}
    assert shapes == {f"match.projections.{i}.weight": (128, 64) for i in range(3)}


def test_refuses_another_patch_grid_unless_only_the_class_token_counts() -> None:
    other = student_config(patch_size=4)
    with pytest.raises(ShapeError, match=r"image tokens: the student has 37, the teacher 10"):
        ImageHidden(ImageHidden.Config(), other, teacher_config())
    batch = make_batch()
    loss = ImageHidden(ImageHidden.Config(tokens="first"), other, teacher_config())
    assert loss(make_outputs(other, batch), make_outputs(teacher_config(), batch), batch).isfinite()


def test_refuses_states_of_another_length() -> None:
    student, batch = student_config(), make_batch()
    theirs = make_outputs(teacher_config(), make_batch(tokens=9))
    loss = DecoderHidden(DecoderHidden.Config(), student, teacher_config())
    with pytest.raises(ShapeError, match=r"decoder\.hidden\.2: student gives \(5, 7\), teacher \(5, 9\)"):
        loss(make_outputs(student, batch), theirs, batch)


@pytest.mark.parametrize("option", [{"layers": "first"}, {"kind": "l1"}, {"tokens": "some"}])
def test_refuses_an_unknown_word(option: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match=r"got '.*'; allowed: "):
        TextHidden.Config(**option)


def test_config_is_frozen_and_compares_by_value() -> None:
    config = TextHidden.Config(layers="even")
    assert replace(config, weight=2.0) == TextHidden.Config(layers="even", weight=2.0)
