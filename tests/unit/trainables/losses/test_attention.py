import importlib
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from spaces.errors import PluginError, ShapeError
from tests.tolerance import close
from tests.unit.trainables.losses.factory import make_batch, make_outputs, student_config, teacher_config
from trainables.losses import LOSSES
from trainables.losses.base import Loss
from trainables.losses.cross_attention import CrossAttention
from trainables.losses.image_attention import ImageAttention
from trainables.losses.text_attention import TextAttention
from trainables.models.config import BlipConfig, EncoderConfig
from trainables.outputs import ImageOutputs, Outputs, TextOutputs, Want

OPS = 2 * 16 + 7  # softmaxes, sums over keys, a mean over queries
SIZE = 4.0  # logarithms of shares of keys, which cancel to a divergence
NAMES = ["image_attention", "text_attention", "cross_attention", "decoder_attention"]
FOUR_HEADS = EncoderConfig(width=64, depth=3, heads=4)


def build(name: str, student: BlipConfig, **options: Any) -> Loss:
    module, _, attribute = LOSSES[name].partition(":")
    kind = getattr(importlib.import_module(module), attribute)
    return kind(kind.Config(**options), student, teacher_config())


def maps(name: str, outputs: Outputs) -> dict[int, Tensor]:
    """Return the dictionary of maps that a loss reads, to read or to change."""
    mode = "fused" if name == "cross_attention" else name.split("_")[0]
    found: dict[int, Tensor] = getattr(
        getattr(outputs, mode), "cross_attention" if mode == "fused" else "attention"
    )
    return found


