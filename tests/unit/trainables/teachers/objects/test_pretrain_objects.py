"""The commands that train the embedded teachers of objects: their first steps, on few pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from trainables.datasets.objects.dataset import ObjectsDataset
from trainables.model_folder import read_model_folder
from trainables.preprocess import Framing
from trainables.tasks.retrieval import Retrieval
from trainables.teachers.blip import pretrain_objects
from trainables.teachers.measured import MEASURED
from trainables.teachers.objects import pretrain
from trainables.training.trainer import TrainingConfig

FEW = ObjectsDataset.Config(train_images=160, val_images=40, test_images=40)
NAMES = ("beit", "clip", "dino")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pretrain, pretrain_objects):
        monkeypatch.setattr(module, "DATA", FEW)
    monkeypatch.setattr(pretrain, "LOOKED_AT", 32)


def run(name: str, out: Path, *flags: str) -> int:
    return pretrain.main([name, "--out", str(out), "--steps", "2", *flags])


@pytest.mark.parametrize("name", NAMES)
def test_two_steps_write_a_folder_that_transformers_reads(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name, tmp_path, "--seed", "3") == 0
    output = capsys.readouterr()
    assert "step 2/2: loss" in output.err
    told = json.loads((tmp_path / MEASURED).read_text())
    assert json.loads(output.out) == told["metrics"]
    assert told["data_specification"] == ObjectsDataset(FEW).specification
    assert (told["training"]["steps"], told["training"]["seed"]) == (2, 3)
    figures = {"knn_top1", "probe_top1"} | (set(Retrieval.metrics) if name == "clip" else set())
    assert set(told["metrics"]["val"]) == set(told["metrics"]["test"]) == figures
    recipe: Any = pretrain.resolve(pretrain.RECIPES, name, "recipes")
    model, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True, dtype=torch.float32)
    missing = [key for key in info["missing_keys"] if not key.startswith("pooler.")]  # DINO has no pooler
    assert (missing, info["unexpected_keys"]) == ([], set())
    assert type(model) is type(recipe().model)
    assert all(one.dtype == torch.float16 for one in load_file(tmp_path / "model.safetensors").values())
    pixels = AutoImageProcessor.from_pretrained(tmp_path)(
        torch.full((3, 48, 48), 255, dtype=torch.uint8), return_tensors="pt"
    )["pixel_values"]
    assert pixels.shape == (1, 3, 48, 48)
    assert torch.allclose(pixels, torch.full_like(pixels, 2.4), atol=1e-5)
    if name == "clip":
        assert AutoTokenizer.from_pretrained(tmp_path).tokenize("a red ring") == [
            "a</w>",
            "red</w>",
            "ring</w>",
        ]
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert len(set(modes.values())) == 1, modes


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_makes_the_same_weights(name: str, tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate(("3", "3", "4")):
        torch.manual_seed(number)
        run(name, tmp_path / str(number), "--seed", seed)
        found.append((tmp_path / str(number) / "model.safetensors").read_bytes())
    assert found[0] == found[1] != found[2]


def test_the_model_with_a_decoder_is_written_in_our_own_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        pretrain_objects, "TrainingConfig", lambda **options: TrainingConfig(pairs_per_epoch=64, **options)
    )
    prints = []
    for number, seed in enumerate(("3", "3", "4")):
        torch.manual_seed(number)
        out = tmp_path / str(number)
        assert pretrain_objects.main(["--out", str(out), "--epochs", "2", "--seed", seed]) == 0
        told = read_model_folder(out)
        assert json.loads(capsys.readouterr().out) == told.measured["metrics"]
        prints.append(told.fingerprint)
    assert prints[0] == prints[1] != prints[2]
    assert told.measured["data_specification"] == ObjectsDataset(FEW).specification
    assert {"knn_top1", "probe_top1", "mean_recall", "caption_token_accuracy"} <= set(
        told.measured["metrics"]["val"]
    )
    assert told.tokenizer is not None
    assert told.preprocess.image_size == 48


def test_half_of_the_captions_name_the_large_object_alone() -> None:
    dataset = ObjectsDataset(FEW)
    split = dataset.split("val", framing=Framing(48), progress=lambda line: None)
    found = pretrain_objects.half_short(split)
    assert found.captions[: len(split.captions)] == split.captions
    for text, image in zip(found.captions[160:], found.caption_images[160:], strict=True):
        assert text == f"a large {dataset.classes[split.labels[image]]}"
    assert np.array_equal(np.bincount(found.caption_images), np.full(40, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dyno", "--out", "teacher"], "'dyno'"),
        (["dino", "--out", "teacher", "--steps", "0"], "--steps: got 0; allowed: 1 or more"),
        (["dino", "--out", "teacher", "--seed", "-1"], "--seed: got -1"),
        (["dino", "--out", "teacher", "--threads", "0"], "--threads: got 0"),
        (["dino", "--out", "file/teacher"], "error: --out"),
        (["dino"], "--out"),
    ],
)
def test_a_wrong_flag_is_one_message_before_anything_is_drawn(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    try:
        code = pretrain.main(arguments)
    except SystemExit as left:  # as argparse ends
        code = left.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert not Path("teacher").exists()


@pytest.mark.parametrize("wrong", [("--epochs", "0"), ("--seed", "-1"), ("--out", "file/teacher")])
def test_a_wrong_flag_of_the_other_command_is_one_message(
    wrong: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    try:
        code = pretrain_objects.main(["--out", "teacher", *wrong])
    except SystemExit as left:
        code = left.code
    assert code == 2
    assert f"error: {wrong[0]}" in capsys.readouterr().err
