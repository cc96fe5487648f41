"""multihead_attention against `torch.nn.MultiheadAttention` with the same weights."""

import pytest
import torch
from torch import Tensor, nn

from spaces.errors import ShapeError
from tests.unit.trainables.families.teachers import around, ask, drafted, student, texts, want
from trainables.signals import Want

ROUNDINGS = (
    64 * torch.finfo(torch.float32).eps
)  # of sums over 16 products and 10 tokens of size about 1, three deep


def torchs(side: nn.Module) -> nn.MultiheadAttention:
    """Return torch's module with the weights of one side."""
    twin = nn.MultiheadAttention(16, 4, batch_first=True)
    own = side.state_dict()
    twin.load_state_dict(
        {
            "in_proj_weight": own["qkv.weight"],
            "in_proj_bias": own["qkv.bias"],
            "out_proj.weight": own["out.weight"],
            "out_proj.bias": own["out.bias"],
        }
    )
    return twin


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def test_pictures_mean_and_maps_are_those_of_torch() -> None:
    model = student("multihead_attention", around(16), heads=4, embedding=8)
    nn.init.normal_(model.image.qkv.bias)
    nn.init.normal_(model.image.out.bias)
    tokens = noise(3, 10, 16)
    found = ask(model, "image.pooled", "image.attention.0", "image.embedding", image_joint=tokens)
    with torch.no_grad():
        mixed, maps = torchs(model.image)(tokens, tokens, tokens, average_attn_weights=False)
        expected = model.image_projection(mixed.mean(1))
    torch.testing.assert_close(found[want("image.pooled")], mixed.mean(1), atol=ROUNDINGS, rtol=0)
    torch.testing.assert_close(found[want("image.attention.0")], maps, atol=ROUNDINGS, rtol=0)
    torch.testing.assert_close(
        found[want("image.embedding")],
        expected / expected.norm(dim=1, keepdim=True),
        atol=ROUNDINGS,
        rtol=0,
    )


def test_padding_of_texts_is_neither_looked_at_nor_in_the_mean() -> None:
    model = student("multihead_attention", around(16), heads=4, embedding=8)
    lengths, tokens = (7, 4), noise(2, 7, 16)
    batch = texts(*lengths)
    found = ask(model, "text.pooled", "text.attention.0", "text.embedding", batch=batch, text_joint=tokens)
    changed = tokens.masked_fill(~batch["caption.mask"][..., None], 1e3)
    again = ask(model, "text.pooled", "text.embedding", batch=batch, text_joint=changed)
    for name in ("text.pooled", "text.embedding"):
        assert torch.equal(again[want(name)], found[want(name)])
    assert not bool(found[want("text.attention.0")][1, :, :, 4:].any())
    twin = torchs(model.text)
    for row, length in enumerate(lengths):
        real = tokens[[row], :length]
        with torch.no_grad():
            mixed, maps = twin(real, real, real, average_attn_weights=False)
        torch.testing.assert_close(found[want("text.pooled")][[row]], mixed.mean(1), atol=ROUNDINGS, rtol=0)
        seen = found[want("text.attention.0")][[row], :, :length, :length]
        torch.testing.assert_close(seen, maps, atol=ROUNDINGS, rtol=0)


def test_texts_need_their_mask_and_pictures_do_not() -> None:
    model = drafted("multihead_attention", around(16), heads=4).on_meta()
    assert model.inputs(frozenset({Want("text", "embedding")})).fields == {"caption.mask"}
    assert model.inputs(frozenset({Want("image", "embedding")})).fields == set()


def test_heads_that_do_not_divide_the_teachers_tokens_are_refused_with_those_that_do() -> None:
    with pytest.raises(ShapeError, match=r"student\.heads: got 5, .* 16 wide; allowed: .* 1, 2, 4, 8, 16\."):
        drafted("multihead_attention", around(16), heads=5)
