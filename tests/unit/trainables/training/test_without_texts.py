"""Teacher, student and batches that know pictures alone: nothing between them asks for a text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spaces.errors import ShapeError
from tests.unit.trainables.small import CPU, PREPROCESS, SCENES, make_job, silent
from tests.unit.trainables.training.toy import EMBEDDING, HIDDEN, Toy, ToyArchitecture
from trainables.datasets.encoded import EncodedSplit
from trainables.families import FAMILIES
from trainables.families.base import Blueprint
from trainables.model_folder import Reading, read_model_folder, write_model_folder
from trainables.signals import reads_texts
from trainables.teachers.cache.fill import build_cache
from trainables.teachers.cache.read import TeacherCache
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher
from trainables.training.build import build_losses, build_step, make_dataset, prepare_split
from trainables.training.checkpoint import load_model
from trainables.training.control import PlainControl
from trainables.training.loop import train
from trainables.training.trainer import Placement, Trainer, TrainingConfig

CONFIG: dict[str, Any] = {
    "student": {"kind": "toy", "width": 5},
    "losses": {"image_embedding": {"weight": 1.0}, "image_hidden": {"weight": 1.0}},
    "training": {"epochs": 4, "pairs_per_epoch": 40, "batch_size": 8, "lr": 0.02, "warmup_steps": 2},
    "blind": False,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a teacher that reads no texts."""
    monkeypatch.setitem(FAMILIES._own, "toy", "tests.unit.trainables.training.toy:Toy")  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = Toy(ToyArchitecture(width=8))
    write_model_folder(
        tmp_path / "teacher", model, kind="toy", measured={},
        reading=Reading(preprocess=PREPROCESS, tokenizer=None, folder=tmp_path),
    )  # fmt: skip
    return tmp_path / "teacher"


@pytest.fixture
def teacher(folder: Path) -> Teacher:
    return load_teacher(str(folder))


@pytest.fixture
def split(teacher: Teacher) -> EncodedSplit:
    return prepare_split(teacher, make_dataset(SCENES), "train", silent)


def test_a_folder_without_tokenizer_is_a_teacher_without_texts(folder: Path, teacher: Teacher) -> None:
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    assert read_model_folder(folder).blueprint == Blueprint("toy", ToyArchitecture(width=8))
    assert teacher.tokenizer is None
    assert not reads_texts(teacher.offers)
    around = teacher.surroundings
    assert (around.image_size, around.max_tokens, around.vocabulary) == (64, 0, None)
    assert around.sizes == {"width": 8}
    with pytest.raises(ShapeError, match="this teacher brings no tokenizer"):
        around.texts()


def test_its_split_and_batches_hold_pictures_alone(split: EncodedSplit) -> None:
    assert split.fields == {"picture.pixels"}
    assert split.num_images == 40


@pytest.mark.parametrize("cached", [False, True])
def test_a_student_learns_from_it(
    teacher: Teacher, split: EncodedSplit, tmp_path: Path, cached: bool
) -> None:
    step, blueprint = build_step(CONFIG, teacher, seed=0)
    assert blueprint == Blueprint("toy", ToyArchitecture(width=5))
    assert step.source_wants == {EMBEDDING, HIDDEN}
    source: Teacher | TeacherCache = teacher
    if cached:
        build_cache(
            tmp_path / "cache", teacher, split, step.source_wants, precision="float32", progress=silent
        )
        source = TeacherCache(tmp_path / "cache", teacher.offers, teacher.files.fingerprint)
        batch = split.batch({"picture": np.array([7, 3])}, CPU)
        for want, value in teacher.signals(batch, step.source_wants).items():
            torch.testing.assert_close(source.signals(batch, frozenset({want}))[want], value)
    config = TrainingConfig(**CONFIG["training"])
    trainer = Trainer(step, split, source, config, seed=0, placement=Placement(device=CPU))
    losses = [trainer.run_epoch(epoch) for epoch in range(4)]
    for name in ("loss", "image_embedding", "image_hidden"):
        assert losses[-1][name] < 0.7 * losses[0][name]


def test_losses_about_texts_find_nothing_to_look_at(teacher: Teacher) -> None:
    config = CONFIG | {"losses": CONFIG["losses"] | {"itc": {}, "lm": {}}}
    losses, _ = build_losses(config, teacher.offers, teacher.offers)
    assert set(losses) == {"image_embedding", "image_hidden"}


def test_an_order_is_carried_out_from_data_to_checkpoint(folder: Path, tmp_path: Path) -> None:
    control = PlainControl(quiet=True)
    job = make_job(folder, tmp_path / "trial", config=CONFIG, teacher_metrics={})
    train(job, control)
    assert [row["status"] for row in control.rows] == ["running"] * 3 + ["finished"]
    last = control.rows[-1]
    assert {name for name in last if name.startswith("loss")} == {
        "loss",
        "loss_image_embedding",
        "loss_image_hidden",
    }
    assert not {"mean_recall", "vqa_accuracy", "caption_token_accuracy"} & set(last), (
        "nothing can be measured"
    )
    student, blueprint = load_model(tmp_path / "trial")
    assert isinstance(student, Toy)
    assert blueprint == Blueprint("toy", ToyArchitecture(width=5))
