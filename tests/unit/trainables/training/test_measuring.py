"""Measuring a model by an order that travels: what the pieces give when they are put together by hand, or a plain refusal."""

import os
from pathlib import Path

import pytest

from spaces.errors import CheckpointError, InputsChanged
from tests.unit.trainables.small import make_job
from trainables.share import within_share
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.loading import load_teacher
from trainables.training.build import make_dataset, prepare_split
from trainables.training.checkpoint import load_model
from trainables.training.control import PlainControl
from trainables.training.loop import train
from trainables.training.measuring import Measuring, measure_model

DATA = {"kind": "scenes", "train_images": 32, "val_images": 24, "test_images": 24}


def order(**more: object) -> Measuring:
    fields = {
        "teacher": "embedded",
        "teacher_fingerprint": load_teacher("embedded").files.fingerprint,
        "dataset": DATA,
        "dataset_fingerprint": make_dataset(DATA).fingerprint,
        "split": "test",
        "tasks": {"retrieval": {}, "vqa": {}},
        "evaluation": {"images": 24},
        "device": "cpu",
    }
    return Measuring(**{**fields, **more})  # type: ignore[arg-type]


def test_a_teacher_measures_what_it_measures_in_the_process_that_loaded_it() -> None:
    teacher = load_teacher("embedded")
    split = prepare_split(teacher, make_dataset(DATA), "test", lambda line: None)
    with within_share():
        expected = evaluate(
            teacher.model,
            split,
            tasks=make_tasks({"retrieval": {}, "vqa": {}}).values(),
            size=EvaluationSize(images=24),
        )
    assert measure_model(order()) == expected
    assert expected["mean_recall"] > 50


def test_a_student_measures_what_its_training_told_of_the_last_epoch(tmp_path: Path) -> None:
    control = PlainControl(quiet=True)
    job = make_job("embedded", tmp_path / "trial", dataset=DATA, evaluation={"images": 24})  # type: ignore[arg-type]
    train(job, control)
    (last,) = (row for row in control.rows if row["status"] == "finished")
    found = measure_model(order(split="val", student=job.folder, tasks=job.tasks))
    assert found
    assert {name: last[name] for name in found} == found
    model, _ = load_model(Path(job.folder))
    assert not model.training


def test_other_data_another_teacher_or_none_is_told_with_the_node() -> None:
    with pytest.raises(InputsChanged, match="teacher embedded: has fingerprint"):
        measure_model(order(teacher_fingerprint="0123"))
    with pytest.raises(InputsChanged, match="data set scenes: has fingerprint"):
        measure_model(order(dataset_fingerprint="0123"))
    with pytest.raises(
        InputsChanged, match=rf"gone: is no folder.*Looked for on the node {os.uname().nodename}\."
    ):
        measure_model(order(teacher="/there/is/gone"))


def test_a_student_that_is_gone_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        measure_model(order(student=str(tmp_path)))
