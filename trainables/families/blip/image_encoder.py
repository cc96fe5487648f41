"""Image encoder: timm's VisionTransformer, with states and attention maps of chosen layers."""

from collections.abc import Set
from functools import partial
from typing import cast

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.regular import run


def attention_maps(attention: Attention, states_BPD: Tensor) -> Tensor:
    """Return the softmax maps (B, H, P, P) that timm's fused attention keeps to itself.

    The queries and keys are computed a second time: fused kernels never materialise the maps, and only the
    few layers that a loss asks for pay for it.
    """
    batch, tokens, _ = states_BPD.shape
    qkv = attention.qkv(states_BPD).reshape(batch, tokens, 3, attention.num_heads, attention.head_dim)
    query, key, _ = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    query, key = attention.q_norm(query), attention.k_norm(key)
    return torch.softmax((query * attention.scale) @ key.transpose(-2, -1), dim=-1)


class ImageEncoder(nn.Module):
    """Pre-norm vision transformer with a class token (Dosovitskiy et al. 2021), as BLIP uses it."""

    def __init__(self, config: BlipArchitecture) -> None:
        super().__init__()
        self.recomputed = False
        self.vit = VisionTransformer(
            img_size=config.image_size,
            patch_size=config.patch_size,
            num_classes=0,
            global_pool="",
            embed_dim=config.image.width,
            depth=config.image.depth,
            num_heads=config.image.heads,
            mlp_ratio=config.image.mlp_ratio,
            norm_layer=partial(nn.LayerNorm, eps=config.image_norm_eps),
            weight_init="skip",
        )

    def forward(
        self, images: Tensor, hidden: Set[int] = frozenset(), attention: Set[int] = frozenset()
    ) -> tuple[Tensor, dict[int, Tensor], dict[int, Tensor]]:
        """Return tokens (B, P, D) after the last norm, and the states and maps of the layers asked for.

        Args:
            images: (B, 3, S, S) normalised pixels.
            hidden: layers whose output state (B, P, D) is wanted.
            attention: layers whose maps (B, H, P, P) are wanted.
        """
        states: dict[int, Tensor] = {}
        maps: dict[int, Tensor] = {}
        tokens = self.embed(images)
        for index, block in enumerate(cast("list[Block]", self.vit.blocks)):  # torch types it as bare modules
            if index in attention:
                maps[index] = attention_maps(cast(Attention, block.attn), block.norm1(tokens))
            tokens = run(self.recomputed, block, tokens)
            if index in hidden:
                states[index] = tokens
        return self.vit.norm(tokens), states, maps

    def embed(self, images: Tensor) -> Tensor:
        """Return what the first layer reads (B, P, D): the class token and the patches, with their positions."""
        embedded: Tensor = self.vit.norm_pre(self.vit._pos_embed(self.vit.patch_embed(images)))
        return embedded
