"""Representation distillation: hidden states of mapped layers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.configs import YOUNGER
from trainables.losses.agreement import require_one_grid, require_same_shape
from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.features.mapping import LayerMap, LayerPair, layer_needs, layer_pairs, require_layers
from trainables.losses.options import require_one_of
from trainables.losses.picking import picked
from trainables.losses.reduction import global_mean
from trainables.signals import Batch, Signals

KINDS = ("mse", "cosine")
TOKENS = ("all", "first")


@final
class Hidden(Loss):
    """Give the states of one mode the content of the teacher's, layer by mapped layer: `MODE_hidden`.

    Hidden-state distillation of Jiao et al. 2020 (TinyBERT), equation 8, with the states layer-normed first so that
    weights compare between layers and models. Kuang et al. 2023 (DLIP) take the first token by cosine. Padding is left
    out. Where widths differ, each mapped student layer has its own linear projection to the teacher's width, trained with
    it and not exported; never on the teacher's side, where it could shrink the target.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            layers: which student layers take part, or pairs of layers, see `mapping.layer_pairs`.
            map: which of the teacher's they meet.
            kind: `mse` of layer-normed states, or `cosine` (1 - cosine).
            tokens: `all` real tokens, or the `first` one alone ([CLS], [ENC] or [DEC], which DLIP takes).
        """

        weight: float = 1.0
        layers: str = "last"
        kind: Literal["mse", "cosine"] = "mse"
        tokens: Literal["all", "first"] = "all"
        map: LayerMap = field(default="uniform", metadata=YOUNGER)

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_layers(self.layers, self.map)
            require_one_of("kind", self.kind, KINDS)
            require_one_of("tokens", self.tokens, TOKENS)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.kind, self.tokens = config.kind, config.tokens
        self.pairs = layer_pairs(config.layers, ends, _mode(ends), "hidden", rule=config.map)
        self.masks = {pair: ends.source[pair.source].mask for pair in self.pairs}
        self.keys = _keys(self.pairs)
        self.projections = nn.ModuleDict()
        for pair in self.pairs:
            if config.tokens == "all":
                require_one_grid(pair.student, pair.source, ends)
            mine, theirs = ends.student[pair.student].size("D"), ends.source[pair.source].size("D")
            self.projections[self.keys[pair]] = nn.Identity() if mine == theirs else nn.Linear(mine, theirs)

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the states of the mapped layers."""
        assert isinstance(config, Hidden.Config)
        return layer_needs(config.layers, ends, _mode(ends), "hidden", rule=config.map)

    @classmethod
    def disagreement(cls, config: Loss.Config, ends: Ends) -> str | None:
        """Return why the first tokens cannot be compared, or None: one that sees no other says the same of every text."""
        assert isinstance(config, Hidden.Config)
        pairs = layer_pairs(config.layers, ends, _mode(ends), "hidden", rule=config.map)
        if config.tokens == "all" or not any(ends.source[pair.source].causal for pair in pairs):
            return None
        return (
            "compares first tokens, and this teacher's sees no other, so that it is the same for every text (tokens: all "
            "compares the others, too); left out for it."
        )

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean over layers of the mean over the real tokens of all workers: 0 for equal states.

        Rows of the student behind the teacher's B (negatives) are left out.
        """
        return torch.stack([self._distance(pair, student, source, batch) for pair in self.pairs]).mean()

    def _distance(self, pair: LayerPair, student: Signals, source: Signals, batch: Batch) -> Tensor:
        target_BTD = source[pair.source].detach().float()
        states_BTD = student[pair.student].float()[: len(target_BTD)]
        if self.tokens == "first":
            states_BTD, target_BTD = states_BTD[:, :1], target_BTD[:, :1]
        require_same_shape(pair.student, states_BTD[..., 0], target_BTD[..., 0])
        if self.masks[pair]:
            # Padding is taken out before anything is computed: a mask multiplied later would let NaN through.
            chosen = batch.chosen(self.masks[pair], *target_BTD.shape[:2])
            states, target = picked(states_BTD, chosen), picked(target_BTD, chosen)
        else:
            states, target = states_BTD.flatten(0, 1), target_BTD.flatten(0, 1)
        states = self.projections[self.keys[pair]](states)
        if self.kind == "cosine":
            return global_mean(1 - functional.cosine_similarity(states, target, dim=-1))
        width = target.shape[-1:]
        return global_mean(
            (functional.layer_norm(states, width) - functional.layer_norm(target, width)).square().mean(-1)
        )


def _mode(ends: Ends) -> str:
    return ends.name.removesuffix("_hidden")


def _keys(pairs: Sequence[LayerPair]) -> dict[LayerPair, str]:
    """Return the name of each pair's projection: the student's layer, with the teacher's where that stands in several."""
    counted = Counter(pair.student.layer for pair in pairs)
    return {
        pair: f"{pair.student.layer}"
        if counted[pair.student.layer] == 1
        else f"{pair.student.layer}>{pair.source.layer}"
        for pair in pairs
    }
