"""Initialise a student from its teacher: evenly spaced layers, and of every weight leading slices or what matters most.

Weight inheritance as in TinyCLIP (Wu et al. 2023): its manual form takes leading entries, the other those that matter.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from trainables.families.blip.order import SLICES, Axes, Index, Order
from trainables.families.blip.text_network import TextLayer
from trainables.layers import evenly_spaced


def _overlap(target: Tensor, source: Tensor, axes: Axes = ()) -> None:
    """Copy the block that both tensors have, leading or as axes name it; a wider target keeps its fresh weights elsewhere."""
    for axis, index in enumerate(axes[: source.ndim]):
        if index is not None:
            source = source.index_select(axis, index.to(source.device))
    block = tuple(slice(0, min(a, b)) for a, b in zip(target.shape, source.shape, strict=True))
    target[block] = source[block].to(target)


@torch.no_grad()
def _copy(target: nn.Module, source: nn.Module, axes: Mapping[str, Axes] | None = None) -> None:
    """Copy all parameters of the same names.

    Args:
        target, source: modules of one kind.
        axes: path of a part -> what is taken of its weights; of its biases that of the first dimension.
    """
    origin, taken = dict(source.named_parameters()), axes or {}
    for name, parameter in target.named_parameters():
        if name not in origin:
            continue
        path = name.rpartition(".")[0]
        asked = taken.get(path, ())
        if ".qkv." in f".{name}":  # timm fuses query, key and value: slice each third by itself
            for kind, part, part_source in zip(
                ("query", "key", "value"), parameter.chunk(3), origin[name].chunk(3), strict=True
            ):
                _overlap(part, part_source, taken.get(f"{path}.{kind}", ()))
        elif f".{name}".endswith(
            ".merge.weight"
        ):  # its inputs are what is seen of two pictures, side by side
            for part, part_source in zip(
                parameter.chunk(2, dim=1), origin[name].chunk(2, dim=1), strict=True
            ):
                _overlap(part, part_source, asked)
        else:
            _overlap(parameter, origin[name], asked)


def inherit_image(student: Any, teacher: Any, order: Order = SLICES) -> None:
    """Overwrite the student's image encoder and image projection with what an order takes of the teacher's."""
    target, source, channels = student.image_encoder.vit, teacher.image_encoder.vit, order.channels
    _copy(target.patch_embed, source.patch_embed, {"proj": (channels,)})
    _copy(target.norm, source.norm, {"": (channels,)})
    with torch.no_grad():
        for name in ("cls_token", "pos_embed"):
            _overlap(target.get_parameter(name), source.get_parameter(name), (None, None, channels))
    for block, origin in zip(
        target.blocks, evenly_spaced(len(target.blocks), len(source.blocks)), strict=True
    ):
        _copy(block, source.blocks[origin], _image_axes(order, origin))
    if student.architecture.contrast and teacher.architecture.contrast:
        _copy(student.image_projection, teacher.image_projection, {"": (None, channels)})


def _image_axes(order: Order, layer: int) -> dict[str, Axes]:
    """Return what is taken of a block of timm's vision transformer."""
    channels, neurons = order.channels, order.neurons.get(layer)
    attention = order.attention(layer, "attention", channels)
    return {
        "norm1": (channels,),
        "norm2": (channels,),
        **{f"attn.qkv.{kind}": attention[kind] for kind in ("query", "key", "value")},
        "attn.proj": attention["output"],
        "mlp.fc1": (neurons, channels),
        "mlp.fc2": (channels, neurons),
    }


def _text_axes(order: Order, layer: int, seen: Index) -> dict[str, Axes]:
    """Return what is taken of a text layer; `seen` are the channels of the image tokens that it looks at."""
    channels, neurons = order.channels, order.neurons.get(layer)
    found: dict[str, Axes] = {
        "intermediate": (neurons, channels),
        "output": (channels, neurons),
        "norm": (channels,),
        "second.merge": (channels, channels),
    }
    for kind in ("attention", "decoder_attention"):
        found |= _below(kind, order.attention(layer, kind, channels))
    crossed = order.attention(layer, "cross_attention", seen)
    return found | _below("cross_attention", crossed) | _below("second.attention", crossed)


