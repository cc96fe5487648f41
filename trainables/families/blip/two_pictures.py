"""Statements about two pictures: the head that tells whether they hold (Li et al. 2022, section 5.4)."""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from trainables.families.blip.architecture import BlipArchitecture, merged_layers
from trainables.families.blip.text_network import TextLayer
from trainables.signals import PIXELS_2, STATEMENT, Batch


def pair_head(architecture: BlipArchitecture) -> nn.Module | None:
    """Return what reads the state of [ENC], or None of a model that reads no statements."""
    if not architecture.has_pairs:
        return None
    width = architecture.text.width
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))


def told_of_two(model: Any, ids_BT: Tensor, mask_BT: Tensor, tokens: Tensor, tokens_2: Tensor) -> Tensor:
    """Return logits (B, 2) of false and true.

    Args:
        model: a `Blip` with the head.
        ids_BT: of the statements; the first becomes [ENC].
        mask_BT: True on real tokens.
        tokens, tokens_2: (B, P, image width) of the two pictures.
    """
    grounded = torch.cat(
        [torch.full_like(ids_BT[:, :1], model.architecture.vocabulary.enc), ids_BT[:, 1:]], dim=1
    )
    states = model.text_network.read_with_two(grounded, mask_BT, tokens, tokens_2)
    found: Tensor = model.pair_head(states[:, 0])
    return found


def told_of_batch(model: Any, batch: Batch, tokens: Tensor) -> Tensor:
    """Return the same (B, 2) of the statements of a batch, of whose first pictures the tokens are there."""
    other = model.encode_image(batch[PIXELS_2])
    return told_of_two(model, batch[f"{STATEMENT}.ids"], batch[f"{STATEMENT}.mask"], tokens, other)


def with_second(model: Any) -> Any:
    """Return a model with these weights that reads statements, too; its head, and the layers that merge, are drawn afresh.

    Args:
        model: a `Blip`, which stays as it is; one that has the head, or no layer to read them with, is given back.
    """
    a = model.architecture
    if a.has_pairs or not a.has_fusion:
        return model
    made = type(model)(replace(a, merged=merged_layers(a.text.depth, a.fusion))).to(model.device)
    made.load_state_dict(model.state_dict(), strict=False)
    made.negatives, made.drawn_from, made.floor = model.negatives, model.drawn_from, model.floor
    made.train_with(model.regular)
    begin_second(made)
    return made.train(model.training)


@torch.no_grad()
def begin_second(model: Any) -> None:
    """Let the second picture be looked at as the first one is: both blocks begin with the same weights, as in BLIP."""
    for layer in cast("list[TextLayer]", model.text_network.layers):
        if layer.second is not None and layer.cross_attention is not None:
            second = dict(layer.second.attention.named_parameters())
            for name, parameter in layer.cross_attention.named_parameters():
                if name in second:  # the norm is that of the first
                    second[name].copy_(parameter)
