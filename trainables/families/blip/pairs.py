"""Which image meets which caption in the fused pass: the given pairs, and two hard negatives for each.

BLIP (Li et al. 2022, section 3.2) as coded upstream: one image per caption and one caption per image, drawn
by the ITC softmax. Pairs of the same caption or the same image are no negatives.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.signals import PICTURE, Batch


@dataclass(frozen=True, kw_only=True)
class FusedPairs:
    """Rows (N,) of captions and images that meet, with label 1 for the B given pairs, which come first."""

    captions_N: Tensor
    images_N: Tensor
    labels_N: Tensor


def allowed_negatives(batch: Batch) -> Tensor:
    """Return (B, B) bool, True where caption i and image j are a true negative."""
    same_caption = batch["caption.key"][:, None] == batch["caption.key"][None, :]
    same_image = batch.rows[PICTURE][:, None] == batch.rows[PICTURE][None, :]
    return ~(same_caption | same_image)


def draw_negatives(
    similarity_BB: Tensor, allowed_BB: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return one column per row drawn by softmax over the allowed ones, and (B,) bool: whether there was any.

    Computed in float32 with a floor, so that a half-precision or saturated softmax cannot sum to zero.

    Args:
        similarity_BB: ITC logits, rows ask for columns.
        allowed_BB: True where a column may be drawn.
        generator: on the device of the logits.
    """
    weights = similarity_BB.float().masked_fill(~allowed_BB, float("-inf")).softmax(dim=1).nan_to_num(0.0)
    weights = (weights + 1e-6) * allowed_BB
    possible = allowed_BB.any(dim=1)
    weights[~possible] = 1.0
    return torch.multinomial(weights, 1, generator=generator)[:, 0], possible


def fused_pairs(similarity_BB: Tensor, batch: Batch, generator: torch.Generator) -> FusedPairs:
    """Return the given pairs followed by their negatives.

    Args:
        similarity_BB: image-to-text logits (row = image, column = caption) of teacher or student, detached.
        batch: for the keys that tell false negatives.
        generator: on the device of the logits.
    """
    allowed = allowed_negatives(batch)
    rows = torch.arange(len(allowed), device=allowed.device)
    captions, has_caption = draw_negatives(similarity_BB, allowed.T, generator)
    images, has_image = draw_negatives(similarity_BB.T, allowed, generator)
    captions_N = torch.cat([rows, rows[has_image], captions[has_caption]])
    images_N = torch.cat([rows, images[has_image], rows[has_caption]])
    labels_N = torch.zeros(len(captions_N), dtype=torch.long, device=rows.device)
    labels_N[: len(rows)] = 1
    return FusedPairs(captions_N=captions_N, images_N=images_N, labels_N=labels_N)
