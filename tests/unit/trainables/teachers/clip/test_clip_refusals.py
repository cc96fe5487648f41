"""What a CLIP folder lacks, or what of it we cannot hold, is told by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from spaces.errors import TeacherError
from tests.unit.trainables.teachers.clip.small_clip import SIZES, Published, save_vision
from tests.unit.trainables.teachers.published import edit
from trainables.teachers.towers.clip import load_clip


def told(folder: Path) -> str:
    with pytest.raises(TeacherError) as caught:
        load_clip(str(folder))
    assert str(folder) in str(caught.value)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("model_type", "clip_text_model", "got model_type 'clip_text_model' with architectures ['CLIPModel']; allowed: 'clip'"),
        ("model_type", None, "got model_type null"),
        ("model_type", ["clip"], "got model_type ['clip']"),
        ("architectures", ["CLIPForImageClassification"], "with architectures ['CLIPForImageClassification']"),
        ("vision_config.num_hidden_layers", "3", "vision_config.num_hidden_layers: got '3'; allowed: a whole number"),
        ("vision_config", 5, "vision_config: got a int, allowed is one JSON object"),
        ("vision_config.num_hidden_layers", 0, "vision_config.num_hidden_layers: got 0; allowed: a whole number above 0"),
        ("vision_config.num_attention_heads", 5, "is not a multiple of the number of attention heads"),
        ("vision_config.num_attention_heads", 0, "vision_config.num_attention_heads: got 0; allowed"),
        ("vision_config.layer_norm_eps", "tiny", "config.json: Validation error for field 'layer_norm_eps'"),
        ("vision_config.num_channels", 1, "vision_config.num_channels: got 1; allowed: 3"),
        ("vision_config.image_size", [32, 48], "vision_config.image_size: got [32, 48]"),
        ("vision_config.patch_size", 33, "patch_size: got 33 with image_size 32; allowed: 1 to 32"),
        ("vision_config.image_size", 48, "its image processor makes pictures of side 32, config.json says image_size 48"),
        ("text_config.hidden_act", "gelluh", "text_config.hidden_act: got 'gelluh'; allowed: "),
        ("text_config.hidden_size", 27, "the weights do not fit the model: wrong shape"),
        ("text_config.num_hidden_layers", 4, "the weights do not fit the model: missing text_model.encoder.layers.2."),
        ("text_config.max_position_embeddings", 1, "max_tokens 1 and 1 positions"),
        ("text_config.vocab_size", 99, "text_config.vocab_size is 99; allowed: below it"),
        ("text_config.eos_token_id", 7, "text_config.eos_token_id: got 7, the tokenizer ends texts with"),
        ("text_config.eos_token_id", [7], "text_config.eos_token_id: got [7], the tokenizer ends texts with"),
        ("text_config.eos_token_id", None, "text_config.eos_token_id: got null, the tokenizer ends texts with"),
        ("projection_dim", None, "projection_dim: got null; allowed: a whole number above 0"),
    ],
)  # fmt: skip
def test_what_its_config_must_not_say(copied_clip: Path, path: str, value: object, expected: str) -> None:
    edit(copied_clip, path, value)
    assert expected in told(copied_clip)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("config.json", "config.json: cannot be read"),
        ("model.safetensors", "holds no weights; allowed"),
        ("tokenizer.json", "holds neither tokenizer.json nor vocab.json with merges.txt. Save the teacher's tokenizer there."),
    ],
)  # fmt: skip
def test_a_missing_file_is_named(copied_clip: Path, name: str, expected: str) -> None:
    (copied_clip / name).unlink()
    assert expected in told(copied_clip)


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
)
def test_a_damaged_file_is_told(copied_clip: Path, name: str) -> None:
    (copied_clip / name).write_bytes((copied_clip / name).read_bytes()[:30])
    assert "cannot be read" in told(copied_clip)


def test_a_folder_of_merges_without_their_vocabulary(copied_clip: Path) -> None:
    (copied_clip / "tokenizer.json").unlink()
    (copied_clip / "merges.txt").write_text("#version: 0.2\n")
    assert "holds neither tokenizer.json nor vocab.json with merges.txt" in told(copied_clip)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"bos_token": None, "tokenizer_class": "PreTrainedTokenizerFast"}, "names no begin or no end token"),
        ({"bos_token": None}, "its tokenizer cannot be read"),
        ({"eos_token": "a</w>"}, "the tokenizer ends texts with"),
        ({"pad_token": "<pad>"}, "the tokenizer gives ids up to"),
    ],
)
def test_other_special_tokens(copied_clip: Path, change: dict[str, Any], expected: str) -> None:
    for name, value in change.items():
        edit(copied_clip, name, value, "tokenizer_config.json")
    assert expected in told(copied_clip)


def test_an_old_end_token_that_is_not_the_highest_id(copied_clip: Path) -> None:
    edit(copied_clip, "text_config.eos_token_id", 2)
    edit(copied_clip, "eos_token", "<|startoftext|>", "tokenizer_config.json")
    edit(copied_clip, "bos_token", "<|endoftext|>", "tokenizer_config.json")
    assert "got 2, for which CLIPTextModel takes the highest id of a text as its end" in told(copied_clip)


def test_missing_and_unknown_weights_are_named_as_they_are_published(copied_clip: Path) -> None:
    weights = load_file(copied_clip / "model.safetensors")
    del weights["logit_scale"]
    weights["text_model.surprise"] = torch.zeros(2)
    weights["visual_projection.weight"] = torch.zeros(3)
    save_file(weights, copied_clip / "model.safetensors")
    message = told(copied_clip)
    assert "missing logit_scale; unknown text_model.surprise" in message
    assert "visual_projection.weight (3,) instead of (20, 32)" in message


def test_a_vision_side_with_wrong_weights(tmp_path: Path) -> None:
    save_vision(tmp_path, projected=False)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["post_layernorm.bias"]
    save_file(weights, tmp_path / "model.safetensors")
    assert "missing vision_model.post_layernorm.bias" in told(tmp_path)


def test_texts_need_a_side_that_reads_them(small_clip: Published) -> None:
    teacher = load_clip(str(small_clip.folder))
    assert teacher.preprocess.framing.resize == SIZES["even"]["image_size"]
    assert teacher.tokenizer is not None
    assert teacher.surroundings.max_tokens == teacher.tokenizer.max_tokens
