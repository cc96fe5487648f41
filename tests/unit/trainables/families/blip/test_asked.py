"""In training the last text layer makes only what is asked of it: the same values and gradients as of the whole pass."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.trainables.small import lively, small_config, vocabulary
from trainables.families.blip.architecture import EncoderConfig
from trainables.families.blip.model import Blip
from trainables.signals import PIXELS, Batch, Want

LENGTHS, STARTS = np.array([9, 6, 8]), np.array([7, 3, 6])  # two or three tokens are to be predicted
TEXT, ANSWER, MATCH = Want("text", "embedding"), Want("answer", "logits"), Want("fused", "logits")
LAST = Want("answer", "hidden", 2)
# a product over at most 80 numbers, through three layers whose values are near 1
NEAR = {"rtol": 1e-4, "atol": 1e-5}


def batch() -> Batch:
    places, generator = np.arange(9), torch.Generator().manual_seed(0)
    mask = places < LENGTHS[:, None]
    ids = torch.randint(6, vocabulary().size, mask.shape, generator=generator)
    ids = ids.masked_fill(~torch.from_numpy(mask), vocabulary().pad)
    targets = (places >= STARTS[:, None] - 1) & (places < LENGTHS[:, None] - 1)
    texts = {"ids": ids, "mask": torch.from_numpy(mask), "targets": torch.from_numpy(targets)}
    fields = {f"{kind}.{part}": one for kind in ("caption", "question") for part, one in texts.items()}
    pixels = torch.randn(3, 3, 64, 64, generator=generator)
    return Batch(fields={**fields, PIXELS: pixels}, rows={}, hosted={"question.targets": targets})


def model(**changes: Any) -> Blip:
    text = EncoderConfig(width=20, depth=3, heads=5)
    return lively(small_config(**({"text": text, "fusion": (0, 2)} | changes)))


def gradients(of: Blip, total: Tensor) -> dict[str, Tensor]:
    of.zero_grad()
    total.backward()
    return {name: one.grad.clone() for name, one in of.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("fusion", [(0, 2), (0, 1)])  # with and without cross-attention in the last layer
def test_values_and_gradients_are_those_of_the_whole_pass(fusion: tuple[int, ...]) -> None:
    student, given, found = model(fusion=fusion), batch(), []
    targets = given["question.targets"]
    weights = torch.randn(int(targets.sum()), vocabulary().size, generator=torch.Generator().manual_seed(2))
    for training in (False, True):  # nothing is random in training: the pass in eval mode makes all positions
        said = student.train(training)(given, frozenset({TEXT, ANSWER, MATCH}))
        values = (said[TEXT], said[ANSWER][targets], said[MATCH])
        total = said[TEXT].sin().sum() + (values[1] * weights).sum() + said[MATCH].square().sum()
        found.append((values, gradients(student, total)))
    (whole, whole_gradients), (some, some_gradients) = found
    for one, other in zip(whole, some, strict=True):
        torch.testing.assert_close(other, one, **NEAR)
    assert whole_gradients.keys() == some_gradients.keys()
    largest = max(float(one.abs().max()) for one in whole_gradients.values())
    for name, one in whole_gradients.items():  # what key biases get is rounding alone
        torch.testing.assert_close(some_gradients[name], one, rtol=1e-4, atol=1e-6 * largest)


def test_positions_that_nobody_asks_for_are_left_out_in_training_alone() -> None:
    student, given = model(), batch()
    first = given["question.targets"].int().argmax(1)
    said = student.train()(given, frozenset({ANSWER}))[ANSWER]
    assert not said[torch.arange(3), first - 3].any()
    assert student.eval()(given, frozenset({ANSWER}))[ANSWER].any(-1).all()


def test_a_last_layer_that_a_loss_looks_at_is_made_whole() -> None:
    student, given = model(), batch()
    whole = student.eval()(given, frozenset({ANSWER, LAST}))
    found = student.train()(given, frozenset({ANSWER, LAST}))
    assert torch.equal(found[ANSWER], whole[ANSWER])
    assert torch.equal(found[LAST], whole[LAST])