def _below(path: str, axes: Mapping[str, Axes]) -> dict[str, Axes]:
    return {f"{path}.{name}": taken for name, taken in axes.items()}


def _nearest(index: int, candidates: Sequence[int]) -> int:
    return min(candidates, key=lambda other: (abs(other - index), -other))


def inherit_text(
    student: Any, teacher: Any, *, decoding: Any = None, order: Order = SLICES, seen: Index = None
) -> None:
    """Overwrite the student's text network, heads and temperature with what an order takes of the teacher's.

    What a decoder of its own answers with goes to the student's, which continues texts in the same way.
    A student fusion layer whose teacher layer has no cross-attention takes that of the nearest teacher fusion
    layer.

    Args:
        student, teacher: models.
        decoding: the teacher whose decoder is taken; None for the same.
        order: what is taken.
        seen: channels of the image tokens that the student has of its teacher's; None for the leading ones.
    """
    target, source, channels = student.text_network, teacher.text_network, order.channels
    _copy(target.words, source.words, {"": (None, channels)})
    _copy(target.positions, source.positions, {"": (None, channels)})
    _copy(target.norm, source.norm, {"": (channels,)})
    layers, originals = cast("list[TextLayer]", target.layers), cast("list[TextLayer]", source.layers)
    for layer, origin in zip(layers, evenly_spaced(len(layers), len(originals)), strict=True):
        _copy(layer, originals[origin], _text_axes(order, origin, seen))
        if layer.cross_attention is not None and teacher.architecture.fusion:
            fusing = _nearest(origin, teacher.architecture.fusion)
            nearest = originals[fusing].cross_attention
            assert nearest is not None
            _copy(layer.cross_attention, nearest, order.attention(fusing, "cross_attention", seen))
        if (
            layer.second is not None
            and layer.cross_attention is not None
            and originals[origin].second is None
        ):
            _copy(layer.second.attention, layer.cross_attention)
    if student.pair_head is not None and teacher.pair_head is not None:
        _copy(student.pair_head, teacher.pair_head, {"0": (None, channels)})
    _inherit_decoder(target, source, teacher if decoding is None else decoding, order)
    if not student.architecture.contrast or not teacher.architecture.contrast:
        return
    _copy(student.text_projection, teacher.text_projection, {"": (None, channels)})
    if student.itm_head is not None and teacher.itm_head is not None:
        _copy(student.itm_head, teacher.itm_head, {"": (None, channels)})
    if bool(teacher.temperature.isfinite()):  # of one that is not known the student begins with BLIP's own
        with torch.no_grad():
            student.temperature.copy_(teacher.temperature)


def _inherit_decoder(target: Any, source: Any, decoding: Any, order: Order) -> None:
    """Overwrite what only a decoder has: its head, and its self-attention where it shares nothing with the encoder."""
    decoder = decoding.answer_network if decoding.architecture.has_answerer else decoding.text_network
    if not (target.has_decoder and decoder.has_decoder):
        return
    channels = order.channels
    if decoder is not source:
        layers = cast("list[TextLayer]", target.layers)
        for layer, origin in zip(layers, evenly_spaced(len(layers), len(decoder.layers)), strict=True):
            assert layer.decoder_attention is not None  # it has a decoder
            axes = Order(channels=channels).attention(
                origin, "decoder_attention", channels
            )  # its heads have no figures
            _copy(layer.decoder_attention, decoder.layers[origin].decoder_attention, axes)
    _copy(target.head_transform, decoder.head_transform, {"": (channels, channels)})
    _copy(target.head_norm, decoder.head_norm, {"": (channels,)})
    with torch.no_grad():
        target.head_bias.copy_(decoder.head_bias)
