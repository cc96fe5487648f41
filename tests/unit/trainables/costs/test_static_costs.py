"""Parameters, FLOPs and size against hand arithmetic and published figures."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainables.costs import COSTS
from trainables.costs.flops import flops_by_mode, meta_inputs, modes, run_mode
from trainables.costs.size import tokenizer_bytes
from trainables.costs.static import StaticCosts, measure_static
from trainables.costs.subject import Subject, on_meta
from trainables.models.config import BlipConfig, EncoderConfig, VocabularyConfig

VOCABULARY = VocabularyConfig(size=61, pad=0, cls=2, sep=3, dec=4, enc=5)
SQUARE = BlipConfig(
    image=EncoderConfig(width=32, depth=2, heads=2),
    text=EncoderConfig(width=32, depth=2, heads=2),
    fusion=(0, 1),
    embedding=16,
    image_size=32,
    patch_size=8,
    max_tokens=11,
    vocabulary=VOCABULARY,
)
UNEQUAL = replace(
    SQUARE,
    image=EncoderConfig(width=48, depth=3, heads=3, mlp_ratio=2.0),
    text=EncoderConfig(width=20, depth=4, heads=5, mlp_ratio=3.0),
    fusion=(1, 3),
)
BLIP_BASE = BlipConfig(
    image=EncoderConfig(width=768, depth=12, heads=12),
    text=EncoderConfig(width=768, depth=12, heads=12),
    fusion=tuple(range(12)),
    embedding=256,
    image_size=384,
    patch_size=16,
    max_tokens=30,
    vocabulary=VocabularyConfig(size=30524, pad=0, cls=101, sep=102, dec=30522, enc=30523),
    decoder=False,
)
CONFIGS = {
    "square": SQUARE,
    "unequal widths, two of four layers fuse": UNEQUAL,
    "unequal, first layer fuses": replace(UNEQUAL, fusion=(0,)),
    "dual encoder": replace(UNEQUAL, fusion=()),
    "no language-model head": replace(UNEQUAL, decoder=False),
}


def macs_by_hand(c: BlipConfig) -> dict[str, int]:
    """Multiply-accumulates from the definition of each product, independent of the code."""
    patches = (c.image_size // c.patch_size) ** 2
    P, W, T, D = patches + 1, c.image.width, c.max_tokens, c.text.width
    image_inner, text_inner = int(W * c.image.mlp_ratio), int(D * c.text.mlp_ratio)
    block = P * W * 3 * W + 2 * P * P * W + P * W * W + 2 * P * W * image_inner
    image = patches * 3 * c.patch_size**2 * W + c.image.depth * block + W * c.embedding
    layer = 4 * T * D * D + 2 * T * T * D + 2 * T * D * text_inner
    cross = 2 * T * D * D + 2 * P * W * D + 2 * T * P * D
    macs = {"image": image, "text": c.text.depth * layer + D * c.embedding}
    if c.fusion:
        grounded = c.text.depth * layer + len(c.fusion) * cross
        macs["fused"] = grounded + D * 2
        if c.decoder:
            macs["decoder"] = grounded + T * D * D + T * D * c.vocabulary.size
    return macs


def params_by_hand(c: BlipConfig) -> int:
    patches = (c.image_size // c.patch_size) ** 2
    W, D, V = c.image.width, c.text.width, c.vocabulary.size
    image_inner, text_inner = int(W * c.image.mlp_ratio), int(D * c.text.mlp_ratio)
    image = W + (patches + 1) * W + 3 * c.patch_size**2 * W + W + 2 * W
    image += c.image.depth * (3 * W * W + 3 * W + W * W + W + 2 * W * image_inner + image_inner + W + 4 * W)
    attention = 4 * (D * D + D) + 2 * D
    text = V * D + c.max_tokens * D + 2 * D
    text += c.text.depth * (attention + 2 * D * text_inner + text_inner + D + 2 * D)
    heads = W * c.embedding + c.embedding + D * c.embedding + c.embedding + 1  # 1: the ITC temperature
    if c.fusion:
        text += len(c.fusion) * (2 * (D * D + D) + 2 * (W * D + D) + 2 * D)
        heads += 2 * D + 2
        if c.decoder:
            text += c.text.depth * attention + D * D + D + 2 * D + V
    return image + text + heads


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_flops_of_every_mode_equal_hand_arithmetic(config: BlipConfig) -> None:
    assert flops_by_mode(config) == {mode: 2 * macs for mode, macs in macs_by_hand(config).items()}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_flops_from_one_layer_of_each_kind_equal_the_count_over_the_whole_model(config: BlipConfig) -> None:
    model, inputs = on_meta(config), meta_inputs(config)
    for mode, expected in flops_by_mode(config).items():
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            run_mode(model, mode, inputs)
        assert counter.get_total_flops() == expected


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_params_equal_hand_arithmetic(config: BlipConfig) -> None:
    assert measure_static(config, 0).params == params_by_hand(config)


def test_a_dual_encoder_has_neither_fused_pass_nor_decoder() -> None:
    assert modes(CONFIGS["dual encoder"]) == ("image", "text")
    assert set(measure_static(CONFIGS["dual encoder"], 0).flops_by_mode) == {"image", "text"}


def test_blip_base_has_the_published_number_of_parameters() -> None:
    # BlipForImageTextRetrieval at 384 px: 223,744,258 with 512 positions; ours adds the ITC temperature
    assert measure_static(replace(BLIP_BASE, max_tokens=512), 0).params == 223_744_258 + 1


def test_blip_base_has_the_known_multiply_accumulates() -> None:
    giga = {mode: flops / 2e9 for mode, flops in flops_by_mode(BLIP_BASE).items()}
    assert giga["image"] == pytest.approx(55.5, abs=0.05)
    assert giga["text"] == pytest.approx(2.6, abs=0.05)
    assert giga["fused"] == pytest.approx(11.5, abs=0.05)


def test_size_counts_weights_in_float32_and_the_tokenizer_files(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(b"x" * 1000)
    (tmp_path / "vocab.txt").write_bytes(b"x" * 24)
    (tmp_path / "README.md").write_bytes(b"x" * 5000)
    size = tokenizer_bytes(tmp_path)
    assert size == 1024
    assert measure_static(SQUARE, size).size_mib == (params_by_hand(SQUARE) * 4 + 1024) / 2**20


def test_static_costs_survive_json() -> None:
    costs = measure_static(SQUARE, 77)
    assert StaticCosts.from_dict(costs.to_dict()) == costs
    assert costs.flops == sum(costs.flops_by_mode.values())


def test_measuring_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    measure_static(SQUARE, 0)
    assert torch.equal(before, torch.get_rng_state())


def test_the_table_gives_the_same_figures() -> None:
    subject, costs = Subject(config=SQUARE, tokenizer_bytes=9), measure_static(SQUARE, 9)
    assert sorted(COSTS) == ["flops", "latency_ms", "params", "size_mib"]
    for name in ("params", "flops", "size_mib"):
        assert COSTS[name](subject) == getattr(costs, name)


def test_a_new_architecture_is_measured_in_next_to_no_cpu_time() -> None:
    deep = replace(UNEQUAL, text=replace(UNEQUAL.text, depth=6), image=replace(UNEQUAL.image, depth=6))
    spent = []
    for fusion in ((0,), (0, 1), (0, 1, 2)):  # three architectures: another process may disturb one of them
        start = time.process_time()
        measure_static(replace(deep, fusion=fusion), 0)
        spent.append(time.process_time() - start)
    assert min(spent) < 2.0  # ten times the usual, for cores that others keep busy
