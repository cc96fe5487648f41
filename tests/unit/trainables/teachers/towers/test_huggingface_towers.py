"""A folder of the transformers library teaches what its own class says, in whatever files its weights lie."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from spaces.errors import TeacherError
from tests import tolerance
from tests.unit.trainables.teachers.published import edit
from tests.unit.trainables.teachers.published_towers import KINDS, SIDE, Published, body, save
from trainables.signals import PIXELS, Batch, Want, classes_meaning
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher

OPS = 12 * 32 * 3  # 12 widths a layer, see `tests.tolerance`
POOLED, TOKENS, LOGITS = (Want("image", what) for what in ("pooled", "tokens", "logits"))
WEIGHTS = "model.safetensors"


@pytest.fixture
def beit(tmp_path: Path) -> Published:
    return save(tmp_path / "beit", "beit classes")


def batch() -> Batch:
    pixels = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return Batch(fields={PIXELS: pixels}, rows={})


def tokens_of(model: Any, pixels: Tensor) -> Tensor:
    arguments = {"interpolate_pos_encoding": True} if model.config.model_type == "vit" else {}
    with torch.no_grad():
        found: Tensor = body(model)(pixels, **arguments).last_hidden_state
    return found


def tokens(teacher: Teacher) -> Tensor:
    return teacher.signals(batch(), frozenset({TOKENS}))[TOKENS]


@pytest.mark.parametrize("name", KINDS)
def test_every_class_says_the_same_here(tmp_path: Path, name: str) -> None:
    published = save(tmp_path / "model", name)
    teacher = load_teacher(str(published.folder))
    assert teacher.tokenizer is None
    assert teacher.preprocess.image_size == SIDE
    tolerance.close(tokens(teacher), tokens_of(published.model, batch()[PIXELS]), ops=OPS)
    if "classes" in name:
        arguments = {"interpolate_pos_encoding": True} if name == "vit classes" else {}
        with torch.no_grad():
            logits = published.model(batch()[PIXELS], **arguments).logits
        tolerance.close(teacher.signals(batch(), frozenset({LOGITS}))[LOGITS], logits, ops=OPS)
    else:
        assert LOGITS not in teacher.offers


@pytest.mark.parametrize("name", ["vit classes", "dinov3", "beit masked"])
def test_shards_are_read(tmp_path: Path, name: str) -> None:
    whole = load_teacher(str(save(tmp_path / "whole", name).folder))
    parted = save(tmp_path / "parted", name, max_shard_size="20KB").folder
    assert len(list(parted.glob("model-*.safetensors"))) > 1
    assert load_teacher(str(parted)).files.fingerprint == whole.files.fingerprint


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    published = save(tmp_path / "model", "dinov2")
    published.model.half().save_pretrained(published.folder)
    assert load_file(published.folder / WEIGHTS)["layernorm.weight"].dtype == torch.float16
    teacher = load_teacher(str(published.folder))
    assert all(one.dtype == torch.float32 for one in teacher.model.parameters())
    tolerance.close(tokens(teacher), tokens_of(published.model.float(), batch()[PIXELS]), ops=OPS)


def test_a_pickled_file_is_read(beit: Published) -> None:
    expected = load_teacher(str(beit.folder)).files.fingerprint
    torch.save(load_file(beit.folder / WEIGHTS), beit.folder / "pytorch_model.bin")
    (beit.folder / WEIGHTS).unlink()
    assert load_teacher(str(beit.folder)).files.fingerprint == expected


def test_dino_weights_without_a_pooler_and_others_with_one_are_the_same_teacher(tmp_path: Path) -> None:
    published = save(tmp_path / "model", "vit")
    weights = load_file(published.folder / WEIGHTS)
    assert "pooler.dense.weight" in weights
    expected = load_teacher(str(published.folder))
    save_file(
        {name: one for name, one in weights.items() if "pooler" not in name}, published.folder / WEIGHTS
    )
    assert load_teacher(str(published.folder)).files.fingerprint == expected.files.fingerprint


def test_a_masked_beit_has_a_pooler_that_normalises_the_mean_and_no_more(tmp_path: Path) -> None:
    teacher = load_teacher(str(save(tmp_path / "model", "beit masked").folder))
    found = teacher.signals(batch(), frozenset({POOLED, TOKENS}))
    mean = found[TOKENS][:, 1:].mean(1)
    expected = torch.nn.functional.layer_norm(mean, (32,), eps=1e-12)
    tolerance.close(found[POOLED], expected, ops=OPS)


def test_classes_are_told_by_their_names(beit: Published) -> None:
    assert load_teacher(str(beit.folder)).offers[LOGITS].meaning == "6 classes without names"
    names = ["cat", "dog", "ant", "bee", "elk", "fox"]
    edit(beit.folder, "id2label", dict(enumerate(names)))
    edit(beit.folder, "label2id", {name: index for index, name in enumerate(names)})
    assert load_teacher(str(beit.folder)).offers[LOGITS].meaning == classes_meaning(names)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (
            "architectures",
            ["BeitForSemanticSegmentation"],
            "architectures: got ['BeitForSemanticSegmentation']; allowed",
        ),
        (
            "architectures",
            "BeitModel",
            "architectures: got 'BeitModel'; allowed: one of BeitModel, BeitForImageCl",
        ),
        (
            "image_size",
            [32, 48],
            "image_size: got [32, 48]; allowed: a whole number above 0, the side of a square",
        ),
        ("patch_size", 0, "patch_size: got 0"),
        ("patch_size", 64, "pictures of side 40; allowed: at least one patch of 64"),
        ("hidden_size", "wide", "hidden_size"),
        ("hidden_size", 0, "hidden_size: got 0; allowed: a whole number above 0"),
        ("num_hidden_layers", -1, "num_hidden_layers: got -1"),
        (
            "num_attention_heads",
            5,
            "num_attention_heads: got 5 with hidden_size 32; allowed: a divisor of it",
        ),
        ("num_channels", 1, "num_channels: got 1; allowed: 3"),
        ("num_hidden_layers", 4, "the weights do not fit the model: missing"),
        ("num_hidden_layers", 2, "the weights do not fit the model: unknown"),
        ("intermediate_size", 50, "the weights do not fit the model: wrong shape"),
        ("hidden_act", "loud", "no BeitModel can be made of it ('loud')"),
        ("id2label", {"0": "cat", "2": "dog"}, "id2label"),
        ("id2label", {"0": "cat", "1": "dog"}, "wrong shape classifier.bias (6,) instead of (2,)"),
    ],
)
def test_what_cannot_be_held_is_refused_by_name(beit: Published, path: str, value: object, told: str) -> None:
    edit(beit.folder, path, value)
    with pytest.raises(TeacherError) as caught:
        load_teacher(str(beit.folder))
    assert told in str(caught.value)
    assert str(beit.folder) in str(caught.value)


def test_missing_unknown_and_misshapen_weights_are_named(beit: Published) -> None:
    weights = load_file(beit.folder / WEIGHTS)
    del weights["classifier.weight"], weights["beit.embeddings.cls_token"]
    weights |= {"surprise": torch.zeros(2), "beit.wonder": torch.zeros(2), "classifier.bias": torch.zeros(7)}
    save_file(weights, beit.folder / WEIGHTS)
    with pytest.raises(TeacherError) as caught:
        load_teacher(str(beit.folder))
    for told in (
        "missing classifier.weight, embeddings.cls_token;",
        "unknown surprise, wonder;",
        "wrong shape classifier.bias (7,) instead of (6,).",
    ):
        assert told in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", WEIGHTS])
def test_a_missing_and_a_damaged_file_are_named(beit: Published, name: str) -> None:
    whole = (beit.folder / name).read_bytes()
    (beit.folder / name).write_bytes(whole[:30])
    with pytest.raises(TeacherError, match=f"{name}: cannot be read"):
        load_teacher(str(beit.folder))
    (beit.folder / name).unlink()
    with pytest.raises(TeacherError, match=r"cannot be read|holds no weights|holds neither"):
        load_teacher(str(beit.folder))


def test_loading_says_nothing_on_the_screen_and_leaves_the_librarys_log_as_it_was(
    beit: Published, capfd: pytest.CaptureFixture[str]
) -> None:
    before = transformers.logging.get_verbosity()
    load_teacher(str(beit.folder))
    assert transformers.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


def test_a_published_config_keeps_its_defaults_out_of_the_file(tmp_path: Path) -> None:
    published = save(tmp_path / "model", "dinov2 classes")
    config = json.loads((published.folder / "config.json").read_text())
    expected = tokens(load_teacher(str(published.folder)))
    for name in ("layer_norm_eps", "hidden_act", "qkv_bias", "layerscale_value", "use_swiglu_ffn"):
        config.pop(name)
    (published.folder / "config.json").write_text(json.dumps(config))
    assert torch.equal(tokens(load_teacher(str(published.folder))), expected)