def divergence(target: Tensor, student: Tensor) -> float:
    """Return KL of two rows of probabilities, entry by entry."""
    pairs = zip(target.tolist(), student.tolist(), strict=True)
    return sum(p * math.log(p / q) for p, q in pairs if p > 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("heads", [2, 4])
def test_equals_loops_over_layers_rows_heads_and_real_queries(name: str, heads: int) -> None:
    sizes = EncoderConfig(width=64, depth=3, heads=heads)
    student, batch = student_config(image=sizes, text=sizes), make_batch()
    mine, theirs = make_outputs(student, batch, negatives=True), make_outputs(teacher_config(), batch, seed=2)
    pairs = [(0, 2), (2, 5)] if name == "cross_attention" else [(0, 1), (1, 3), (2, 5)]
    per_layer = []
    for layer, target_layer in pairs:
        a, b = maps(name, mine)[layer].detach(), maps(name, theirs)[target_layer].detach()
        if heads != 4:
            a, b = a.mean(1, keepdim=True), b.mean(1, keepdim=True)
        costs = [
            divergence(b[row, head, query], a[row, head, query])
            for row in range(len(b))
            for head in range(b.shape[1])
            for query in range(
                b.shape[2] if name == "image_attention" else int(batch.caption_mask[row].sum())
            )
        ]
        per_layer.append(sum(costs) / len(costs))
    value = build(name, student, layers="all")(mine, theirs, batch)
    close(value, sum(per_layer) / len(per_layer), ops=OPS, size=SIZE)


@pytest.mark.parametrize("name", NAMES)
def test_is_zero_for_equal_maps(name: str) -> None:
    student = student_config(image=FOUR_HEADS, text=FOUR_HEADS)
    batch = make_batch()
    mine, theirs = make_outputs(student, batch), make_outputs(teacher_config(), batch, seed=2)
    maps(name, mine)[2] = maps(name, theirs)[5].detach().clone()
    close(build(name, student)(mine, theirs, batch), 0.0, ops=OPS, size=SIZE)


def test_probabilities_go_through_no_second_softmax() -> None:
    # By hand: 0.9 ln(0.9 / 0.5) + 0.1 ln(0.1 / 0.5) = 0.368; a second softmax would leave 0.077.
    one = EncoderConfig(width=8, depth=1, heads=1)
    sizes = {"image": one, "image_size": 8, "patch_size": 8}
    assert student_config(**sizes).image_tokens == 2
    mine = Outputs(image=ImageOutputs(attention={0: torch.tensor([[[[0.5, 0.5], [0.5, 0.5]]]])}))
    theirs = Outputs(image=ImageOutputs(attention={0: torch.tensor([[[[0.9, 0.1], [0.9, 0.1]]]])}))
    loss = ImageAttention(ImageAttention.Config(), student_config(**sizes), teacher_config(**sizes))
    close(loss(mine, theirs, make_batch(1)), 0.9 * math.log(1.8) + 0.1 * math.log(0.2), ops=4, size=1.0)


def test_more_padding_changes_nothing() -> None:
    student, batch = student_config(), make_batch()
    loss = TextAttention(TextAttention.Config(), student, teacher_config())
    mine, theirs = make_outputs(student, batch), make_outputs(teacher_config(), batch, seed=2)

    def longer(outputs: Outputs) -> Outputs:
        assert outputs.text is not None
        grown = {}
        for layer, old in outputs.text.attention.items():
            new = old.new_full((*old.shape[:2], 9, 9), 1 / 9)  # padded queries sum to 1 as well
            new[..., :7, 7:] = 0
            new[..., :7, :7] = old.detach()
            grown[layer] = new
        mask = torch.nn.functional.pad(batch.caption_mask, (0, 2))
        return Outputs(text=TextOutputs(mask_BT=mask, attention=grown))

    close(loss(longer(mine), longer(theirs), batch), loss(mine, theirs, batch), ops=OPS, size=SIZE)


def test_a_student_that_looks_away_entirely_costs_a_finite_amount() -> None:
    batch = make_batch(1)
    student, teacher = student_config(), teacher_config()
    here, there = torch.zeros(1, 2, 10, 10), torch.zeros(1, 4, 10, 10)
    here[..., 0], there[..., 1] = 1, 1
    mine = Outputs(image=ImageOutputs(attention={2: here.requires_grad_()}))
    loss = ImageAttention(ImageAttention.Config(), student, teacher)
    value = loss(mine, Outputs(image=ImageOutputs(attention={5: there})), batch)
    value.backward()
    close(value, -math.log(1e-7), ops=4)
    assert here.grad is not None
    assert here.grad.isfinite().all()


def test_half_precision_maps_of_a_cache_are_read_in_float32() -> None:
    student, batch = student_config(), make_batch()
    mine, theirs = make_outputs(student, batch), make_outputs(teacher_config(), batch, seed=2)
    loss = build("image_attention", student)
    exact = loss(mine, theirs, batch)
    maps("image_attention", theirs)[5] = maps("image_attention", theirs)[5].detach().half()
    rounded = loss(mine, theirs, batch)
    assert rounded.dtype == torch.float32
    # a map's entry is rounded by half of float16's epsilon of itself, and a query's entries sum to 1
    assert abs(float((rounded - exact).detach())) < torch.finfo(torch.float16).eps * SIZE


def test_fusion_layers_are_mapped_among_themselves() -> None:
    loss = build("cross_attention", student_config(), layers="all")
    assert loss.student_wants == {Want("fused", "cross_attention", 0), Want("fused", "cross_attention", 2)}
    assert loss.teacher_wants == {Want("fused", "cross_attention", 2), Want("fused", "cross_attention", 5)}
    sparse = teacher_config(fusion=(1, 4))
    loss = CrossAttention(CrossAttention.Config(layers="all"), student_config(), sparse)
    assert loss.teacher_wants == {Want("fused", "cross_attention", 1), Want("fused", "cross_attention", 4)}


@pytest.mark.parametrize("kind", [ImageAttention, CrossAttention])
def test_refuses_another_patch_grid(kind: type[Any]) -> None:
    with pytest.raises(ShapeError, match="image tokens: the student has 37, the teacher 10"):
        kind(kind.Config(), student_config(patch_size=4), teacher_config())


def test_refuses_an_unknown_choice_of_layers() -> None:
    with pytest.raises(PluginError, match="layers: got 'first'; allowed: last, even, all"):
        TextAttention.Config(layers="first")  # type: ignore[arg-type]
