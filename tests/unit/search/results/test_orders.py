"""The control's candidates: the same students, less all that a teacher says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from search.results.orders import plain_config, plain_losses
from spaces.errors import RunError
from tests.unit.trainables.small import candidate_config, make_job, small_config, write_teacher
from trainables.families.blip.offers import offers_of
from trainables.signals import Offer, Offers, Serving, Want
from trainables.tasks.base import Task
from trainables.tasks.evaluation import make_tasks
from trainables.tasks.pool import Pool
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher

WHOLE, DUAL = offers_of(small_config()), offers_of(small_config(fusion=()))


def plain(losses: dict[str, dict[str, Any]], *tasks: str, offers: Any = WHOLE) -> dict[str, dict[str, Any]]:
    return plain_losses(losses, make_tasks({name: {} for name in tasks}).values(), offers)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Teacher]:
    """Return a small teacher and its folder."""
    folder = write_teacher(tmp_path_factory.mktemp("teacher"))
    return folder, load_teacher(str(folder))


def test_what_a_teacher_teaches_is_dropped_and_the_tasks_own_losses_stay() -> None:
    losses = {
        "itc": {"weight": 0.5, "soft_targets": 0.0},
        "vqa": {"weight": 0.25},
        "lm": {"weight": 2.0},
        "image_embedding": {"weight": 20.0},
        "decoder_hidden": {"weight": 1.0, "layers": "all"},
        "answer_logit": {"weight": 3.0},
    }
    kept = plain(losses, "retrieval", "vqa", "captioning")
    assert {name: one["weight"] for name, one in kept.items()} == {"itc": 0.5, "vqa": 0.25, "lm": 2.0}


def test_soft_targets_are_dropped_and_the_weight_stays() -> None:
    kept = plain({"itc": {"weight": 0.5, "soft_targets": 0.4}}, "retrieval")
    assert kept == {"itc": {"weight": 0.5, "soft_targets": 0.0}}


def test_a_task_that_only_the_teacher_taught_is_trained_with_weight_1() -> None:
    kept = plain({"image_embedding": {"weight": 20.0}, "lm": {"weight": 0}}, "retrieval", "captioning")
    assert {name: one["weight"] for name, one in kept.items()} == {"itc": 1.0, "lm": 1.0}


def test_a_task_that_the_student_cannot_do_brings_no_loss() -> None:
    kept = plain({"itc": {"weight": 0.5}}, "retrieval", "vqa", "captioning", offers=DUAL)
    assert list(kept) == ["itc"]


def test_a_loss_of_no_task_of_the_space_stays_if_no_teacher_is_in_it() -> None:
    assert set(plain({"itm": {"weight": 1.0}}, "retrieval")) == {"itm", "itc"}


class Naming(Task):
    """A task that class_label teaches, and that a student without class logits does, too."""

    metrics, counts = ("top1",), "top1"
    wants, fields, losses = (
        frozenset({Want("image", "embedding")}),
        frozenset({"picture.label"}),
        ("class_label",),
    )

    def evaluate(self, pool: Pool) -> dict[str, float]:
        return {}

    def serving(self, offers: Offers) -> Sequence[Serving]:
        return ()


CLASSED = {**WHOLE, Want("image", "logits"): Offer(axes=("C",), sizes=(4,), rows="picture", meaning="four")}


def test_labels_are_no_teachers_and_what_a_teacher_says_of_classes_is() -> None:
    losses = {
        "class_label": {"weight": 0.5, "label_smoothing": 0.1},
        "class_logit": {"weight": 1.0},
        "image_combined": {"weight": 1.0, "alpha": 0.0},
        "image_activation": {"weight": 1.0},
    }
    kept = plain_losses(losses, [], CLASSED)
    assert kept == {"class_label": {"weight": 0.5, "label_smoothing": 0.1}}
    assert plain_losses({"combined": {"weight": 1.0, "alpha": 0.0}}, [], CLASSED) == {
        "combined": {"weight": 1.0, "alpha": 0.0}
    }


def test_a_task_of_labels_is_trained_where_the_student_has_class_logits() -> None:
    taught, task = {"image_logit": {"weight": 1.0}}, Naming(Task.Config())
    assert plain_losses(taught, [task], CLASSED) == {"class_label": {"weight": 1.0, "label_smoothing": 0.0}}
    assert plain_losses(taught, [task], WHOLE) == {}


def test_the_control_keeps_sizes_and_schedule_and_draws_its_own_negatives(
    teacher: tuple[Path, Teacher], tmp_path: Path
) -> None:
    folder, loaded = teacher
    job = make_job(folder, tmp_path, tasks={"retrieval": {}, "vqa": {}, "captioning": {}})
    made = plain_config(job, loaded)
    before = candidate_config()
    assert made["student"] == before["student"]
    assert made["training"] == before["training"] | {"itm_negatives": "student"}
    assert set(made["losses"]) == {"itc", "itm", "lm", "vqa"}
    assert job.config == before  # the job is as it was


@pytest.mark.usefixtures("toy")
def test_a_task_that_no_loss_teaches_without_a_teacher_has_no_control(
    teacher: tuple[Path, Teacher], tmp_path: Path
) -> None:
    folder, loaded = teacher
    student = {"kind": "convnet", "width": 8, "depth": 2, "embedding": 16}
    config = candidate_config() | {"student": student, "losses": {"image_embedding": {"weight": 20.0}}}
    with pytest.raises(
        RunError, match="no loss teaches scene_shape without a teacher, so there is no control"
    ):
        plain_config(make_job(folder, tmp_path, config=config, tasks={"scene_shape": {}}), loaded)
