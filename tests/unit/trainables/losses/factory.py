"""Fake teacher, student and batch for the tests of losses: random outputs of true shapes without a model."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainables.models.config import BlipConfig, EncoderConfig, VocabularyConfig
from trainables.outputs import (
    Batch,
    DecoderOutputs,
    FusedOutputs,
    ImageOutputs,
    Outputs,
    TextOutputs,
    Wants,
    layers,
)

VOCABULARY = VocabularyConfig(size=23, pad=0, cls=1, sep=2, dec=3, enc=4)


def teacher_config(**changes: Any) -> BlipConfig:
    """Return a teacher of 6 layers, 128 wide, 4 heads."""
    encoder = EncoderConfig(width=128, depth=6, heads=4)
    config = BlipConfig(
        image=encoder,
        text=encoder,
        fusion=tuple(range(6)),
        embedding=16,
        image_size=24,
        patch_size=8,
        max_tokens=12,
        vocabulary=VOCABULARY,
    )
    return replace(config, **changes)


def student_config(**changes: Any) -> BlipConfig:
    """Return a student of 3 layers, 64 wide, 2 heads, with fusion layers 0 and 2 only."""
    encoder = EncoderConfig(width=64, depth=3, heads=2)
    return replace(teacher_config(image=encoder, text=encoder, fusion=(0, 2), embedding=16), **changes)


def make_batch(num_pairs: int = 5, *, tokens: int = 7, seed: int = 0) -> Batch:
    """Return captions of several lengths, the first the longest; row 1 shows the image of row 0."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, tokens + 1, (num_pairs,), generator=random)
    lengths[0] = tokens
    mask = torch.arange(tokens) < lengths[:, None]
    ids = torch.randint(5, VOCABULARY.size, (num_pairs, tokens), generator=random) * mask
    questions = torch.randint(5, VOCABULARY.size, (num_pairs, tokens), generator=random) * mask
    position = torch.arange(tokens) - lengths[:, None]
    answers = (position == -2) | ((position == -3) & (torch.arange(num_pairs) % 2 == 0)[:, None])
    image_keys = torch.arange(num_pairs)
    image_keys[1:2] = image_keys[0]
    return Batch(
        images=torch.zeros(num_pairs, 3, 24, 24),
        caption_ids=ids,
        caption_mask=mask,
        caption_keys=torch.arange(num_pairs) + 100,
        image_keys=image_keys,
        caption_rows=torch.arange(num_pairs),
        question_ids=questions,
        question_mask=mask,
        answer_mask=answers,
        question_rows=torch.arange(num_pairs),
    )


def make_outputs(config: BlipConfig, batch: Batch, *, seed: int = 1, negatives: bool = False) -> Outputs:
    """Return outputs for every layer and kind, each a leaf that asks for a gradient.

    Args:
        config: sizes.
        batch: gives the number of pairs and the padding.
        seed: of the random numbers.
        negatives: append one negative per pair to the fused pass.
    """
    make = _Maker(seed)
    rows, tokens = batch.caption_ids.shape
    mask, places = batch.caption_mask, config.image_tokens
    text, image = config.text, config.image
    wide = mask.repeat(2, 1) if negatives else mask
    num_fused = len(wide)

    def decoder() -> DecoderOutputs:
        return DecoderOutputs(
            mask_BT=mask,
            logits_BTV=make.normal(rows, tokens, config.vocabulary.size),
            hidden={i: make.normal(rows, tokens, text.width) for i in range(text.depth)},
            attention={i: make.maps(rows, text.heads, mask, causal=True) for i in range(text.depth)},
            cross_attention={i: make.wide_maps(rows, text.heads, (tokens, places)) for i in config.fusion},
        )

    return Outputs(
        image=ImageOutputs(
            embedding_BE=make.unit(rows, config.embedding),
            hidden={i: make.normal(rows, places, image.width) for i in range(image.depth)},
            attention={i: make.wide_maps(rows, image.heads, (places, places)) for i in range(image.depth)},
        ),
        text=TextOutputs(
            mask_BT=mask,
            embedding_BE=make.unit(rows, config.embedding),
            hidden={i: make.normal(rows, tokens, text.width) for i in range(text.depth)},
            attention={i: make.maps(rows, text.heads, mask) for i in range(text.depth)},
        ),
        fused=FusedOutputs(
            mask_NT=wide,
            logits_N2=make.normal(num_fused, 2),
            labels_N=(torch.arange(num_fused) < rows).long(),
            hidden={i: make.normal(num_fused, tokens, text.width) for i in range(text.depth)},
            attention={i: make.maps(num_fused, text.heads, wide) for i in range(text.depth)},
            cross_attention={
                i: make.wide_maps(num_fused, text.heads, (tokens, places)) for i in config.fusion
            },
        ),
        decoder=decoder(),
        answer=decoder(),
        temperature=torch.tensor(0.2 + 0.01 * seed, requires_grad=True),
    )


