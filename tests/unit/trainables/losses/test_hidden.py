from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from spaces.errors import PluginError, ShapeError
from tests.unit.trainables.losses.factory import (
    EPS,
    STUDENT,
    TEACHER,
    build,
    make_batch,
    make_signals,
    offers_of,
    student_architecture,
)
from trainables.families.blip.architecture import EncoderConfig
from trainables.losses.base import Ends
from trainables.losses.features.hidden import Hidden
from trainables.signals import Offer, Signals, Want

MODES = ["image", "text", "fused", "decoder"]
EQUAL_WIDTH = EncoderConfig(width=128, depth=3, heads=4)


def states(mode: str, layer: int) -> Want:
    return Want(mode, "hidden", layer)


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
    batch = make_batch()
    loss = build(f"{mode}_hidden", kind=kind, tokens=tokens, layers="all")
    mine, theirs = make_signals(STUDENT, batch, negatives=True), make_signals(TEACHER, batch, seed=2)
    per_layer = []
    for layer, target_layer in ((0, 1), (1, 3), (2, 5)):
        weight = loss.get_parameter(f"projections.{layer}.weight")
        bias = loss.get_parameter(f"projections.{layer}.bias")
        said, target = mine[states(mode, layer)], theirs[states(mode, target_layer)]
        costs = []
        for row in range(len(target)):
            length = target.shape[1] if mode == "image" else int(batch["caption.mask"][row].sum())
            for token in range(1 if tokens == "first" else length):
                costs.append(distance(weight @ said[row, token] + bias, target[row, token], kind))
        per_layer.append(sum(costs) / len(costs))
    assert loss(mine, theirs, batch).item() == pytest.approx(sum(per_layer) / 3, rel=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_is_zero_without_projection_for_equal_states(mode: str, kind: str) -> None:
    student = offers_of(student_architecture(image=EQUAL_WIDTH, text=EQUAL_WIDTH))
    batch = make_batch()
    loss = build(f"{mode}_hidden", student, kind=kind)
    mine, theirs = make_signals(student, batch), make_signals(TEACHER, batch, seed=2)
    mine[states(mode, 2)] = theirs[states(mode, 5)].detach().clone()
    assert not list(loss.parameters())
    # equal numbers go through equal steps; the cosine divides a sum of 128 squares by a product of its roots
    assert loss(mine, theirs, batch).item() == pytest.approx(0, abs=16 * EPS if kind == "cosine" else 0)


def test_opposite_states_cost_four_whatever_their_scale() -> None:
    student, batch = offers_of(student_architecture(text=EQUAL_WIDTH)), make_batch()
    theirs = make_signals(TEACHER, batch)
    opposite = Signals({states("text", 2): -30 * theirs[states("text", 5)].detach()})
    loss = build("text_hidden", student)
    assert loss(opposite, theirs, batch).item() == pytest.approx(4, rel=1e-3)


def test_fused_states_of_negatives_are_not_compared() -> None:
    batch, loss = make_batch(), build("fused_hidden")
    mine, theirs = make_signals(STUDENT, batch, negatives=True), make_signals(TEACHER, batch, seed=2)
    before = loss(mine, theirs, batch)
    mine[states("fused", 2)] = torch.cat([mine[states("fused", 2)][:5], torch.full((5, 7, 64), 99.0)])
    assert torch.equal(loss(mine, theirs, batch), before)


def test_wants_the_last_layers_by_default() -> None:
    loss = build("decoder_hidden")
    assert loss.needs.student == {states("decoder", 2)}
    assert loss.needs.source == {states("decoder", 5)}


def test_each_mapped_layer_has_its_own_projection_on_the_students_side() -> None:
    loss = build("text_hidden", layers="all")
    shapes = {name: tuple(p.shape) for name, p in loss.named_parameters() if name.endswith("weight")}
    assert shapes == {f"projections.{i}.weight": (128, 64) for i in range(3)}


def test_refuses_another_patch_grid_unless_only_the_class_token_counts() -> None:
    fine = offers_of(student_architecture(patch_size=4))
    with pytest.raises(ShapeError, match=r"image\.hidden\.2 has 37 image tokens, the teacher's 10"):
        build("image_hidden", fine)
    batch = make_batch()
    loss = build("image_hidden", fine, tokens="first")
    assert loss(make_signals(fine, batch), make_signals(TEACHER, batch), batch).isfinite()


def test_refuses_states_of_another_length() -> None:
    batch = make_batch()
    theirs = make_signals(TEACHER, make_batch(tokens=9))
    with pytest.raises(ShapeError, match=r"decoder\.hidden\.2: student gives \(5, 7\), teacher \(5, 9\)"):
        build("decoder_hidden")(make_signals(STUDENT, batch), theirs, batch)


def test_a_mode_that_no_shipped_family_has_comes_with_the_name_and_its_own_mask() -> None:
    want = states("statement", 0)
    offers = {want: Offer(axes=("T", "D"), sizes=(7, 6), rows="question", mask="question.mask")}
    batch = make_batch()
    batch.fields["question.mask"][0, 4:] = False
    loss = Hidden(Hidden.Config(), Ends(name="statement_hidden", student=offers, source=offers))
    mine, theirs = make_signals(offers, batch), make_signals(offers, batch, seed=2)
    real = batch["question.mask"].nonzero().tolist()
    costs = [distance(mine[want][row, token], theirs[want][row, token], "mse") for row, token in real]
    assert loss(mine, theirs, batch).item() == pytest.approx(sum(costs) / len(costs), rel=1e-4)


@pytest.mark.parametrize("option", [{"layers": "first"}, {"kind": "l1"}, {"tokens": "some"}])
def test_refuses_an_unknown_word(option: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match=r"got '.*'; allowed: "):
        Hidden.Config(**option)


def test_config_is_frozen_and_compares_by_value() -> None:
    config = Hidden.Config(layers="even")
    assert replace(config, weight=2.0) == Hidden.Config(layers="even", weight=2.0)
