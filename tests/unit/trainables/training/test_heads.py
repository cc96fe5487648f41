"""Students that read what their teacher says: from a cache as from the live teacher, without a look at pixels, and blind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.trainables.small import CPU, encoded, make_job, silent
from tests.unit.trainables.training.head import IMAGE, TEXT, Head
from trainables.datasets.encoded import EncodedSplit
from trainables.families import FAMILIES
from trainables.signals import NOTHING, Want
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.cache.fill import build_cache
from trainables.teachers.teacher import Teacher
from trainables.training.build import build_step
from trainables.training.control import PlainControl, Row
from trainables.training.loop import TrialLoop, train
from trainables.training.sources import Sources, evaluation_wants, opened_cache

READ = frozenset({IMAGE, TEXT})
CONFIG: dict[str, Any] = {
    "student": {"kind": "head", "width": 16},
    "losses": {"image_embedding": {"weight": 1.0}, "text_embedding": {"weight": 1.0}},
    "training": {"epochs": 3, "pairs_per_epoch": 24, "batch_size": 8, "lr": 0.02, "warmup_steps": 2},
    "blind": False,
}


@pytest.fixture(autouse=True)
def head(monkeypatch: pytest.MonkeyPatch) -> None:
    """The family is known."""
    monkeypatch.setitem(FAMILIES._own, "head", "tests.unit.trainables.training.head:Head")  # type: ignore[arg-type]


@pytest.fixture
def caches(teacher: Teacher, tmp_path: Path) -> dict[str, str]:
    """What the teacher says of both splits, by the fields of a job that name it."""
    for name in ("train", "val"):
        build_cache(
            tmp_path / name, teacher, encoded(teacher, name), READ, precision="float32", progress=silent
        )
    return {"cache": str(tmp_path / "train"), "evaluation_cache": str(tmp_path / "val")}


def run(teacher_folder: Path, folder: Path, **changes: Any) -> list[Row]:
    control = PlainControl(quiet=True)
    options = {"config": CONFIG, "tasks": {"retrieval": {}}, "evaluate_at": (1, 2)} | changes
    train(make_job(teacher_folder, folder, **options), control)
    return control.rows


@contextmanager
def unseen(monkeypatch: pytest.MonkeyPatch, *, live: bool) -> Iterator[None]:
    """Let nobody read a picture, nor, but where `live`, ask the teacher."""

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("somebody looked")

    with monkeypatch.context() as patched:
        patched.setattr(EncodedSplit, "images", refuse)
        if not live:
            patched.setattr(Teacher, "signals", refuse)
        yield


def test_cached_signals_train_and_measure_as_live_ones_do(
    teacher_folder: Path, caches: dict[str, str], tmp_path: Path
) -> None:
    live = run(teacher_folder, tmp_path / "live")
    cached = run(teacher_folder, tmp_path / "cached", **caches)
    for mine, theirs in zip(cached, live, strict=True):
        for name in ("loss", "loss_image_embedding", "loss_text_embedding"):
            assert mine[name] == pytest.approx(theirs[name], abs=1e-5)
        assert {k: v for k, v in mine.items() if "_at_" in k} == {
            k: v for k, v in theirs.items() if "_at_" in k
        }
    assert live[-1]["loss"] < live[0]["loss"]
    assert live[-1]["mean_recall"] == cached[-1]["mean_recall"]


def test_a_head_on_cached_signals_reads_no_picture_and_runs_no_teacher(
    teacher_folder: Path, caches: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unseen(monkeypatch, live=False):
        assert run(teacher_folder, tmp_path / "trial", **caches)[-1]["status"] == "finished"
        with pytest.raises(AssertionError, match="somebody looked"):
            run(teacher_folder, tmp_path / "live")


def test_what_the_evaluation_cache_lacks_is_asked_of_the_live_teacher(
    teacher: Teacher, teacher_folder: Path, caches: dict[str, str], tmp_path: Path
) -> None:
    part = tmp_path / "part"
    build_cache(
        part, teacher, encoded(teacher, "val"), frozenset({TEXT}), precision="float32", progress=silent
    )
    whole = run(teacher_folder, tmp_path / "whole", **caches)
    partly = run(teacher_folder, tmp_path / "partly", **(caches | {"evaluation_cache": str(part)}))
    assert partly[-1]["mean_recall"] == whole[-1]["mean_recall"]
    job = make_job(teacher_folder, tmp_path / "x", config=CONFIG, tasks={"retrieval": {}}, **caches)
    assert set(TrialLoop(job, PlainControl(quiet=True)).source.caches) == {"train", "val"}


def test_sources_go_by_the_split_of_a_batch(teacher: Teacher, caches: dict[str, str]) -> None:
    sources = Sources(teacher, {"val": opened_cache(caches["evaluation_cache"], teacher)})
    assert sources.fields("val", READ) == NOTHING
    assert sources.fields("train", READ) == {"picture.pixels", "caption.ids", "caption.mask"}
    rows = {"picture": np.array([3, 1]), "caption": np.array([12, 5])}
    for name in ("train", "val"):
        batch = encoded(teacher, name).batch(rows, CPU)
        assert batch.split == name
        for want, value in teacher.signals(batch, READ).items():
            torch.testing.assert_close(sources.signals(batch, READ)[want], value)


def test_a_teacher_knows_which_of_its_signals_tell_of_pictures(teacher: Teacher) -> None:
    grounded = {Want("fused", "logits"), Want("decoder", "logits"), IMAGE}
    others = {TEXT, Want("text", "hidden", 0), Want("contrast", "temperature")}
    assert teacher.pictured(frozenset(grounded | others)) == grounded


def test_a_blind_head_sees_nothing_of_a_picture_in_training_but_its_losses_do(teacher: Teacher) -> None:
    step, _ = build_step(CONFIG | {"blind": True}, teacher, seed=0)
    assert step.hidden == {IMAGE}
    assert isinstance(step.student, Head)
    batch = encoded(teacher, "train").batch({"picture": np.arange(8), "caption": np.arange(8) * 4}, CPU)
    given = teacher.signals(batch, step.source_wants)
    blind = step(batch, given).losses
    assert step.student.given[-1][IMAGE].eq(0).all()
    assert torch.equal(step.student.given[-1][TEXT], given[TEXT])
    seeing, _ = build_step(CONFIG, teacher, seed=0)
    assert torch.equal(blind["text_embedding"], seeing(batch, given).losses["text_embedding"])
    assert not given[IMAGE].eq(0).any(), "what the loss compares with is left as it was"


@pytest.mark.parametrize("cached", [False, True])
def test_a_blind_head_is_measured_blind(teacher: Teacher, caches: dict[str, str], cached: bool) -> None:
    step, _ = build_step(CONFIG, teacher, seed=0)
    found = {"val": opened_cache(caches["evaluation_cache"], teacher)} if cached else {}
    tasks = make_tasks({"retrieval": {}}).values()
    assert evaluation_wants(step.student, tasks) == READ
    metrics = evaluate(
        step.student, encoded(teacher, "val"), tasks=tasks, size=EvaluationSize(images=16), blind=True,
        source=Sources(teacher, found),
    )  # fmt: skip
    assert metrics["ir_at_1"] == 0.0  # all pictures are alike to it, and a tie is none right


def test_a_blind_row_is_not_called_flat(teacher_folder: Path, tmp_path: Path) -> None:
    rows = run(teacher_folder, tmp_path, config=CONFIG | {"blind": True})
    assert {row["ir_at_1"] for row in rows} == {0.0}
    assert "reason" not in rows[-1]


def test_a_batch_without_any_field_is_still_on_a_device(teacher: Teacher) -> None:
    batch = encoded(teacher, "train").batch({"picture": np.arange(2)}, CPU, pixels=False)
    assert not batch.fields
    assert batch.device == CPU
    assert batch.blinded() is batch
