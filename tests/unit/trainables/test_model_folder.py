"""A model as a folder: what is written is read back, what does not fit is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from spaces.errors import TeacherError
from tests.unit.trainables.small import PREPROCESS, lively, small_config, tokenizer, vocabulary, write_teacher
from trainables.families.blip.model import Blip
from trainables.model_folder import (
    Reading,
    fingerprint,
    is_model_folder,
    read_model_folder,
    write_model_folder,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_teacher(tmp_path / "model")


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_round_trip_is_exact(folder: Path) -> None:
    model, read = lively(small_config()), read_model_folder(folder)
    assert read.model.architecture == read.blueprint.architecture == model.architecture
    assert read.blueprint.kind == "blip"
    assert read.preprocess == PREPROCESS
    assert read.measured["note"] == [1, "two"]
    expected = model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in read.model.state_dict().items())
    assert not read.model.training
    assert read.tokenizer is not None
    assert (read.tokenizer.vocabulary, read.tokenizer.max_tokens) == (vocabulary(), 24)
    assert read.tokenizer.unknown_share(["a red ring"]) == 0.0
    assert read.fingerprint == fingerprint(model)


@pytest.mark.parametrize(
    "changes", [{"fusion": ()}, {"decoder": False}, {"fusion": (1,)}, {"matching": False}]
)
def test_round_trip_of_other_architectures(tmp_path: Path, changes: dict[str, Any]) -> None:
    read = read_model_folder(write_teacher(tmp_path, **changes))
    assert read.model.architecture == small_config(**changes)


def write(target: Path, model: Blip, folder: Path) -> None:
    """Write a model in half precision, with the tokenizer of a folder."""
    write_model_folder(
        target, model, kind="blip", measured={}, dtype=torch.float16,
        reading=Reading(preprocess=PREPROCESS, tokenizer=tokenizer(folder), folder=folder),
    )  # fmt: skip


def test_half_precision_rounds_once_and_reads_as_float32(folder: Path, tmp_path: Path) -> None:
    model, target = lively(small_config()), tmp_path / "half"
    write(target, model, folder)
    size, whole = ((where / "model.safetensors").stat().st_size for where in (target, folder))
    assert size < 0.6 * whole
    read = read_model_folder(target)
    rounded = lively(small_config()).half().float()
    expected = rounded.state_dict()
    for name, value in read.model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[name])
    assert read.fingerprint == fingerprint(rounded) != fingerprint(model)
    again = tmp_path / "again"
    write(again, read.model, target)
    assert read_model_folder(again).fingerprint == read.fingerprint


def test_a_folder_of_version_1_is_the_same_model(folder: Path) -> None:
    """It named no family, since there was one, and kept the tokenizer's sizes among those of the model."""
    new, config = read_model_folder(folder), json.loads((folder / "config.json").read_text())
    assert config["version"] == 2
    assert config["model"].pop("family") == "blip"
    del config["tokenizer"]
    (folder / "config.json").write_text(json.dumps(config | {"version": 1}))
    old = read_model_folder(folder)
    assert (old.blueprint, old.preprocess, old.fingerprint) == (
        new.blueprint,
        new.preprocess,
        new.fingerprint,
    )
    assert old.tokenizer is not None
    assert new.tokenizer is not None
    assert old.tokenizer.to_dict() == new.tokenizer.to_dict()
    assert old.tokenizer.digest == new.tokenizer.digest


def test_fingerprint_is_of_every_weight_and_of_the_config() -> None:
    model = lively(small_config())
    before = fingerprint(model)
    assert before == fingerprint(lively(small_config()))
    with torch.no_grad():
        model.text_network.head_bias[-1] += 1e-3
    assert fingerprint(model) != before
    twin = lively(small_config(text_norm_eps=1e-6))
    assert fingerprint(twin) != before


def test_folders_of_others_are_told_apart(folder: Path, tmp_path: Path) -> None:
    assert is_model_folder(folder)
    assert not is_model_folder(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "blip"}')
    assert not is_model_folder(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    assert not is_model_folder(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(TeacherError, match=rf"{name}: cannot be read"):
        read_model_folder(folder)


def test_a_missing_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    read_model_folder(folder)
    (folder / "vocab.txt").unlink()
    with pytest.raises(TeacherError, match=r"neither tokenizer.json nor vocab.txt"):
        read_model_folder(folder)


def test_damaged_files_are_named(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(TeacherError, match=r"model.safetensors: cannot be read .* Export the model again"):
        read_model_folder(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(TeacherError, match=r"config.json: cannot be read"):
        read_model_folder(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, r"got format 'student-search' version 99; allowed: 'student-search' version 2 or"),
        ({"format": "other"}, r"got format 'other' version 2"),
        ({"model": {"image": {}}}, "not a model config"),
        (
            {"model": small_config().to_dict() | {"family": "blop"}},
            "not a model config .*Did you mean 'blip'",
        ),
        ({"preprocess": {}}, "not a model config"),
        ({"tokenizer": {"max_tokens": 24}}, "no tokenizer settings"),
    ],
)
def test_another_format_or_config_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    change_config(folder, **changes)
    with pytest.raises(TeacherError, match=message):
        read_model_folder(folder)


def test_a_config_whose_sizes_do_not_fit_is_refused(folder: Path) -> None:
    model = small_config().to_dict()
    change_config(folder, model=model | {"image": model["image"] | {"heads": 5}})
    with pytest.raises(TeacherError, match=r"not a model config .*heads: got 5 with width 32"):
        read_model_folder(folder)


def test_weights_of_another_model_are_refused_with_what_differs(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(str(path))
    kept = {name: value for name, value in weights.items() if not name.startswith("itm_head")}
    save_file(kept, str(path))
    with pytest.raises(
        TeacherError, match=r"do not fit the model: missing itm_head.bias, itm_head.weight\. Check"
    ):
        read_model_folder(folder)
    save_file(weights | {"extra": torch.zeros(1)}, str(path))
    with pytest.raises(TeacherError, match="unknown extra"):
        read_model_folder(folder)
    save_file(weights | {"itm_head.weight": torch.zeros(2, 31)}, str(path))
    with pytest.raises(TeacherError, match=r"wrong shape itm_head.weight \(2, 31\) instead of \(2, 32\)"):
        read_model_folder(folder)
    save_file({}, str(path))
    with pytest.raises(TeacherError, match=rf"and {len(weights) - 3} more"):
        read_model_folder(folder)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dtype": torch.int64}, r"no real numbers \S+ int64"),
        ({"dtype": torch.bool}, r"no real numbers \S+ bool"),
        ({"value": float("inf")}, r"inf or nan \S+"),
        ({"value": float("nan")}, r"inf or nan \S+"),
    ],
)
def test_weights_that_are_no_finite_real_numbers_are_refused(
    folder: Path, wrong: dict[str, Any], message: str
) -> None:
    weights = load_file(str(folder / "model.safetensors"))
    name = next(key for key, one in weights.items() if one.is_floating_point() and one.dim() == 2)
    if "dtype" in wrong:
        weights[name] = weights[name].to(wrong["dtype"])
    else:
        weights[name][0, 0] = wrong["value"]
    save_file(weights, str(folder / "model.safetensors"))
    with pytest.raises(
        TeacherError, match=rf"model.safetensors: the weights do not fit the model: {message}"
    ):
        read_model_folder(folder)
