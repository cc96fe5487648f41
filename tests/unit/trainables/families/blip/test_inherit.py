"""Weights that a student takes from its teacher: evenly spaced layers, leading slices."""

import pytest
import torch
from torch import Tensor

from tests.unit.trainables.small import lively, small_config
from trainables.families.blip.architecture import EncoderConfig
from trainables.families.blip.inherit import inherit_image, inherit_text
from trainables.families.blip.model import Blip
from trainables.layers import evenly_spaced

TEACHER = small_config(
    image=EncoderConfig(width=8, depth=4, heads=2),
    text=EncoderConfig(width=8, depth=4, heads=2),
    fusion=(0, 3),
    embedding=6,
)
STUDENT = small_config(
    image=EncoderConfig(width=4, depth=2, heads=1),
    text=EncoderConfig(width=4, depth=2, heads=1),
    fusion=(0, 1),
    embedding=3,
)


@pytest.mark.parametrize(
    ("student", "teacher", "layers"),
    [
        (3, 6, [1, 3, 5]),
        (2, 4, [1, 3]),
        (6, 6, [0, 1, 2, 3, 4, 5]),
        (1, 6, [5]),
        (2, 12, [5, 11]),
        (4, 2, [0, 0, 1, 1]),
        (2, 1, [0, 0]),
    ],
)
def test_layers_are_evenly_spaced_and_the_last_is_the_last(
    student: int, teacher: int, layers: list[int]
) -> None:
    assert evenly_spaced(student, teacher) == layers


@pytest.fixture(scope="module")
def teacher() -> Blip:
    model = lively(TEACHER)
    with torch.no_grad():
        model.temperature.fill_(0.2)
    return model


@pytest.fixture(scope="module")
def source(teacher: Blip) -> dict[str, Tensor]:
    return teacher.state_dict()


@pytest.fixture
def student() -> Blip:
    torch.manual_seed(9)
    return Blip(STUDENT)


def test_fused_query_key_and_value_are_sliced_each_by_itself(
    student: Blip, teacher: Blip, source: dict[str, Tensor]
) -> None:
    inherit_image(student, teacher)
    for layer, origin in ((0, 1), (1, 3)):
        block = student.image_encoder.vit.blocks[layer]
        name = f"image_encoder.vit.blocks.{origin}.attn.qkv"
        rows = [
            0,
            1,
            2,
            3,
            8,
            9,
            10,
            11,
            16,
            17,
            18,
            19,
        ]  # of 8 queries, 8 keys, 8 values: the first 4 of each
        assert torch.equal(block.attn.qkv.weight, source[f"{name}.weight"][rows][:, :4])
        assert torch.equal(block.attn.qkv.bias, source[f"{name}.bias"][rows])


def test_image_side_takes_leading_slices_of_everything(
    student: Blip, teacher: Blip, source: dict[str, Tensor]
) -> None:
    before = {name: value.clone() for name, value in student.state_dict().items()}
    inherit_image(student, teacher)
    after = student.state_dict()
    vit = "image_encoder.vit."
    assert torch.equal(after[f"{vit}cls_token"], source[f"{vit}cls_token"][..., :4])
    assert torch.equal(after[f"{vit}pos_embed"], source[f"{vit}pos_embed"][..., :4])
    assert torch.equal(after[f"{vit}patch_embed.proj.weight"], source[f"{vit}patch_embed.proj.weight"][:4])
    assert torch.equal(after[f"{vit}norm.weight"], source[f"{vit}norm.weight"][:4])
    assert torch.equal(after["image_projection.weight"], source["image_projection.weight"][:3, :4])
    for layer, origin in ((0, 1), (1, 3)):
        mine, theirs = f"{vit}blocks.{layer}.", f"{vit}blocks.{origin}."
        assert torch.equal(after[f"{mine}mlp.fc1.weight"], source[f"{theirs}mlp.fc1.weight"][:16, :4])
        assert torch.equal(after[f"{mine}mlp.fc2.weight"], source[f"{theirs}mlp.fc2.weight"][:4, :16])
        assert torch.equal(after[f"{mine}attn.proj.bias"], source[f"{theirs}attn.proj.bias"][:4])
        assert torch.equal(after[f"{mine}norm2.bias"], source[f"{theirs}norm2.bias"][:4])
    untouched = [name for name in after if torch.equal(after[name], before[name])]
    assert untouched == [
        name for name in after if not name.startswith(("image_encoder.", "image_projection."))
    ]


