"""What the image side does in another way than timm: the same values."""

import pytest
import torch
from timm.layers.attention import Attention
from torch import Tensor

from tests.tolerance import close
from tests.unit.trainables.small import lively, small_config
from trainables.families.blip.image_encoder import ImageEncoder, PlainAttention


@pytest.fixture(name="encoder")
def made_encoder() -> ImageEncoder:
    return lively(small_config()).image_encoder


def with_slopes(encoder: ImageEncoder, images: Tensor) -> list[Tensor]:
    encoder.zero_grad()
    tokens = encoder(images)[0]
    (tokens * torch.linspace(-1, 1, tokens.numel()).view_as(tokens)).sum().backward()
    slopes = [one.grad for one in encoder.parameters()]
    assert all(one is not None for one in slopes)
    return [tokens.detach().clone(), *(one.clone() for one in slopes if one is not None)]


def test_its_attention_is_that_of_timm_to_the_bit(
    encoder: ImageEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.randn(3, 3, 64, 64)
    ours = with_slopes(encoder, images)
    monkeypatch.setattr(PlainAttention, "forward", Attention.forward)
    for mine, theirs in zip(ours, with_slopes(encoder, images), strict=True):
        assert torch.equal(mine, theirs)


def test_patches_as_a_product_are_those_of_the_convolution(encoder: ImageEncoder) -> None:
    images = torch.randn(3, 3, 64, 64)
    convolved = encoder.vit.patch_embed(images)
    close(encoder.patches(images), convolved, ops=3 * 32 * 32)
    uneven = torch.randn(3, 3, 70, 70)  # as a CLIP teacher of 378 pixels shows them: a rest fills no patch
    convolved = encoder.vit.patch_embed.proj(uneven).flatten(2).mT
    close(encoder.patches(uneven), convolved, ops=3 * 32 * 32)


def test_compiled_layers_keep_the_names_of_their_weights() -> None:
    model = lively(small_config())
    before, blocks = list(model.state_dict()), model.image_encoder.vit.blocks
    assert all(block._compiled_call_impl is None for block in blocks)
    model.compile_layers()
    assert list(model.state_dict()) == before
    assert all(block._compiled_call_impl is not None for block in blocks)
