"""What holds in training alone: dropout and drop-path where BLIP has them, and what is computed again instead of kept."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers.drop import DropPath
from torch import nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True, kw_only=True)
class Regular:
    """How a model is trained.

    Attributes:
        dropout: of the text side, behind its embedding, on its attention maps, and behind each of its sub-layers: where BERT has
            it, 0.1 in BLIP.
        drop_path: of the last image layer, growing evenly from 0 of the first (Huang et al. 2016): 0 in BLIP's pre-training, 0.1
            in its fine-tuning on questions and statements.
        image_again, text_again: sides whose layers are computed again in the backward pass, so that only their inputs are kept
            (Chen et al. 2016).
    """

    dropout: float = 0.0
    drop_path: float = 0.0
    image_again: bool = False
    text_again: bool = False


def make_regular(model: Any, how: Regular) -> None:
    """Let a `Blip` be trained so; nothing of it holds in evaluation."""
    for name in ("text_network", "answer_network"):
        network = getattr(model, name, None)  # which a model of one side, or without answers, lacks
        if network is not None:
            network.recomputed = how.text_again
            for module in network.modules():
                if isinstance(module, nn.Dropout):
                    module.p = how.dropout
    if model.architecture.side != "text":
        model.image_encoder.recomputed = how.image_again
        blocks = model.image_encoder.vit.blocks
        for block, rate in zip(blocks, torch.linspace(0, how.drop_path, len(blocks)).tolist(), strict=True):
            block.drop_path1, block.drop_path2 = (DropPath(rate) if rate else nn.Identity() for _ in range(2))


def run(again: bool, layer: nn.Module, *inputs: Any, by: Callable[..., Any] | None = None) -> Any:
    """Return what a layer makes of its inputs; where it is computed again, nothing else of it is kept for the backward pass.

    Args:
        again: whether it is.
        layer: in training or not.
        inputs: of it.
        by: the way of the layer that they are of; None for its own call.
    """
    made = layer if by is None else by
    if again and layer.training and torch.is_grad_enabled():
        return checkpoint(made, *inputs, use_reentrant=False)
    return made(*inputs)
