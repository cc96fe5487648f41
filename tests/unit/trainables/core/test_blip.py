"""The model family: what each mode sees, what it does not see, and which parts exist."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tolerance import close
from tests.unit.trainables.core.small import lively, small_config, vocabulary
from trainables.models.blip import Blip
from trainables.models.config import BlipConfig, EncoderConfig
from trainables.outputs import Want

NUM_ROWS, NUM_TOKENS = 3, 9
LENGTHS = torch.tensor([9, 6, 4])
OPS = 3 * 12 * 20  # layers of the text side


def config(**changes: Any) -> BlipConfig:
    """Return sizes in which no two numbers are equal, so that a transposed shape cannot pass."""
    sizes = {
        "image": EncoderConfig(width=24, depth=2, heads=3),
        "text": EncoderConfig(width=20, depth=3, heads=5),
        "fusion": (0, 2),
        "embedding": 7,
    }
    return small_config(**(sizes | changes))


@pytest.fixture(scope="module")
def model() -> Blip:
    return lively(config())


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(NUM_ROWS, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def mask() -> Tensor:
    return torch.arange(NUM_TOKENS) < LENGTHS[:, None]


@pytest.fixture(scope="module")
def ids(mask: Tensor) -> Tensor:
    drawn = torch.randint(6, vocabulary().size, mask.shape, generator=torch.Generator().manual_seed(1))
    drawn[:, 0] = vocabulary().cls
    return drawn.masked_fill(~mask, vocabulary().pad)


@pytest.fixture(scope="module")
def tokens(model: Blip, images: Tensor) -> Tensor:
    found = model.encode_image(images).tokens_BPD
    assert found is not None
    return found.detach()


def modes(model: Blip, ids: Tensor, mask: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    """Return what each text mode says, (B, ...) or (B, T, ...)."""
    with torch.no_grad():
        text = model.encode_text(ids, mask)
        found = {
            "text embedding": text.embedding_BE,
            "text": text.tokens_BTD,
            "fused": model.fuse(ids, mask, tokens).logits_N2,
            "decoder": model.decode(ids, mask, tokens).logits_BTV,
        }
    return {name: value for name, value in found.items() if value is not None}


def test_shapes_of_all_modes(model: Blip, images: Tensor, ids: Tensor, mask: Tensor, tokens: Tensor) -> None:
    image = model.encode_image(images)
    assert image.tokens_BPD is not None
    assert image.tokens_BPD.shape == (NUM_ROWS, 5, 24)
    assert image.embedding_BE is not None
    assert image.embedding_BE.shape == (NUM_ROWS, 7)
    shapes = {name: tuple(value.shape) for name, value in modes(model, ids, mask, tokens).items()}
    assert shapes == {
        "text embedding": (NUM_ROWS, 7),
        "text": (NUM_ROWS, NUM_TOKENS, 20),
        "fused": (NUM_ROWS, 2),
        "decoder": (NUM_ROWS, NUM_TOKENS, vocabulary().size),
    }


def test_embeddings_have_unit_norm(model: Blip, images: Tensor, ids: Tensor, mask: Tensor) -> None:
    for embedding in (model.encode_image(images).embedding_BE, model.encode_text(ids, mask).embedding_BE):
        assert embedding is not None
        close(embedding.norm(dim=1), torch.ones(NUM_ROWS), ops=2 * 7)


@pytest.mark.parametrize("place", range(1, NUM_TOKENS))
def test_later_tokens_cannot_change_what_the_decoder_said_before(
    model: Blip, ids: Tensor, mask: Tensor, tokens: Tensor, place: int
) -> None:
    other = ids.clone()
    other[:, place] = (ids[:, place] - 6 + 1) % (vocabulary().size - 6) + 6
    before, after = modes(model, ids, mask, tokens)["decoder"], modes(model, other, mask, tokens)["decoder"]
    close(after[:, :place], before[:, :place], ops=OPS)
    assert (after[0, place:] - before[0, place:]).abs().amax(dim=-1).min() > 1e-4, (
        "and it reads what is there"
    )


def test_later_tokens_do_change_text_only_and_grounded_states(
    model: Blip, ids: Tensor, mask: Tensor, tokens: Tensor
) -> None:
    other = ids.clone()
    other[0, 8] = 40
    before, after = modes(model, ids, mask, tokens), modes(model, other, mask, tokens)
    for name in ("text embedding", "fused"):
        assert (after[name][0] - before[name][0]).abs().max() > 1e-4
        close(after[name][1:], before[name][1:], ops=OPS)


def test_padding_cannot_change_real_tokens(model: Blip, ids: Tensor, mask: Tensor, tokens: Tensor) -> None:
    together = modes(model, ids, mask, tokens)
    garbage = modes(model, torch.where(mask, ids, 33), mask, tokens)
    for row, length in enumerate(LENGTHS.tolist()):
        one = slice(row, row + 1)
        alone = modes(model, ids[one, :length], mask[one, :length], tokens[one])
        for name, value in alone.items():
            for other in (together[name], garbage[name]):
                real = other[one, :length] if name in ("text", "decoder") else other[one]
                close(real, value, ops=OPS, message=f"{name}: ")


def test_grounded_modes_see_the_image_and_text_only_does_not(
    model: Blip, ids: Tensor, mask: Tensor, tokens: Tensor
) -> None:
    before, after = modes(model, ids, mask, tokens), modes(model, ids, mask, tokens.flip(0))
    for name in ("fused", "decoder"):
        assert (after[name][0] - before[name][0]).abs().max() > 1e-3
        close(after[name][1], before[name][1], ops=OPS)
    torch.testing.assert_close(after["text"], before["text"], atol=0, rtol=0)


def test_first_token_says_the_mode(model: Blip, ids: Tensor, mask: Tensor, tokens: Tensor) -> None:
    other = ids.clone()
    other[:, 0] = 17
    before, after = modes(model, ids, mask, tokens), modes(model, other, mask, tokens)
    for name in ("fused", "decoder"):  # [ENC] and [DEC] are put there whatever came
        torch.testing.assert_close(after[name], before[name], atol=0, rtol=0)
    assert (after["text"] - before["text"]).abs().max() > 1e-3
    with torch.no_grad():
        model.text_network.words.weight[vocabulary().enc] *= -1
        other_word = modes(model, ids, mask, tokens)
        model.text_network.words.weight[vocabulary().enc] *= -1
    assert (other_word["fused"] - before["fused"]).abs().max() > 1e-3
    torch.testing.assert_close(other_word["text"], before["text"], atol=0, rtol=0)


def test_decoder_is_tied_to_the_encoder_except_for_its_self_attention(model: Blip) -> None:
    names = {name for name, _ in model.text_network.named_parameters()}
    extra = names - {name for name, _ in Blip(config(decoder=False)).text_network.named_parameters()}
    assert {name for name in extra if not name.startswith("head_")} == {
        f"layers.{layer}.decoder_attention.{part}.{kind}"
        for layer in range(3)
        for part in ("query", "key", "value", "output", "norm")
        for kind in ("weight", "bias")
    }
    assert {name.split(".")[0] for name in extra if name.startswith("head_")} == {
        "head_transform", "head_norm", "head_bias",
    }  # fmt: skip


def test_language_head_is_the_word_table(model: Blip, ids: Tensor, mask: Tensor, tokens: Tensor) -> None:
    before = modes(model, ids, mask, tokens)["decoder"]
    unused = int(next(i for i in range(6, vocabulary().size) if i not in ids))
    with torch.no_grad():
        model.text_network.words.weight[unused] *= -1
        after = modes(model, ids, mask, tokens)["decoder"]
        model.text_network.words.weight[unused] *= -1
        bias = model.text_network.head_bias
    close(after[..., unused] - bias[unused], -(before[..., unused] - bias[unused]), ops=OPS)
    rest = [i for i in range(vocabulary().size) if i != unused]
    close(after[..., rest], before[..., rest], ops=OPS)


def test_cross_attention_exists_in_fusion_layers_only() -> None:
    made = Blip(config(fusion=(1,)))
    names = {
        name.split(".")[1] for name, _ in made.text_network.named_parameters() if "cross_attention" in name
    }
    assert names == {"1"}


def test_dual_encoder_has_no_matching_head_and_no_decoder(ids: Tensor, mask: Tensor, images: Tensor) -> None:
    dual = Blip(config(fusion=()))
    names = [name for name, _ in dual.named_parameters()]
    assert not [name for name in names if any(word in name for word in ("itm", "decoder", "cross", "head_"))]
    assert dual.itm_head is None
    tokens = dual.encode_image(images).tokens_BPD
    assert tokens is not None
    assert dual.encode_text(ids, mask).embedding_BE is not None
    with pytest.raises(ValueError, match="dual encoder"):
        dual.fuse(ids, mask, tokens)
    with pytest.raises(ValueError, match="cannot decode"):
        dual.decode(ids, mask, tokens)


def test_no_parameter_is_idle(images: Tensor, ids: Tensor, mask: Tensor) -> None:
    made = lively(config())
    image = made.encode_image(images)
    assert image.tokens_BPD is not None
    outputs = [
        image.embedding_BE,
        made.encode_text(ids, mask).embedding_BE,
        made.fuse(ids, mask, image.tokens_BPD).logits_N2,
        made.decode(ids, mask, image.tokens_BPD).logits_BTV,
    ]
    sum(value.sin().sum() for value in outputs if value is not None).backward()  # type: ignore[union-attr]
    idle = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == ["temperature"], "the contrastive loss alone uses it"


def test_only_wanted_layers_are_kept(
    model: Blip, images: Tensor, ids: Tensor, mask: Tensor, tokens: Tensor
) -> None:
    wants = frozenset(
        {
            Want("image", "hidden", 1), Want("image", "attention", 0), Want("text", "hidden", 2),
            Want("fused", "cross_attention", 2), Want("decoder", "attention", 1), Want("answer", "hidden", 0),
        }
    )  # fmt: skip
    image, text = model.encode_image(images, wants), model.encode_text(ids, mask, wants)
    fused, decoder = model.fuse(ids, mask, tokens, wants), model.decode(ids, mask, tokens, wants=wants)
    answer = model.decode(ids, mask, tokens, mode="answer", wants=wants)
    assert (set(image.hidden), set(image.attention)) == ({1}, {0})
    assert (set(text.hidden), set(text.attention)) == ({2}, set())
    kept = [(set(o.hidden), set(o.attention), set(o.cross_attention)) for o in (fused, decoder, answer)]
    assert kept == [(set(), set(), {2}), (set(), {1}, set()), ({0}, set(), set())]
    nothing = model.fuse(ids, mask, tokens)
    assert (nothing.hidden, nothing.attention, nothing.cross_attention) == ({}, {}, {})


def test_state_after_the_last_layer_is_what_the_heads_read(
    model: Blip, images: Tensor, ids: Tensor, mask: Tensor, tokens: Tensor
) -> None:
    wants = frozenset({Want("text", "hidden", 2), Want("fused", "hidden", 2), Want("image", "hidden", 1)})
    text, fused = model.encode_text(ids, mask, wants), model.fuse(ids, mask, tokens, wants)
    close(text.hidden[2], text.tokens_BTD, ops=OPS)
    assert model.itm_head is not None
    close(model.itm_head(fused.hidden[2][:, 0]), fused.logits_N2, ops=OPS)
    image = model.encode_image(images, wants)
    close(model.image_encoder.vit.norm(image.hidden[1]), image.tokens_BPD, ops=OPS)


def test_fresh_vision_encoder_is_alive(images: Tensor) -> None:
    torch.manual_seed(0)
    fresh = Blip(small_config())
    embedding = fresh.encode_image(images).embedding_BE
    assert embedding is not None
    distances = torch.cdist(embedding, embedding)[~torch.eye(NUM_ROWS, dtype=torch.bool)]
    assert distances.min() > 0.05
    for name, parameter in fresh.image_encoder.named_parameters():
        if parameter.ndim > 1:
            assert 0.008 < parameter.std() < 0.06, name


def test_fresh_weights_follow_the_seed() -> None:
    def draw(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        return Blip(small_config()).state_dict()

    first, again, other = draw(3), draw(3), draw(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_initial_deviation_shrinks_with_fan_in_down_to_that_of_blip() -> None:
    torch.manual_seed(0)
    side = EncoderConfig(width=768, depth=1, heads=12)
    fresh = Blip(small_config(image=side, text=side, fusion=()))
    block = fresh.text_network.layers[0]
    assert float(block.attention.query.weight.detach().std()) == pytest.approx(
        0.6 / 768**0.5, rel=0.02
    )  # 0.0217
    assert float(block.output.weight.detach().std()) == pytest.approx(0.6 / (4 * 768) ** 0.5, rel=0.02)
    assert float(Blip(small_config()).image_projection.weight.detach().std()) == pytest.approx(0.05, rel=0.15)


@pytest.mark.parametrize(("value", "kept"), [(0.001, 0.01), (0.07, 0.07), (3.0, 0.5)])
def test_temperature_is_kept_in_range(value: float, kept: float) -> None:
    fresh = Blip(small_config())
    assert fresh.temperature.item() == pytest.approx(0.07)
    with torch.no_grad():
        fresh.temperature.fill_(value)
    fresh.clamp_temperature()
    assert fresh.temperature.item() == pytest.approx(kept)
    assert fresh.temperature.requires_grad
