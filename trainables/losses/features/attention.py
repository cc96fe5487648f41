"""Attention distillation: attention maps of mapped layers."""

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from trainables.configs import YOUNGER
from trainables.losses.agreement import require_one_grid, require_same_shape
from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.features.mapping import LayerMap, layer_needs, layer_pairs, require_layers
from trainables.losses.reduction import global_mean
from trainables.signals import Batch, Offer, Signals

SMALLEST = 1e-7
"""Student probabilities are raised to this before the logarithm: a zero costs 16 nats, not infinity."""
CROSS = ("fused", "cross_attention")  # what the name `cross_attention` has always stood for


@final
class Attention(Loss):
    """Let the attention of one mode look where the teacher's looks: `MODE_attention`, or `cross_attention` of `fused`.

    Kuang et al. 2023 (DLIP), in the form of Wang et al. 2020 (MiniLM), section 3.1: KL of attention rows. The maps are
    probabilities already: their logarithm is taken, never a second softmax. Heads are compared one to one, or their
    averages where the numbers of heads differ. Rows of padded queries are left out: they sum to 1 as well, and say
    nothing. Layers that have such maps are mapped among themselves.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            layers: which student layers take part, or pairs of layers, see `mapping.layer_pairs`.
            map: which of the teacher's they meet.
        """

        weight: float = 1.0
        layers: str = "last"
        map: LayerMap = field(default="uniform", metadata=YOUNGER)

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_layers(self.layers, self.map)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.pairs = layer_pairs(config.layers, ends, *_looked_at(ends), rule=config.map)
        for pair in self.pairs:
            require_one_grid(pair.student, pair.source, ends)
        self.masks = {pair: _masks(ends.source[pair.source]) for pair in self.pairs}

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the maps of the mapped layers."""
        assert isinstance(config, Attention.Config)
        return layer_needs(config.layers, ends, *_looked_at(ends), rule=config.map)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean KL(teacher || student) in nats over mapped layers, heads and the real query rows of all workers.

        Rows of the student behind the teacher's B (negatives) are left out.

        Raises:
            ShapeError: numbers of queries or keys differ.
        """
        terms = []
        for pair in self.pairs:
            target = source[pair.source].detach().float()
            maps = student[pair.student].float()[: len(target)]
            require_same_shape(pair.student, maps[:, 0], target[:, 0])
            terms.append(_divergence(maps, target, batch, *self.masks[pair]))
        return torch.stack(terms).mean()


def _looked_at(ends: Ends) -> tuple[str, str]:
    """Return mode and kind of the maps that a name stands for."""
    mode = ends.name.removesuffix("_attention")
    return CROSS if mode == "cross" else (mode, "attention")


def _masks(offer: Offer) -> tuple[str, str]:
    """Return the fields that mask queries and keys, "" where none is padding."""
    queries, keys = (offer.mask if axis == "T" else "" for axis in offer.axes[-2:])
    return queries, keys


def _divergence(maps_BHQK: Tensor, target_BHQK: Tensor, batch: Batch, queries: str, keys: str) -> Tensor:
    """Return the mean divergence over real queries; `queries` and `keys` name the fields that mask them, "" for none."""
    if maps_BHQK.shape[1] != target_BHQK.shape[1]:
        maps_BHQK, target_BHQK = maps_BHQK.mean(1, keepdim=True), target_BHQK.mean(1, keepdim=True)
    maps_BQHK, target_BQHK = maps_BHQK.transpose(1, 2), target_BHQK.transpose(1, 2)
    rows, asked = target_BQHK.shape[:2]
    # Query rows are picked out before anything is computed: a mask multiplied later would let NaN through.
    chosen = batch.chosen(queries, rows, asked) if queries else None
    maps_nHK, target_nHK = (
        one.flatten(0, 1) if chosen is None else one[chosen] for one in (maps_BQHK, target_BQHK)
    )
    if keys:
        padding_BK = ~batch[keys][:rows]
        texts = padding_BK.repeat_interleave(asked, 0) if chosen is None else padding_BK[chosen[0]]
        maps_nHK = maps_nHK.masked_fill(texts[:, None], 0.0)
        target_nHK = target_nHK.masked_fill(texts[:, None], 0.0)
    # xlogy is 0 at 0, as the divergence asks; a plain product would be NaN there.
    terms_nHK = torch.xlogy(target_nHK, target_nHK) - target_nHK * maps_nHK.clamp(min=SMALLEST).log()
    return global_mean(terms_nHK.sum(-1).mean(-1))
