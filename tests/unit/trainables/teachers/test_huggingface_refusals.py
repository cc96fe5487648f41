"""What our family cannot hold of a Hugging Face folder, or what is broken in it, is told by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from spaces.errors import TeacherError
from tests.unit.trainables.teachers.published import edit
from trainables.teachers.blip.huggingface import load_huggingface


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("architectures", ["BlipVisionModel"], "allowed: 'blip' with BlipForImageTextRetrieval"),
        ("architectures", ["BlipModel"], "The projections of a BlipModel are of no published training"),
        ("architectures", [], "got model_type 'blip' with architectures []"),
        ("model_type", "clip", "got model_type 'clip'"),
        (
            "vision_config.hidden_act",
            "quick_gelu",
            "vision_config.hidden_act: got 'quick_gelu'; allowed: 'gelu'",
        ),
        ("text_config.hidden_act", "relu", "text_config.hidden_act: got 'relu'"),
        ("text_config.is_decoder", False, "text_config.is_decoder: got false; allowed: true"),
        ("text_config.num_attention_heads", 5, "width must be a multiple of heads"),
        ("text_config.num_hidden_layers", "3", "text_config.num_hidden_layers: got '3'"),
        ("vision_config.image_size", [32, 48], "vision_config.image_size"),
        ("vision_config.image_size", 40, "got 40 with patch_size 16; allowed: a multiple of the patch"),
        (
            "vision_config.layer_norm_eps",
            "1e-5",
            "vision_config.layer_norm_eps: got '1e-5'; allowed: a number",
        ),
        (
            "text_config.layer_norm_eps",
            None,
            "text_config.layer_norm_eps: got null; allowed: a number above 0",
        ),
        ("text_config.layer_norm_eps", 0, "text_config.layer_norm_eps: got 0; allowed: a number above 0"),
        ("text_config.vocab_size", 9, "the tokenizer gives ids up to 18"),
    ],
)
def test_what_our_family_cannot_hold_is_refused_by_name(
    copied: Path, path: str, value: object, told: str
) -> None:
    edit(copied, path, value)
    with pytest.raises(TeacherError) as caught:
        load_huggingface(str(copied))
    assert told in str(caught.value)
    assert str(copied) in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("do_resize", False, "do_resize: got false"),
        ("do_center_crop", True, "crop_size: got [None, None]"),
        ("resample", 9, "resample: got 9; allowed: 0 to 5"),
        ("size", {"height": 64, "width": 64}, "makes pictures of side 64, config.json says image_size 32"),
        ("rescale_factor", -1.0, "rescale_factor: got -1.0; allowed: a number above 0"),
        ("image_mean", [0.5, 0.5], "three numbers each"),
    ],
)
def test_other_preprocessing_is_refused_by_name(copied: Path, path: str, value: object, told: str) -> None:
    edit(copied, path, value, "preprocessor_config.json")
    with pytest.raises(TeacherError) as caught:
        load_huggingface(str(copied))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("config.json", "config.json: cannot be read"),
        ("model.safetensors", "holds no weights; allowed: model.safetensors or pytorch_model.bin"),
        ("preprocessor_config.json", "holds neither preprocessor_config.json"),
        ("tokenizer.json", "holds neither tokenizer.json nor vocab.txt"),
    ],
)
def test_a_missing_file_is_named(copied: Path, name: str, told: str) -> None:
    (copied / name).unlink()
    if name == "tokenizer.json":
        (copied / "vocab.txt").unlink()
    with pytest.raises(TeacherError) as caught:
        load_huggingface(str(copied))
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_damaged_file_is_named(copied: Path, name: str) -> None:
    (copied / name).write_bytes((copied / name).read_bytes()[:30])
    with pytest.raises(TeacherError, match=f"{name}: cannot be read"):
        load_huggingface(str(copied))


def test_a_damaged_pickled_file_is_named(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").write_bytes(b"no pickle")
    with pytest.raises(TeacherError, match=r"pytorch_model\.bin: cannot be read"):
        load_huggingface(str(copied))


def test_missing_unknown_and_misshapen_weights_are_named_as_they_are_published(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    del weights["vision_proj.weight"]
    weights["vision_model.surprise"] = torch.zeros(2)
    weights["itm_head.bias"] = torch.zeros(3)
    save_file(weights, copied / "model.safetensors")
    with pytest.raises(TeacherError) as caught:
        load_huggingface(str(copied))
    assert "missing vision_proj.weight" in str(caught.value)
    assert "unknown vision_model.surprise" in str(caught.value)
    assert "itm_head.bias (3,) instead of (2,)" in str(caught.value)
