"""A side that lets the teacher's tokens attend to one another, and takes their mean."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.families.two_sided.architecture import MASKS, ROWS, TEXT, Read, Said, SideNetwork, SideSizes
from trainables.signals import Offer, Offers, Want


@dataclass(frozen=True, kw_only=True)
class AttentionSizes(SideSizes):
    """Sizes of a side that attends.

    Attributes:
        read: the teacher's tokens.
        heads: attention heads; they divide the width of a token.
    """

    read: Read
    heads: int

    @property
    def width(self) -> int:
        """Width of a token."""
        return self.read.sizes[-1]

    @property
    def source(self) -> Read | None:
        """The tokens."""
        return self.read

    def offers(self, mode: str) -> Offers:
        """Return the mean over the tokens, and the attention maps."""
        axis, tokens = "T" if mode == TEXT else "P", self.read.sizes[0]
        return {
            Want(mode, "pooled"): Offer(axes=("D",), sizes=(self.width,), rows=ROWS[mode]),
            Want(mode, "attention", 0): Offer(
                axes=("H", axis, axis),
                sizes=(self.heads, tokens, tokens),
                rows=ROWS[mode],
                mask=MASKS[mode],
            ),
        }

    def build(self) -> SideNetwork:
        """Return the attention with fresh weights."""
        return SelfAttention(self.width, self.heads)


class SelfAttention(SideNetwork):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2), then the mean over real tokens.

    The parameters of `torch.nn.MultiheadAttention`, drawn as it draws them; written out since that one has no kernel that
    `FlopCounterMode` counts in eval mode, and computes maps only instead of the fused kernel. The mean is taken before
    the last layer, which is linear: the same vector for the price of one token.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, given: Tensor, mask: Tensor | None, *, maps: bool) -> Said:
        """Return the mean token (B, D), and the maps (B, H, T, T) where they are asked for.

        Args:
            given: tokens (B, T, D).
            mask: (B, T) True on real tokens; None where all are.
            maps: whether attention maps are asked for.
        """
        rows, tokens, width = given.shape
        qkv = self.qkv(given).reshape(rows, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = None if mask is None else mask[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        mixed_BTD = mixed.transpose(1, 2).reshape(rows, tokens, width)
        if mask is None:
            mean_BD = mixed_BTD.mean(1)
        else:
            weight_BT1 = mask[..., None].to(mixed_BTD)
            mean_BD = (mixed_BTD * weight_BT1).sum(1) / weight_BT1.sum(1)
        return Said(pooled=self.out(mean_BD), attention=_maps(query, key, seen) if maps else None)


def _maps(query: Tensor, key: Tensor, seen: Tensor | None) -> Tensor:
    """Return the softmax maps, which fused kernels keep to themselves; no padded token is looked at."""
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if seen is not None:
        logits = logits.masked_fill(~seen, -torch.inf)
    return torch.softmax(logits, dim=-1)
