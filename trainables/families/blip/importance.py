"""How much each head, neuron and channel of a model matters: how strong it is on some pairs, forward passes alone.

Muralidharan et al. 2024 (Minitron), section 2.2, as Wu et al. 2023 (TinyCLIP) inherit by importance: a head counts by the L2 norm
of what it puts out, a neuron of a feed-forward part by its activation, a channel of the residual stream by what norms put out,
in the mean over pairs and real tokens. The channels of a side are one order for all of its layers, since these add up.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.offers import IMAGE_TOKENS
from trainables.families.blip.text_network import AttentionBlock, TextLayer, TraceLayers
from trainables.signals import CAPTION, PICTURE, PIXELS, QUESTION, STATEMENT, Batch, Offers, Want, Wants

CHANNELS, NEURONS, HEADS, VALUES, QUERIES, KEYS = (
    "channels",
    "neurons",
    "heads",
    "values",
    "queries",
    "keys",
)
KINDS = ("attention", "decoder_attention", "cross_attention")


@dataclass(kw_only=True)
class _Sums:
    """Sums over tokens, in float64: N chunks add up to the same as one.

    Attributes:
        mask: (B, T) of the texts of the batch that is looked at, True on real tokens.
    """

    totals: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    mask: Tensor | None = None

    def add(self, name: str, values_BTX: Tensor, *, masked: bool) -> None:
        """Add the absolute values of real tokens."""
        rows = values_BTX[self.mask] if masked and self.mask is not None else values_BTX.flatten(0, 1)
        total = rows.detach().double().abs().sum(0)
        self.totals[name] = self.totals[name] + total if name in self.totals else total
        self.counts[name] = self.counts.get(name, 0) + len(rows)

    def add_heads(self, name: str, mixed_BTD: Tensor, heads: int, *, masked: bool) -> None:
        """Add what the heads of an attention put out."""
        self.add(f"{name}.{HEADS}", mixed_BTD.unflatten(-1, (heads, -1)).norm(dim=-1), masked=masked)
        self.add(f"{name}.{VALUES}", mixed_BTD, masked=masked)

    def means(self) -> dict[str, Tensor]:
        """Return the means, float32 on the host."""
        return {name: (total / self.counts[name]).float().cpu() for name, total in self.totals.items()}


@torch.no_grad()
def measured_importance(model: Any, batches: Iterable[Batch]) -> dict[str, Tensor]:
    """Return name -> (n,) importance, float32: `image.channels`, `image.3.heads`, `text.3.cross_attention.heads`, ...

    `values`, `queries` and `keys` say it of single dimensions of the heads.

    Args:
        model: a `Blip` in eval mode.
        batches: of pairs, on the model's device; the same batches give the same to the bit.
    """
    sums, wants = _Sums(), _passes(model.architecture, model.offers(model.architecture))
    pictures = {want.mode for want in wants} == {"image"}
    with _watched(model, sums):
        for given in batches:
            batch = given if pictures else _captioned(given, model.architecture)
            sums.mask = batch.fields.get("caption.mask")
            said = model(batch, wants)
            if model.architecture.has_answerer and pictures:
                _read_texts(model, batch, said[IMAGE_TOKENS], sums)
    return sums.means()


def _captioned(batch: Batch, a: BlipArchitecture) -> Batch:
    """Return pictures with the texts that they have, as captions without a prompt: all passes then read the same tokens."""
    kind = next(one for one in (CAPTION, STATEMENT, QUESTION) if f"{one}.ids" in batch)
    there = batch.rows[kind] >= 0
    ids = batch[f"{kind}.ids"][there].clone()
    if kind == QUESTION:  # which begins as a decoder does
        ids[:, 0] = a.vocabulary.cls
    fields = {PIXELS: batch[PIXELS][there], "caption.ids": ids, "caption.mask": batch[f"{kind}.mask"][there]}
    return Batch(fields=fields, rows={PICTURE: batch.rows[PICTURE][there], CAPTION: batch.rows[kind][there]})


def _read_texts(model: Any, batch: Batch, tokens_BPD: Tensor, sums: _Sums) -> None:
    """Let a model that answers alone read captions, or else questions, as it reads questions: with the picture."""
    kind = CAPTION if f"{CAPTION}.ids" in batch else QUESTION
    there = batch.rows[kind] >= 0
    ids, sums.mask = batch[f"{kind}.ids"][there].clone(), batch[f"{kind}.mask"][there]
    ids[:, 0] = model.architecture.vocabulary.enc
    model.text_network(ids, sums.mask, tokens_BPD[there], decode=False, trace=TraceLayers())


def _passes(a: BlipArchitecture, offers: Offers) -> Wants:
    """Return wants for which all layers of all passes over pictures and captions run, and no head."""
    last = a.text.depth - 1
    asked = {
        Want("image", "pooled"),
        IMAGE_TOKENS,
        *(Want(mode, "hidden", last) for mode in ("text", "fused", "decoder")),
    }
    if (
        not a.captions
    ):  # the decoder was made for answers alone: it runs over captions all the same, or not at all
        asked.discard(Want("decoder", "hidden", last))
    return frozenset(asked & set(offers))


@contextmanager
def _watched(model: Any, sums: _Sums) -> Iterator[None]:
    """Let the sums see what goes through a model as long as the block lasts."""
    handles: list[Any] = []

    def after(module: nn.Module, name: str, *, masked: bool) -> None:
        handles.append(
            module.register_forward_hook(lambda _, __, found: sums.add(name, found, masked=masked))
        )

    def before(module: nn.Module, name: str, *, masked: bool) -> None:
        handles.append(
            module.register_forward_pre_hook(lambda _, given: sums.add(name, given[0], masked=masked))
        )

    def heads(module: nn.Module, name: str, count: int, *, masked: bool) -> None:
        handles.append(
            module.register_forward_pre_hook(
                lambda _, given: sums.add_heads(name, given[0], count, masked=masked)
            )
        )

    try:
        vit = model.image_encoder.vit
        after(vit.norm, f"image.{CHANNELS}", masked=False)
        for index, block in enumerate(vit.blocks):
            for norm in (block.norm1, block.norm2):
                after(norm, f"image.{CHANNELS}", masked=False)
            before(block.mlp.fc2, f"image.{index}.{NEURONS}", masked=False)
            heads(block.attn.proj, f"image.{index}.attention", block.attn.num_heads, masked=False)
            handles.append(block.attn.qkv.register_forward_hook(_of_qkv(sums, f"image.{index}.attention")))
        network = model.text_network
        after(network.norm, f"text.{CHANNELS}", masked=True)
        for index, layer in enumerate(cast("list[TextLayer]", network.layers)):
            after(layer.norm, f"text.{CHANNELS}", masked=True)
            before(layer.output, f"text.{index}.{NEURONS}", masked=True)
            for kind in KINDS:
                attention = cast("AttentionBlock | None", getattr(layer, kind))
                if attention is None:
                    continue
                name = f"text.{index}.{kind}"
                after(attention.norm, f"text.{CHANNELS}", masked=True)
                heads(attention.output, name, attention.heads, masked=True)
                after(attention.query, f"{name}.{QUERIES}", masked=True)
                after(attention.key, f"{name}.{KEYS}", masked=kind != "cross_attention")
        yield
    finally:
        for handle in handles:
            handle.remove()


def _of_qkv(sums: _Sums, name: str) -> Any:
    """Return what looks at the queries and keys that timm computes together."""

    def look(_: nn.Module, __: object, found: Tensor) -> None:
        queries, keys, _values = found.chunk(3, dim=-1)
        sums.add(f"{name}.{QUERIES}", queries, masked=False)
        sums.add(f"{name}.{KEYS}", keys, masked=False)

    return look
