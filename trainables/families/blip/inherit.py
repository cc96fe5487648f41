"""Initialise a student from its teacher: evenly spaced layers, leading slices of every weight.

Weight inheritance as in TinyCLIP (Wu et al. 2023) in its simplest form: no importance mask, leading channels.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from trainables.families.blip.text_network import TextLayer
from trainables.layers import evenly_spaced


def _overlap(target: Tensor, source: Tensor) -> None:
    """Copy the leading block that both tensors have; a wider target keeps its fresh weights elsewhere."""
    block = tuple(slice(0, min(a, b)) for a, b in zip(target.shape, source.shape, strict=True))
    target[block] = source[block].to(target)


@torch.no_grad()
def _copy(target: nn.Module, source: nn.Module) -> None:
    origin = dict(source.named_parameters())
    for name, parameter in target.named_parameters():
        if name not in origin:
            continue
        if ".qkv." in f".{name}":  # timm fuses query, key and value: slice each third by itself
            for part, part_source in zip(parameter.chunk(3), origin[name].chunk(3), strict=True):
                _overlap(part, part_source)
        elif f".{name}".endswith(
            ".merge.weight"
        ):  # its inputs are what is seen of two pictures, side by side
            for part, part_source in zip(
                parameter.chunk(2, dim=1), origin[name].chunk(2, dim=1), strict=True
            ):
                _overlap(part, part_source)
        else:
            _overlap(parameter, origin[name])


def inherit_image(student: Any, teacher: Any) -> None:
    """Overwrite the student's image encoder and image projection with slices of the teacher's."""
    target, source = student.image_encoder.vit, teacher.image_encoder.vit
    _copy(target.patch_embed, source.patch_embed)
    _copy(target.norm, source.norm)
    with torch.no_grad():
        for name in ("cls_token", "pos_embed"):
            _overlap(target.get_parameter(name), source.get_parameter(name))
    for block, origin in zip(
        target.blocks, evenly_spaced(len(target.blocks), len(source.blocks)), strict=True
    ):
        _copy(block, source.blocks[origin])
    if student.architecture.contrast and teacher.architecture.contrast:
        _copy(student.image_projection, teacher.image_projection)


def _nearest(index: int, candidates: Sequence[int]) -> int:
    return min(candidates, key=lambda other: (abs(other - index), -other))


def inherit_text(student: Any, teacher: Any, *, decoding: Any = None) -> None:
    """Overwrite the student's text network, heads and temperature with slices of the teacher's.

    What a decoder of its own answers with goes to the student's, which continues texts in the same way.
    A student fusion layer whose teacher layer has no cross-attention takes that of the nearest teacher fusion
    layer.
    """
    target, source = student.text_network, teacher.text_network
    _copy(target.words, source.words)
    _copy(target.positions, source.positions)
    _copy(target.norm, source.norm)
    layers, originals = cast("list[TextLayer]", target.layers), cast("list[TextLayer]", source.layers)
    for layer, origin in zip(layers, evenly_spaced(len(layers), len(originals)), strict=True):
        _copy(layer, originals[origin])
        if layer.cross_attention is not None and teacher.architecture.fusion:
            nearest = originals[_nearest(origin, teacher.architecture.fusion)].cross_attention
            assert nearest is not None
            _copy(layer.cross_attention, nearest)
        if (
            layer.second is not None
            and layer.cross_attention is not None
            and originals[origin].second is None
        ):
            _copy(layer.second.attention, layer.cross_attention)
    if student.pair_head is not None and teacher.pair_head is not None:
        _copy(student.pair_head, teacher.pair_head)
    decoding = teacher if decoding is None else decoding
    decoder = decoding.answer_network if decoding.architecture.has_answerer else decoding.text_network
    if target.has_decoder and decoder.has_decoder:
        if decoder is not source:  # it shares nothing with the encoder
            for layer, origin in zip(layers, evenly_spaced(len(layers), len(decoder.layers)), strict=True):
                assert layer.decoder_attention is not None  # it has a decoder
                _copy(layer.decoder_attention, decoder.layers[origin].decoder_attention)
        _copy(target.head_transform, decoder.head_transform)
        _copy(target.head_norm, decoder.head_norm)
        with torch.no_grad():
            target.head_bias.copy_(decoder.head_bias)
    if not student.architecture.contrast or not teacher.architecture.contrast:
        return
    _copy(student.text_projection, teacher.text_projection)
    if student.itm_head is not None and teacher.itm_head is not None:
        _copy(student.itm_head, teacher.itm_head)
    if bool(teacher.temperature.isfinite()):  # of one that is not known the student begins with BLIP's own
        with torch.no_grad():
            student.temperature.copy_(teacher.temperature)