def test_text_side_takes_leading_slices_of_everything(
    student: Blip, teacher: Blip, source: dict[str, Tensor]
) -> None:
    before = {name: value.clone() for name, value in student.state_dict().items()}
    inherit_text(student, teacher)
    after = student.state_dict()
    text = "text_network."
    assert torch.equal(after[f"{text}words.weight"], source[f"{text}words.weight"][:, :4])
    assert torch.equal(after[f"{text}positions.weight"], source[f"{text}positions.weight"][:, :4])
    assert torch.equal(after[f"{text}head_transform.weight"], source[f"{text}head_transform.weight"][:4, :4])
    assert torch.equal(after[f"{text}head_bias"], source[f"{text}head_bias"])
    assert torch.equal(after["itm_head.weight"], source["itm_head.weight"][:, :4])
    assert torch.equal(after["text_projection.weight"], source["text_projection.weight"][:3, :4])
    assert float(after["temperature"]) == pytest.approx(0.2)
    for layer, origin in ((0, 1), (1, 3)):
        for part in ("attention.query", "decoder_attention.value", "attention.output"):
            mine, theirs = (
                after[f"{text}layers.{layer}.{part}.weight"],
                source[f"{text}layers.{origin}.{part}.weight"],
            )
            assert torch.equal(mine, theirs[:4, :4])
        mine, theirs = (
            after[f"{text}layers.{layer}.output.weight"],
            source[f"{text}layers.{origin}.output.weight"],
        )
        assert torch.equal(mine, theirs[:4, :16])
    assert all(torch.equal(after[name], before[name]) for name in after if name.startswith("image_"))
    assert not any(
        torch.equal(after[name], before[name])
        for name in after
        if name.startswith(text) and after[name].ndim > 1
    )


def test_fusion_layer_without_counterpart_takes_the_nearest_cross_attention(
    student: Blip, teacher: Blip, source: dict[str, Tensor]
) -> None:
    inherit_text(student, teacher)
    # student layer 0 comes from teacher layer 1, which does not fuse; of 0 and 3 the former is nearer
    for layer, origin in ((0, 0), (1, 3)):
        mine = student.state_dict()[f"text_network.layers.{layer}.cross_attention.key.weight"]
        assert torch.equal(mine, source[f"text_network.layers.{origin}.cross_attention.key.weight"][:4, :4])


def test_a_wider_student_keeps_fresh_weights_beyond_its_teacher(
    teacher: Blip, source: dict[str, Tensor]
) -> None:
    torch.manual_seed(1)
    wide = Blip(small_config(image=EncoderConfig(width=12, depth=1, heads=3), embedding=6))
    before = wide.image_projection.weight.detach().clone()
    inherit_image(wide, teacher)
    assert torch.equal(wide.image_projection.weight[:, :8], source["image_projection.weight"])
    assert torch.equal(wide.image_projection.weight[:, 8:], before[:, 8:])


def test_a_student_of_its_teachers_sizes_becomes_its_teacher(
    teacher: Blip, source: dict[str, Tensor]
) -> None:
    torch.manual_seed(1)
    twin = Blip(TEACHER)
    inherit_image(twin, teacher)
    inherit_text(twin, teacher)
    assert all(torch.equal(value, source[name]) for name, value in twin.state_dict().items())


def test_a_dual_encoder_inherits_what_it_has(teacher: Blip, source: dict[str, Tensor]) -> None:
    dual = Blip(small_config(text=STUDENT.text, image=STUDENT.image, fusion=(), embedding=3))
    inherit_text(dual, teacher)
    assert torch.equal(dual.text_network.words.weight, source["text_network.words.weight"][:, :4])


def test_inheriting_leaves_the_teacher_as_it_was(student: Blip, teacher: Blip) -> None:
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    inherit_image(student, teacher)
    inherit_text(student, teacher)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
