"""A backbone of timm teaches what timm's own loader makes of it; names that timm does not have are told."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from spaces.errors import TeacherError
from tests import tolerance
from tests.unit.trainables.teachers.published import edit
from tests.unit.trainables.teachers.published_towers import TIMM, Published, save
from trainables.signals import PIXELS, Batch, Want, classes_meaning
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher
from trainables.teachers.towers.timm_folder import hub_id

OPS = 12 * 64 * 8  # 12 widths a layer, see `tests.tolerance`
POOLED, LOGITS = Want("image", "pooled"), Want("image", "logits")


@pytest.fixture
def resnet(tmp_path: Path) -> Published:
    return save(tmp_path / "resnet", "timm resnet")


def pictures(teacher: Teacher) -> Batch:
    side = teacher.preprocess.image_size
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    return Batch(fields={PIXELS: pixels}, rows={})


def pooled(model: Any, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.forward_head(model.forward_features(pixels), pre_logits=True)
    return found


@pytest.mark.parametrize("name", TIMM)
def test_a_folder_says_what_timms_own_loader_makes_of_it(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path / "model", name).folder
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    teacher = load_teacher(str(folder))
    assert teacher.preprocess.image_size == theirs.pretrained_cfg["input_size"][-1]
    batch = pictures(teacher)
    tolerance.close(
        teacher.signals(batch, frozenset({POOLED}))[POOLED], pooled(theirs, batch[PIXELS]), ops=OPS
    )
    if theirs.num_classes:
        with torch.no_grad():
            logits = theirs(batch[PIXELS])
        tolerance.close(teacher.signals(batch, frozenset({LOGITS}))[LOGITS], logits, ops=OPS)


def test_half_precision_and_pickled_files_are_read_as_float32(resnet: Published) -> None:
    whole = load_file(resnet.folder / "model.safetensors")
    halves = {name: one.half() if one.is_floating_point() else one for name, one in whole.items()}
    torch.save(halves, resnet.folder / "pytorch_model.bin")
    (resnet.folder / "model.safetensors").unlink()
    teacher = load_teacher(str(resnet.folder))
    assert all(one.dtype == torch.float32 for one in teacher.model.parameters())
    batch = pictures(teacher)
    expected = pooled(resnet.model.half().float(), batch[PIXELS])
    tolerance.close(teacher.signals(batch, frozenset({POOLED}))[POOLED], expected, ops=OPS)


def test_a_folder_that_the_transformers_library_saved_is_read(resnet: Published) -> None:
    expected = load_teacher(str(resnet.folder)).files.fingerprint
    weights = load_file(resnet.folder / "model.safetensors")
    save_file(
        {f"timm_model.{name}": one for name, one in weights.items()}, resnet.folder / "model.safetensors"
    )
    edit(resnet.folder, "model_type", "timm_wrapper")
    assert load_teacher(str(resnet.folder)).files.fingerprint == expected


def test_classes_are_told_by_their_names_where_the_config_has_them(resnet: Published) -> None:
    assert load_teacher(str(resnet.folder)).offers[LOGITS].meaning == "7 classes without names"
    names = ["a", "b", "c", "d", "e", "f", "g"]
    edit(resnet.folder, "label_names", names)
    assert load_teacher(str(resnet.folder)).offers[LOGITS].meaning == classes_meaning(names)


def test_a_loaded_model_does_not_hold_its_weights_twice(resnet: Published) -> None:
    network: Any = load_teacher(str(resnet.folder)).model.network
    assert "state_dict" not in network.pretrained_cfg
    assert "state_dict" not in network.default_cfg


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("architecture", "resnet_81", "which timm"),
        ("architecture", "test_resnett", "Did you mean 'test_resnet'?"),
        ("architecture", 3, "which timm"),
        ("pretrained_cfg", 3, "is no config that timm can read"),
        ("pretrained_cfg.crop_mode", "border", "crop_mode: got 'border'"),
        ("model_args", {"in_chans": 1}, "input_size: got [1, 160, 160]"),
        ("model_args", {"no_such_argument": 1}, "timm can make no 'test_resnet' of it"),
        ("model_args.num_classes", 9, "the weights do not fit the model"),
        (
            "model_args",
            {"checkpoint_path": "w.pth"},
            "got checkpoint_path; allowed: what a model is built by",
        ),
    ],
)
def test_what_cannot_be_held_is_refused_by_name(
    resnet: Published, path: str, value: object, told: str
) -> None:
    edit(resnet.folder, path, value)
    with pytest.raises(TeacherError) as caught:
        load_teacher(str(resnet.folder))
    assert told in str(caught.value)
    assert str(resnet.folder) in str(caught.value)


def test_weights_of_another_model_are_refused_by_their_names(resnet: Published) -> None:
    weights = load_file(resnet.folder / "model.safetensors")
    del weights["conv1.0.weight"]
    save_file({**weights, "surprise": torch.zeros(2)}, resnet.folder / "model.safetensors")
    with pytest.raises(TeacherError, match=r"the weights do not fit the model .*conv1\.0\.weight"):
        load_teacher(str(resnet.folder))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("timm/vit_small_patch14_dinov2", "timm/vit_small_patch14_dinov2.lvd142m"),
        ("timm/vit_small_patch14_dinov2.lvd142m", "timm/vit_small_patch14_dinov2.lvd142m"),
        ("timm/resnet50.a1_in1k", "timm/resnet50.a1_in1k"),
        ("someone/resnet50", "someone/resnet50"),
        ("timm/vit_base_patch16_clip_quickgelu_224.openai", "timm/vit_base_patch16_clip_224.openai"),
        ("timm/rdnet_tiny", "naver-ai/rdnet_tiny.nv_in1k"),
    ],
)
def test_a_name_of_timm_is_that_of_its_first_weights(name: str, found: str) -> None:
    assert hub_id(name) == found


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "timm/vit_smal_patch14_dinov2",
            "has no model 'vit_smal_patch14_dinov2'. Did you mean 'vit_small_patch14_dinov2'?",
        ),
        ("timm/qqqqqqq", "timm has no model 'qqqqqqq'. Give a name that timm.list_models() has."),
        ("timm/", "timm has no model ''"),
        (
            "timm/vit_small_patch14_dinov2.in1k",
            "no weights 'in1k' of 'vit_small_patch14_dinov2'. Known: lvd142m.",
        ),
        ("timm/vit_tiny_patch16_384.", ""),
        ("timm/gcvit_tiny", "timm has these weights on no hub (https://"),
    ],
)
def test_names_that_timm_does_not_have_are_told_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    def fetched(asked: str) -> Path:
        raise TeacherError(f"fetched {asked}")

    monkeypatch.setattr("trainables.teachers.towers.timm_folder.hub_folder", fetched)
    with pytest.raises(TeacherError) as caught:
        load_teacher(name)
    assert told in str(caught.value)
    assert ("fetched" in str(caught.value)) == (not told)


@pytest.mark.parametrize(
    ("name", "activation", "noted"),
    [
        ("timm/vit_base_patch16_clip_quickgelu_224.openai", "QuickGELU", False),
        ("timm/vit_base_patch16_clip_224.openai", "GELU", True),
    ],
)
def test_a_model_of_timm_is_the_one_that_is_named_where_two_share_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, activation: str, noted: bool
) -> None:
    sizes = {"img_size": 32, "embed_dim": 32, "depth": 1, "num_heads": 2}
    plain = timm.create_model("vit_base_patch16_clip_224.openai", num_classes=0, **sizes)
    timm.models.save_for_hf(plain, tmp_path, model_args=sizes)
    monkeypatch.setattr("trainables.teachers.towers.timm_folder.hub_folder", lambda _: tmp_path)
    teacher = load_teacher(name)
    network: Any = teacher.model.network
    assert type(network.blocks[0].mlp.act).__name__ == activation
    assert any("natively QuickGELU" in note for note in teacher.files.notes) == noted
    theirs = timm.create_model(name.removeprefix("timm/"), num_classes=0, **sizes).eval()
    theirs.load_state_dict(plain.state_dict())
    batch = pictures(teacher)
    told = teacher.signals(batch, frozenset({POOLED}))[POOLED]
    tolerance.close(told, pooled(theirs, batch[PIXELS]), ops=OPS)


def test_a_name_of_timm_comes_from_the_hub_under_its_full_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm.models.save_for_hf(timm.create_model("resnet18.a1_in1k"), tmp_path)
    asked: list[str] = []

    def folder(name: str) -> Path:
        asked.append(name)
        return tmp_path

    monkeypatch.setattr("trainables.teachers.towers.timm_folder.hub_folder", folder)
    teacher = load_teacher("timm/resnet18")
    assert asked == ["timm/resnet18.a1_in1k"]
    assert (teacher.files.name, teacher.files.folder) == ("timm/resnet18", tmp_path)


def test_an_older_config_in_one_piece_is_read(resnet: Published) -> None:
    path = resnet.folder / "config.json"
    told = json.loads(path.read_text())
    path.write_text(
        json.dumps({"architecture": told["architecture"], **told["pretrained_cfg"], "num_classes": 7})
    )
    teacher = load_teacher(str(resnet.folder))
    found = teacher.signals(pictures(teacher), frozenset({POOLED}))[POOLED]
    tolerance.close(found, pooled(resnet.model, pictures(teacher)[PIXELS]), ops=OPS)
