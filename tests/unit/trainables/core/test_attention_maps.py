"""Explicit attention maps: the same numbers that the fused kernels use and never show."""

import math

import pytest
import torch
from torch import Tensor

from tests.tolerance import close
from tests.unit.trainables.core.small import all_wants, lively, small_config, vocabulary
from trainables.models.blip import Blip
from trainables.models.config import EncoderConfig
from trainables.models.text_network import AttentionBlock
from trainables.outputs import Want, Wants

LENGTHS = torch.tensor([7, 4, 5])
OPS = 2 * 2 * 12 * 32  # two layers after two


@pytest.fixture(scope="module")
def model() -> Blip:
    return lively(small_config(image=EncoderConfig(width=24, depth=2, heads=3), fusion=(1,)))


@pytest.fixture(scope="module")
def inputs(model: Blip) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    mask = torch.arange(7) < LENGTHS[:, None]
    ids = torch.randint(6, vocabulary().size, (3, 7), generator=random) * mask
    return torch.randn(3, 3, 64, 64, generator=random), ids, mask


def run(model: Blip, inputs: tuple[Tensor, Tensor, Tensor], wants: Wants) -> dict[str, dict[str, Tensor]]:
    """Return by mode what the heads say, and the maps by name."""
    images, ids, mask = inputs
    with torch.no_grad():
        image = model.encode_image(images, wants)
        assert image.tokens_BPD is not None
        text, fused = model.encode_text(ids, mask, wants), model.fuse(ids, mask, image.tokens_BPD, wants)
        decoder = model.decode(ids, mask, image.tokens_BPD, wants=wants)
    found: dict[str, dict[str, Tensor]] = {}
    for name, outputs, said in (
        ("image", image, image.tokens_BPD),
        ("text", text, text.tokens_BTD),
        ("fused", fused, fused.logits_N2),
        ("decoder", decoder, decoder.logits_BTV),
    ):
        assert said is not None
        maps = {f"attention {layer}": value for layer, value in outputs.attention.items()}
        cross = getattr(outputs, "cross_attention", {})
        found[name] = {"said": said} | maps | {f"cross {layer}": value for layer, value in cross.items()}
    return found


def test_asking_for_maps_does_not_change_what_is_said(
    model: Blip, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    plain, mapped = run(model, inputs, frozenset()), run(model, inputs, all_wants(model.config))
    for mode in plain:
        assert list(plain[mode]) == ["said"]
        close(mapped[mode]["said"], plain[mode]["said"], ops=OPS)


def test_maps_are_distributions_over_the_keys_that_may_be_seen(
    model: Blip, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    mask, found = inputs[2], run(model, inputs, all_wants(model.config))
    shapes = {
        mode: {name: tuple(v.shape) for name, v in maps.items() if name != "said"}
        for mode, maps in found.items()
    }
    own, crossed = {"attention 0": (3, 2, 7, 7), "attention 1": (3, 2, 7, 7)}, {"cross 1": (3, 2, 7, 5)}
    assert shapes == {
        "image": {"attention 0": (3, 3, 5, 5), "attention 1": (3, 3, 5, 5)},
        "text": own,
        "fused": own | crossed,
        "decoder": own | crossed,
    }
    for maps in found.values():
        for name, value in maps.items():
            if name != "said":
                close(value.sum(-1), torch.ones(value.shape[:-1]), ops=2 * value.shape[-1])
    hidden = ~mask[:, None, None, :].expand(3, 2, 7, 7)
    for mode in ("text", "fused"):
        for layer in (0, 1):
            assert bool((found[mode][f"attention {layer}"][hidden] == 0).all())
    later = torch.ones(7, 7, dtype=torch.bool).triu(1)
    for layer in (0, 1):
        assert bool((found["decoder"][f"attention {layer}"][..., later] == 0).all())
        assert bool((found["decoder"][f"attention {layer}"][..., ~later] > 0).all())


def by_hand(block: AttentionBlock, states: Tensor, context: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Return new states and maps of one batch row, head by head and query by query."""
    query, key, value = block.query(states), block.key(context), block.value(context)
    size = states.shape[1] // block.heads
    mixed, maps = torch.zeros_like(states), torch.zeros(block.heads, len(states), len(context))
    for head in range(block.heads):
        part = slice(head * size, (head + 1) * size)
        for place in range(len(states)):
            raw = [float(query[place, part] @ row[part]) / math.sqrt(size) for row in key]
            powers = [math.exp(x) if allowed[place, k] else 0.0 for k, x in enumerate(raw)]
            for k, power in enumerate(powers):
                maps[head, place, k] = power / sum(powers)
                mixed[place, part] += maps[head, place, k] * value[k, part]
    return block.norm(states + block.output(mixed)), maps


@pytest.mark.parametrize("want_map", [True, False])
@pytest.mark.parametrize("kind", ["self", "causal", "cross"])
@torch.no_grad()
def test_block_computes_attention_as_written_by_hand(kind: str, want_map: bool) -> None:
    torch.manual_seed(0)
    block = AttentionBlock(12, 3, context_width=10 if kind == "cross" else 12, eps=1e-12)
    states, mask = torch.randn(2, 5, 12), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    context = torch.randn(2, 4, 10) if kind == "cross" else None
    made, maps = block(
        states,
        context,
        mask[:, None, None, :] if kind == "self" else None,
        causal=kind == "causal",
        want_map=want_map,
    )
    for row in range(2):
        allowed = {
            "self": mask[row].expand(5, 5),
            "causal": torch.ones(5, 5).tril().bool(),
            "cross": torch.ones(5, 4).bool(),
        }[kind]
        expected, expected_maps = by_hand(
            block, states[row], states[row] if context is None else context[row], allowed
        )
        close(made[row], expected, ops=6 * 12)
        if maps is not None:
            close(maps[row], expected_maps, ops=3 * 12)
    assert (maps is not None) == want_map


@torch.no_grad()
def test_image_map_recomputes_the_output_of_the_fused_kernel(
    model: Blip, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    wants = frozenset({Want("image", "attention", 1), Want("image", "hidden", 0)})
    outputs = model.encode_image(inputs[0], wants)
    block = model.image_encoder.vit.blocks[1]
    normed = block.norm1(outputs.hidden[0])
    value = block.attn.qkv(normed)[..., 48:].view(3, 5, 3, 8).transpose(1, 2)
    mixed = (outputs.attention[1] @ value).transpose(1, 2).reshape(3, 5, 24)
    close(block.attn.proj(mixed), block.attn(normed), ops=4 * 24)
