"""What a student keeps of its teacher, worked by hand."""

import math
from collections.abc import Mapping

import pytest

from trainables.tasks import DEFAULT
from trainables.tasks import retention as module
from trainables.tasks.evaluation import make_tasks

TEACHER = {"mean_recall": 80.0, "vqa_accuracy": 50.0, "caption_token_accuracy": 60.0, "tr_at_1": 70.0}
COUNTS = [task.counts for task in make_tasks({name: {} for name in DEFAULT}).values()]


def retention(student: Mapping[str, float], teacher: Mapping[str, float]) -> float:
    return module.retention(student, teacher, COUNTS)


def retention_above_blind(
    student: Mapping[str, float], teacher: Mapping[str, float], blind: Mapping[str, float]
) -> float:
    return module.retention_above_blind(student, teacher, blind, COUNTS)


def test_mean_over_tasks_of_student_over_teacher() -> None:
    student = {"mean_recall": 60.0, "vqa_accuracy": 50.0, "caption_token_accuracy": 30.0, "tr_at_1": 1.0}
    assert retention(student, TEACHER) == pytest.approx(100 * (0.75 + 1.0 + 0.5) / 3)


def test_a_task_that_the_student_cannot_do_counts_0() -> None:
    assert retention({"mean_recall": 80.0}, TEACHER) == pytest.approx(100 / 3)
    assert retention({}, TEACHER) == 0.0


def test_a_task_that_the_teacher_does_not_have_does_not_count() -> None:
    assert retention({"mean_recall": 40.0, "vqa_accuracy": 9.0}, {"mean_recall": 80.0}) == 50.0
    teacher = {"mean_recall": 80.0, "vqa_accuracy": 0.0, "tr_at_1": 5.0}
    assert retention({"mean_recall": 20.0, "vqa_accuracy": 9.0, "tr_at_1": 5.0}, teacher) == 25.0


def test_tasks_that_are_not_asked_for_do_not_count() -> None:
    assert COUNTS == ["mean_recall", "vqa_accuracy", "caption_token_accuracy", "top1"]
    student = {"mean_recall": 60.0, "vqa_accuracy": 5.0}
    assert module.retention(student, TEACHER, ["mean_recall"]) == 75.0
    assert module.retention_above_blind(student, TEACHER, {"mean_recall": 40.0}, ["mean_recall"]) == 50.0


def test_a_better_student_keeps_more_than_everything() -> None:
    assert retention({"mean_recall": 88.0}, {"mean_recall": 80.0}) == pytest.approx(110.0)


def test_a_teacher_that_can_do_nothing_leaves_nothing_to_keep() -> None:
    assert math.isnan(retention({"mean_recall": 1.0}, {"mean_recall": 0.0}))
    assert math.isnan(retention_above_blind({"mean_recall": 1.0}, {}, {}))


def test_above_blind_takes_off_what_is_known_without_seeing() -> None:
    student = {"mean_recall": 60.0, "vqa_accuracy": 45.0, "caption_token_accuracy": 50.0}
    blind = {"mean_recall": 0.0, "vqa_accuracy": 40.0, "caption_token_accuracy": 40.0}
    shares = (60 / 80, 5 / 10, 10 / 20)
    assert retention_above_blind(student, TEACHER, blind) == pytest.approx(100 * sum(shares) / 3)
    assert retention_above_blind(blind, TEACHER, blind) == 0.0
    assert retention_above_blind(TEACHER, TEACHER, blind) == pytest.approx(100.0)


def test_a_task_that_needs_no_sight_is_left_out() -> None:
    blind = {"mean_recall": 0.0, "vqa_accuracy": 50.0, "caption_token_accuracy": 61.0}
    assert retention_above_blind({"mean_recall": 40.0, "vqa_accuracy": 10.0}, TEACHER, blind) == 50.0


def test_a_student_without_decoder_loses_more_than_a_blind_one() -> None:
    blind = {"mean_recall": 0.0, "vqa_accuracy": 40.0, "caption_token_accuracy": 40.0}
    shares = (1.0, -40 / 10, -40 / 20)
    assert retention_above_blind({"mean_recall": 80.0}, TEACHER, blind) == pytest.approx(
        100 * sum(shares) / 3
    )


def test_accuracy_is_the_mean_of_what_counts_and_a_task_that_cannot_be_done_counts_nothing() -> None:
    assert (
        module.accuracy({"top1": 60.0, "mean_recall": 30.0, "knn_top1": 99.0}, ["top1", "mean_recall"])
        == 45.0
    )
    assert module.accuracy({"top1": 60.0}, ["top1", "mean_recall"]) == 30.0
    assert math.isnan(module.accuracy({}, []))
