"""Image encoder: timm's VisionTransformer, with states and attention maps of chosen layers."""

from collections.abc import Set
from functools import partial
from typing import cast

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

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


class PlainAttention(Attention):
    """Timm's attention without its options, and so without copying gradients twice.

    Queries, keys and values are views of one product as it lies in memory, so that their gradients are put together in its
    order. Put together in another, they were copied once more: 4.5 of the 152 ms that a student's step of 512 pictures kept an
    H100 busy. The values are the same, to the bit.
    """

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Return new states (B, P, D)."""
        if not self.fused_attn:  # whoever sets TIMM_FUSED_ATTN=0 gets timm's own
            return super().forward(x, attn_mask, is_causal)
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.num_heads, self.head_dim)
        query, key, value = (one.transpose(1, 2) for one in qkv.unbind(2))
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attn_mask, is_causal=is_causal
        )
        found: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, tokens, self.attn_dim))
        return found


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
            attn_layer=PlainAttention,
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
        patches = self.vit.patch_embed(images) if not images.is_cuda else self.patches(images)
        embedded: Tensor = self.vit.norm_pre(self.vit._pos_embed(patches))
        return embedded

    def compile_layers(self) -> None:
        """Let torch.compile make kernels of the layers, in place; weights keep their names."""
        for block in cast("list[Block]", self.vit.blocks):
            block.compile()

    def patches(self, images: Tensor) -> Tensor:
        """Return what the convolution of patches says (B, P - 1, D), as one product, which it is: patches do not overlap.

        For three channels in bfloat16 cuDNN falls back to a slow kernel: of 512 pictures of 224 px it took 3.3 ms, and 3.5 for
        the gradient, as long as three layers' products of a student.
        """
        weight, bias = self.vit.patch_embed.proj.weight, self.vit.patch_embed.proj.bias
        kind = images.device.type
        if torch.is_autocast_enabled(kind):  # rounded as the product would, before it is put in order
            images = images.to(torch.get_autocast_dtype(kind))
        (_, channels, side, _), size = images.shape, weight.shape[-1]
        count = side // size
        seen = images[
            ..., : count * size, : count * size
        ]  # a rest that fills no patch is not seen, as by the convolution
        grid = seen.unflatten(3, (count, size)).unflatten(2, (count, size))
        rows = grid.permute(0, 2, 4, 1, 3, 5).reshape(len(images), -1, channels * size * size)
        return functional.linear(rows, weight.flatten(1), bias)
