"""Models of several sizes and parts: shapes by hand, the same in training and evaluation, and every mode trains its sides."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.trainables.losses.factory import make_batch, student_architecture
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.families.blip.model import Blip
from trainables.signals import Signals, Want

PLAIN = student_architecture(
    image=EncoderConfig(width=12, depth=2, heads=2),
    text=EncoderConfig(width=16, depth=3, heads=4),
    fusion=(0, 2),
    embedding=6,
)
SIZES = {
    "plain": PLAIN,
    "all layers fuse": replace(PLAIN, fusion=(0, 1, 2)),
    "no decoder": replace(PLAIN, decoder=False),
    "no matching": replace(PLAIN, matching=False),
    "dual encoder": replace(PLAIN, fusion=()),
    "one layer": replace(PLAIN, text=EncoderConfig(width=8, depth=1, heads=1), fusion=(0,)),
}
HEADS = {
    "image": Want("image", "embedding"),
    "text": Want("text", "embedding"),
    "fused": Want("fused", "logits"),
    "decoder": Want("decoder", "logits"),
    "answer": Want("answer", "logits"),
}
EVERY = pytest.mark.parametrize("size", SIZES)


def build(architecture: BlipArchitecture) -> Blip:
    torch.manual_seed(0)
    return Blip(architecture)


def heads(model: Blip, rows: int = 3) -> dict[str, Tensor]:
    """Return what each mode's head says, of the modes that the model has."""
    wants = frozenset(HEADS.values()) & set(Blip.offers(model.architecture))
    found: Signals = model(make_batch(rows), wants)
    return {mode: found[want] for mode, want in HEADS.items() if want in wants}


@EVERY
@pytest.mark.parametrize("rows", [1, 3])
def test_says_finite_things_of_true_shapes(size: str, rows: int) -> None:
    expected: dict[str, tuple[int, ...]] = {"image": (rows, 6), "text": (rows, 6)}
    if size not in ("dual encoder", "no matching"):
        expected["fused"] = (rows, 2)
    if size not in ("dual encoder", "no decoder"):
        expected |= {"decoder": (rows, 7, 23), "answer": (rows, 7, 23)}
    found = heads(build(SIZES[size]), rows)
    assert {mode: tuple(value.shape) for mode, value in found.items()} == expected
    assert all(bool(value.isfinite().all()) for value in found.values())


@EVERY
def test_fills_every_layer_that_is_wanted(size: str) -> None:
    a = SIZES[size]
    wants = {Want("image", what, layer) for what in ("hidden", "attention") for layer in range(2)}
    fused = {"dual encoder": [], "no decoder": ["fused"]}.get(size, ["fused", "decoder", "answer"])
    for mode in ("text", *fused):
        wants |= {Want(mode, what, i) for what in ("hidden", "attention") for i in range(a.text.depth)}
    wants |= {Want(mode, "cross_attention", layer) for mode in fused for layer in a.fusion}
    assert wants == {want for want in Blip.offers(a) if want.layer is not None}
    found: Any = build(a)(make_batch(3), frozenset(wants))
    assert set(found) == wants


@EVERY
def test_says_the_same_in_training_and_in_evaluation(size: str) -> None:
    model = build(SIZES[size])
    training, evaluation = heads(model.train()), heads(model.eval())
    for value, other in ((value, evaluation[mode]) for mode, value in training.items()):
        # in training the last layer makes only some positions: products of other sizes round differently
        torch.testing.assert_close(value, other, rtol=1e-5, atol=1e-6)


@EVERY
def test_every_mode_trains_the_sides_that_it_passes(size: str) -> None:
    model = build(SIZES[size])
    for mode, value in heads(model).items():
        model.zero_grad()
        value.float().sin().sum().backward(retain_graph=True)
        sides = {"image": ["image_encoder"], "text": ["text_network"]}
        reached = {
            side
            for side in ("image_encoder", "text_network")
            if any(p.grad is not None and bool(p.grad.any()) for p in getattr(model, side).parameters())
        }
        assert reached == set(sides.get(mode, ["image_encoder", "text_network"])), mode
