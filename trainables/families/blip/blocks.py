"""The blocks of a pass: what its ends cost, and its layers, each as a pass of the smallest model that has one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from trainables.families.base import Block
from trainables.families.blip.architecture import DECODES, BlipArchitecture, EncoderConfig
from trainables.families.blip.offers import PAIRED

IMAGE_ENDS, IMAGE_LAYER = "image.ends", "image.layer"
TEXT_ENDS, FUSED_ENDS, DECODER_ENDS = "text.ends", "fused.ends", "decoder.ends"
TEXT_LAYER, DECODER_LAYER, CROSS = "text.layer", "decoder.layer", "text.cross"
BLOCKS = frozenset(
    {IMAGE_ENDS, IMAGE_LAYER, TEXT_ENDS, FUSED_ENDS, DECODER_ENDS, TEXT_LAYER, DECODER_LAYER, CROSS}
)
_NONE = EncoderConfig(width=1, depth=1, heads=1)  # of the side that a block does not hang on


def blocks(architecture: BlipArchitecture, mode: str) -> Sequence[Block]:
    """Return the ends of a pass (embedding of its input, last norm, head), its layers, and those layers' cross-attention.

    Layers cost the same wherever they stand, with or without cross-attention, which comes on top.

    Args:
        architecture: of the model.
        mode: image, text, fused, paired, decoder or answer.
    """
    a = architecture
    if mode == PAIRED.mode:  # of finalists alone: measured as a whole
        return (Block(architecture=a, mode=mode),)
    bare = replace(a, fusion=(), decoder=False, matching=False, merged=None, answerer=False, positions=0)
    bare = replace(bare, decodes=DECODES, temperature_given=False)
    if mode == "image":
        small = replace(bare, side="image", text=_NONE, image=replace(a.image, depth=1))
        layer = Block(architecture=replace(small, embedding=1), mode=IMAGE_LAYER, repeats=a.image.depth)
        return Block(architecture=small, mode=IMAGE_ENDS), layer
    decodes = mode in ("decoder", "answer")
    small = replace(bare, side="text", image=_NONE, text=replace(a.text, depth=1))
    alone = replace(small, embedding=1)
    grounded = replace(alone, fusion=(0,))
    decoder = replace(grounded, decoder=True)
    ends = {
        "text": Block(architecture=small, mode=TEXT_ENDS),
        "fused": Block(architecture=replace(grounded, matching=True), mode=FUSED_ENDS),
    }.get(mode, Block(architecture=decoder, mode=DECODER_ENDS))
    layer = (
        Block(architecture=decoder, mode=DECODER_LAYER, repeats=a.text.depth)
        if decodes
        else Block(architecture=alone, mode=TEXT_LAYER, repeats=a.text.depth)
    )
    if mode == "text" or not a.fusion:
        return ends, layer
    crossed = replace(grounded, image=replace(a.image, depth=1, heads=1, mlp_ratio=4.0))  # its width alone
    return ends, layer, Block(architecture=crossed, mode=CROSS, repeats=len(a.fusion))


def needs(mode: str) -> frozenset[str]:
    """Return which inputs a block reads: pixels, ids, mask, tokens of the image, states of an encoder."""
    return {
        IMAGE_ENDS: frozenset({"pixels"}),
        IMAGE_LAYER: frozenset({"image_states"}),
        TEXT_LAYER: frozenset({"states", "mask"}),
        DECODER_LAYER: frozenset({"states"}),
        CROSS: frozenset({"states", "tokens"}),
    }.get(mode, frozenset({"ids"}))


def run_block(model: Any, mode: str, inputs: Mapping[str, Tensor]) -> object:
    """Run one block.

    Args:
        model: a `Blip` of the block's architecture.
        mode: of `BLOCKS`.
        inputs: see `passes.pass_inputs`.
    """
    if mode == IMAGE_ENDS:
        encoder = model.image_encoder
        tokens = encoder.vit.norm(encoder.embed(inputs["pixels"]))
        return model.embed(model.image_projection, tokens) if model.architecture.contrast else tokens
    if mode == IMAGE_LAYER:
        return model.image_encoder.vit.blocks[0](inputs["image_states"])
    network = model.text_network
    if mode in (TEXT_ENDS, FUSED_ENDS, DECODER_ENDS):
        states = network.embed(inputs["ids"])
        if mode == TEXT_ENDS:
            return model.embed(model.text_projection, states)
        return network.logits(states) if mode == DECODER_ENDS else model.itm_head(states[:, 0])
    layer, states = network.layers[0], inputs["states"]
    if mode == CROSS:
        return layer.cross_attention(states, inputs["tokens"], None, causal=False, want_map=False)[0]
    mask = inputs["mask"][:, None, None, :] if mode == TEXT_LAYER else None
    return layer.feed_forward(layer.attend(states, mask, decode=mode == DECODER_LAYER)[0])
