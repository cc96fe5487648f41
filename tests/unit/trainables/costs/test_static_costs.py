"""Parameters, FLOPs and size against hand arithmetic and published figures."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.unit.trainables.costs.subjects import ALL, passes, subject_of
from trainables.costs import COSTS
from trainables.costs.flops import flops, flops_by_mode
from trainables.costs.size import tokenizer_bytes
from trainables.costs.static import StaticCosts, measure_static
from trainables.costs.subject import Subject
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.families.towers.timm_backbone import measure
from trainables.signals import PICTURE, Offer, Serving, Want
from trainables.tokenizer import VocabularyConfig

VOCABULARY = VocabularyConfig(size=61, pad=0, cls=2, sep=3, dec=4, enc=5)
SQUARE = BlipArchitecture(
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
BLIP_BASE = BlipArchitecture(
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
MODELS = {
    "square": SQUARE,
    "unequal widths, two of four layers fuse": UNEQUAL,
    "unequal, first layer fuses": replace(UNEQUAL, fusion=(0,)),
    "longer than a caption": replace(UNEQUAL, max_tokens=40),
}
TASKS = {"all": ALL, **{name: (name,) for name in ALL}, "answers and captions": ("captioning", "vqa")}
EVERY_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
EVERY_TASK = pytest.mark.parametrize("tasks", TASKS.values(), ids=TASKS.keys())


def macs_by_hand(a: BlipArchitecture, tasks: tuple[str, ...]) -> dict[str, int]:
    """Multiply-accumulates of one example, from the definition of each product, independent of the code."""
    patches = (a.image_size // a.patch_size) ** 2
    P, W, D = patches + 1, a.image.width, a.text.width
    image_inner, text_inner = int(W * a.image.mlp_ratio), int(D * a.text.mlp_ratio)
    block = P * W * 3 * W + 2 * P * P * W + P * W * W + 2 * P * W * image_inner

    def layers(T: int) -> int:
        return a.text.depth * (4 * T * D * D + 2 * T * T * D + 2 * T * D * text_inner)

    def grounded(T: int) -> int:
        return layers(T) + len(a.fusion) * (2 * T * D * D + 2 * P * W * D + 2 * T * P * D)

    def step(T: int) -> int:
        return grounded(T) + T * D * D + T * D * a.vocabulary.size

    longest = a.max_tokens
    # a caption of n tokens takes n steps over texts of 1, 2, ... n tokens: the middle one is (n + 1) / 2 long
    steps = min(longest - 1, 20)
    by_task = {
        "retrieval": {"text": layers(longest) + D * a.embedding},
        "matching": {"fused": grounded(longest) + D * 2},
        "captioning": {"decoder": steps * step((steps + 1) // 2)},
        "vqa": {"answer": 2 * step(longest)},  # the answer's one word, and its end
    }
    image = patches * 3 * a.patch_size**2 * W + a.image.depth * block + W * a.embedding
    macs = {"image": image}  # the picture is looked at once, however many tasks there are
    for task in tasks:
        macs |= by_task[task]
    return macs


def params_by_hand(a: BlipArchitecture, tasks: tuple[str, ...]) -> int:
    patches = (a.image_size // a.patch_size) ** 2
    W, D, V = a.image.width, a.text.width, a.vocabulary.size
    image_inner, text_inner = int(W * a.image.mlp_ratio), int(D * a.text.mlp_ratio)
    image = W + (patches + 1) * W + 3 * a.patch_size**2 * W + W + 2 * W
    image += a.image.depth * (3 * W * W + 3 * W + W * W + W + 2 * W * image_inner + image_inner + W + 4 * W)
    attention = 4 * (D * D + D) + 2 * D
    text = V * D + a.max_tokens * D + 2 * D
    text += a.text.depth * (attention + 2 * D * text_inner + text_inner + D + 2 * D)
    heads = W * a.embedding + a.embedding + D * a.embedding + a.embedding + 1  # 1: the ITC temperature
    if {"matching", "captioning", "vqa"} & set(tasks):
        text += len(a.fusion) * (2 * (D * D + D) + 2 * (W * D + D) + 2 * D)
    if "matching" in tasks:
        heads += 2 * D + 2
    if {"captioning", "vqa"} & set(tasks):
        text += a.text.depth * attention + D * D + D + 2 * D + V
    return image + text + heads


@EVERY_TASK
@EVERY_MODEL
def test_flops_of_every_pass_equal_hand_arithmetic(model: BlipArchitecture, tasks: tuple[str, ...]) -> None:
    expected = {mode: 2 * macs for mode, macs in macs_by_hand(model, tasks).items()}
    assert flops_by_mode(subject_of(model, *tasks)) == expected


@EVERY_TASK
@EVERY_MODEL
def test_flops_from_one_layer_of_each_kind_equal_the_count_over_the_whole_model(
    model: BlipArchitecture, tasks: tuple[str, ...]
) -> None:
    subject = subject_of(model, *tasks)
    counted: dict[str, int] = {}
    for one in subject.servings:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            subject.model.run_pass(one.mode, subject.model.pass_inputs(one.mode, one.tokens))
        counted[one.mode] = one.repeats * counter.get_total_flops()
    assert flops_by_mode(subject) == counted


@EVERY_TASK
@EVERY_MODEL
def test_params_equal_hand_arithmetic(model: BlipArchitecture, tasks: tuple[str, ...]) -> None:
    assert measure_static(subject_of(model, *tasks)).params == params_by_hand(model, tasks)


def test_what_retrieval_alone_does_not_need_costs_it_nothing() -> None:
    alone = measure_static(subject_of(UNEQUAL, "retrieval"))
    assert set(alone.flops_by_mode) == {"image", "text"}
    dual = replace(UNEQUAL, fusion=())
    assert alone == measure_static(subject_of(dual, "retrieval"))
    assert alone.params < measure_static(subject_of(UNEQUAL, "matching")).params
    assert (
        measure_static(subject_of(UNEQUAL, "matching")).params
        < measure_static(subject_of(UNEQUAL, "captioning")).params
    )


def test_a_task_that_is_added_never_makes_another_one_cheaper_or_the_picture_dearer() -> None:
    whole = flops_by_mode(subject_of(UNEQUAL, *ALL))
    for task in ALL:
        alone = flops_by_mode(subject_of(UNEQUAL, task))
        assert alone == {mode: whole[mode] for mode in alone}


def test_steps_of_a_caption_are_counted_at_their_middle_length_and_those_of_an_answer_at_full_length() -> (
    None
):
    assert passes(subject_of(UNEQUAL, "captioning")) == [("decoder", 5, 10), ("image", 0, 1)]
    assert passes(subject_of(UNEQUAL, "vqa")) == [("answer", 11, 2), ("image", 0, 1)]
    longer = replace(UNEQUAL, max_tokens=40)
    assert passes(subject_of(longer, "captioning")) == [("decoder", 10, 20), ("image", 0, 1)]


def test_middle_length_is_within_a_tenth_of_all_steps_one_by_one() -> None:
    model = replace(UNEQUAL, max_tokens=40)
    by_step = [
        Serving(mode="decoder", tokens=tokens) for tokens in range(1, 21)
    ]  # [DEC] alone, then with 1, 2, ... words
    blueprint = subject_of(model, "captioning").blueprint
    exact = flops_by_mode(Subject(blueprint=blueprint, servings=by_step))["decoder"]
    assert flops_by_mode(subject_of(model, "captioning"))["decoder"] == pytest.approx(exact, rel=0.1)


def test_blip_base_has_the_published_number_of_parameters() -> None:
    # BlipForImageTextRetrieval at 384 px: 223,744,258 with 512 positions; ours adds the ITC temperature
    published = subject_of(replace(BLIP_BASE, max_tokens=512), "retrieval", "matching")
    assert measure_static(published).params == 223_744_258 + 1


def test_blip_base_has_the_known_multiply_accumulates() -> None:
    subject = subject_of(BLIP_BASE, "retrieval", "matching")
    giga = {mode: flops / 2e9 for mode, flops in flops_by_mode(subject).items()}
    assert giga["image"] == pytest.approx(55.5, abs=0.05)
    assert giga["text"] == pytest.approx(2.6, abs=0.05)
    assert giga["fused"] == pytest.approx(11.5, abs=0.05)


@pytest.mark.parametrize("name", ["vit_base_patch16_siglip_224", "cait_xxs24_224"])
def test_models_whose_queries_are_views_of_weights_are_counted(name: str) -> None:
    """SigLIP's pooling and CaiT's class layers read a weight that is spread over the batch."""
    sizes = {"img_size": 32, "embed_dim": 32, "depth": 1, "num_heads": 2}
    architecture = measure(name, {"num_classes": 0, "input_size": [3, 32, 32]}, sizes, ())
    blueprint = Blueprint("timm_backbone", architecture)
    model = blueprint.build().eval()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.run_pass("image", model.pass_inputs("image", 0))
    assert (
        flops(Subject(blueprint=blueprint, servings=[Serving(mode="image")])) == counter.get_total_flops() > 0
    )


def test_size_counts_weights_in_float32_and_the_tokenizer_files(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(b"x" * 1000)
    (tmp_path / "vocab.txt").write_bytes(b"x" * 24)
    (tmp_path / "README.md").write_bytes(b"x" * 5000)
    size = tokenizer_bytes(tmp_path)
    assert size == 1024
    costs = measure_static(subject_of(SQUARE, *ALL, tokenizer_bytes=size))
    assert costs.size_mib == (params_by_hand(SQUARE, ALL) * 4 + 1024) / 2**20


class Seeing(torch.nn.Linear):
    """A model without texts: 3 inputs, 2 outputs."""

    def __init__(self, architecture: object = None) -> None:
        super().__init__(3, 2)

    @classmethod
    def offers(cls, architecture: object) -> Mapping[Want, Offer]:
        return {Want("image", "logits"): Offer(axes=("C",), sizes=(2,), rows=PICTURE)}


def test_a_model_that_reads_no_texts_has_no_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.families.base.resolve", lambda *_: Seeing)
    subject = Subject(blueprint=Blueprint("seeing", None), servings=(), tokenizer_bytes=1024)
    assert subject.files_bytes == 0
    size: Any = COSTS["size_mib"]
    assert size(subject) == (3 * 2 + 2) * 4 / 2**20


def test_static_costs_survive_json() -> None:
    costs = measure_static(subject_of(SQUARE, *ALL, tokenizer_bytes=77))
    assert StaticCosts.from_dict(costs.to_dict()) == costs
    assert costs.flops == sum(costs.flops_by_mode.values())


def test_measuring_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    measure_static(subject_of(SQUARE, *ALL))
    assert torch.equal(before, torch.get_rng_state())


def test_the_table_gives_the_same_figures() -> None:
    subject = subject_of(SQUARE, *ALL, tokenizer_bytes=9)
    costs = measure_static(subject)
    assert sorted(COSTS) == ["flops", "latency_ms", "params", "size_mib"]
    for name in ("params", "flops", "size_mib"):
        assert COSTS[name](subject) == getattr(costs, name)


def test_a_new_architecture_is_measured_in_next_to_no_cpu_time() -> None:
    deep = replace(UNEQUAL, text=replace(UNEQUAL.text, depth=6), image=replace(UNEQUAL.image, depth=6))
    spent = []
    for fusion in ((0,), (0, 1), (0, 1, 2)):  # three architectures: another process may disturb one of them
        start = time.process_time()
        measure_static(subject_of(replace(deep, fusion=fusion), "retrieval", "captioning", "vqa"))
        spent.append(time.process_time() - start)
    assert min(spent) < 2.0  # ten times the usual, for cores that others keep busy