class _Maker:
    """Random leaves of one seeded stream."""

    def __init__(self, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)

    def _draw(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.random)

    def normal(self, *shape: int) -> Tensor:
        return self._draw(*shape).requires_grad_()

    def unit(self, *shape: int) -> Tensor:
        return functional.normalize(self._draw(*shape), dim=-1).requires_grad_()

    def wide_maps(self, rows: int, heads: int, sides: tuple[int, int]) -> Tensor:
        return self._draw(rows, heads, *sides).softmax(-1).requires_grad_()

    def maps(self, rows: int, heads: int, mask: Tensor, *, causal: bool = False) -> Tensor:
        tokens = mask.shape[1]
        visible = mask[:, None, None].expand(rows, heads, tokens, tokens)
        if causal:
            visible = visible & torch.ones(tokens, tokens, dtype=torch.bool).tril()
        scores = self._draw(rows, heads, tokens, tokens).masked_fill(~visible, -torch.inf)
        return scores.softmax(-1).requires_grad_()


def leaves(outputs: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every float tensor of an outputs record with its path, `text.hidden.2` say."""
    if isinstance(outputs, Tensor):
        if outputs.is_floating_point():
            yield path, outputs
    elif is_dataclass(outputs):
        for part in fields(outputs):
            yield from leaves(getattr(outputs, part.name), f"{path}.{part.name}".strip("."))
    elif isinstance(outputs, dict):
        for key, value in outputs.items():
            yield from leaves(value, f"{path}.{key}")


def with_gradient(outputs: Outputs) -> set[str]:
    """Return the paths of the tensors that a backward pass reached with anything but zero."""
    return {path for path, leaf in leaves(outputs) if leaf.grad is not None and bool(leaf.grad.any())}


def mapped(outputs: Any, change: Any, path: str = "") -> Any:
    """Return a copy of a record with `change(path, tensor)` in place of every tensor, masks included."""
    if isinstance(outputs, Tensor):
        return change(path, outputs)
    if is_dataclass(outputs) and not isinstance(outputs, type):
        kept = {
            f.name: mapped(getattr(outputs, f.name), change, f"{path}.{f.name}".strip("."))
            for f in fields(outputs)
        }
        return type(outputs)(**kept)
    if isinstance(outputs, dict):
        return {key: mapped(value, change, f"{path}.{key}") for key, value in outputs.items()}
    return outputs


def with_padding_changed(outputs: Outputs, batch: Batch, value: float) -> Outputs:
    """Return a copy whose entries at padded tokens (queries, keys, positions) hold `value`."""

    def change(path: str, tensor: Tensor) -> Tensor:
        mode = path.split(".")[0]
        text_like = mode in ("text", "fused", "decoder", "answer") and tensor.is_floating_point()
        if not text_like or path.endswith(("embedding_BE", "logits_N2")):
            return tensor
        padding = ~batch.caption_mask.repeat(len(tensor) // len(batch.caption_mask), 1)
        if ".cross_attention" in path:
            return tensor.masked_fill(padding[:, None, :, None], value)
        if ".attention" in path:
            return tensor.masked_fill(padding[:, None, :, None] | padding[:, None, None], value)
        return tensor.masked_fill(padding[..., None], value)

    return mapped(outputs, change)


def only(outputs: Outputs, wants: Wants) -> Outputs:
    """Return a copy that holds nothing but what `wants` names, as a model would fill it."""

    def kept(mode: str, part: Any) -> Any:
        if part is None or not any(want.mode == mode for want in wants):
            return None
        asked = {want.what for want in wants if want.mode == mode}
        changes: dict[str, Any] = {}
        for field in fields(part):
            if field.name in ("hidden", "attention", "cross_attention"):
                chosen = layers(wants, mode, field.name)
                changes[field.name] = {i: t for i, t in getattr(part, field.name).items() if i in chosen}
            elif field.name.startswith(("embedding", "logits")) and field.name.split("_")[0] not in asked:
                changes[field.name] = None
        return replace(part, **changes)

    modes = ("image", "text", "fused", "decoder", "answer")
    return replace(outputs, **{mode: kept(mode, getattr(outputs, mode)) for mode in modes})
