"""The command that trains the embedded teacher, with a smaller teacher and fewer scenes."""

import json
from pathlib import Path

import pytest
import torch

from tests.unit.trainables.small import measured, silent, small_config, tokenizer
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.families.blip.architecture import BlipArchitecture
from trainables.preprocess import Framing
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.blip import pretrain
from trainables.teachers.loading import check_pairing, load_teacher
from trainables.training.trainer import TrainingConfig

FEW = ScenesDataset.Config(train_images=64, mismatched=0.0, val_images=200, test_images=200)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    def small_teacher(folder: Path) -> BlipArchitecture:
        return small_config(vocabulary=tokenizer(folder).vocabulary)

    monkeypatch.setattr(pretrain, "CLEAN", FEW)
    monkeypatch.setattr(pretrain, "teacher_config", small_teacher)
    monkeypatch.setattr(
        pretrain, "TrainingConfig", lambda **options: TrainingConfig(pairs_per_epoch=64, **options)
    )


@pytest.mark.usefixtures("few")
def test_command_writes_a_teacher_with_its_measured_quality(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain.main(["--out", str(tmp_path / "teacher"), "--epochs", "2", "--seed", "3"]) == 0
    output = capsys.readouterr()
    assert "epoch 2/2: loss" in output.err
    teacher = load_teacher(str(tmp_path / "teacher"))
    told = teacher.files.measured
    assert json.loads(output.out) == told["metrics"]
    assert told["training"]["epochs"] == 2
    assert told["training"]["seed"] == 3
    assert (tmp_path / "teacher" / "model.safetensors").stat().st_size < 2.3 * sum(
        p.numel() for p in teacher.model.parameters()
    )
    dataset = ScenesDataset(FEW)
    check_pairing(teacher, dataset, dataset.split("val", framing=Framing(64), progress=silent).captions)
    split = EncodedSplit(
        dataset.split("val", framing=Framing(64), progress=silent), teacher.tokenizer, teacher.preprocess
    )
    metrics = measured(teacher.model, split, EvaluationSize())
    assert {name: told["metrics"]["val"][name] for name in metrics} == pytest.approx(metrics, abs=0.01)
    assert 0 <= told["metrics"]["test"]["captions_exact"] <= 100


@pytest.mark.usefixtures("few")
def test_the_folder_tells_what_it_was_taught_beyond_the_published_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain.main(["--out", str(tmp_path / "teacher"), "--epochs", "2"]) == 0
    told = load_teacher(str(tmp_path / "teacher")).files.measured
    assert told["training"]["images"] == FEW.train_images
    assert told["training"]["questions"] == ["relation"]
    assert told["training"]["grounding"] == ["patches", "mentions"]
    output = capsys.readouterr().err
    assert all(f"{name} " in output for name in ("itc", "itm", "lm", "vqa", "patches", "mentions"))


@pytest.mark.usefixtures("few")
def test_the_same_seed_makes_the_same_teacher(tmp_path: Path) -> None:
    prints = []
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        torch.manual_seed(len(prints))
        pretrain.main(["--out", str(tmp_path / name), "--epochs", "1", "--seed", seed])
        prints.append(load_teacher(str(tmp_path / name)).files.fingerprint)
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--epochs", "0"),
        ("--seed", "-1"),
        ("--threads", "0"),
        ("--out", "file/teacher"),
    ],
)
def test_a_wrong_flag_is_one_message_before_anything_is_drawn(
    wrong: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    try:
        code = pretrain.main(["--out", "teacher", *wrong])
    except SystemExit as left:  # as argparse ends
        code = left.code
    assert code == 2
    assert wrong[0] in capsys.readouterr().err.rpartition("error: ")[2]
    assert not Path("teacher").exists()


def test_the_embedded_teacher_has_the_published_sizes(tmp_path: Path) -> None:
    config = pretrain.teacher_config(tmp_path)
    assert (config.image.width, config.image.depth, config.text.width, config.text.depth) == (128, 6, 128, 6)
    assert config.fusion == (0, 1, 2, 3, 4, 5)
    assert (tmp_path / "tokenizer.json").is_file()
