"""A teacher that only guesses, or does no better than a student that sees no image, is told in one sentence."""

import pytest

from search.inputs.capability import BLIND, GUESSING, caveat, figures_line
from trainables.tasks.chance import Chance

RECALL, ANSWERS = Chance(level=0.5, count=1000), Chance(level=40.0, count=2000)
LEVELS = {"mean_recall": RECALL, "vqa_accuracy": ANSWERS}
COUNTS = ("mean_recall", "vqa_accuracy")


def said(recall: float, answers: float, *, rival: str = GUESSING) -> str | None:
    return caveat("t", {"mean_recall": recall, "vqa_accuracy": answers}, LEVELS, counts=COUNTS, rival=rival)


def test_a_teacher_that_is_clearly_better_is_not_told() -> None:
    # 0.5 + 2 errors of 0.223 is 0.946; 40 + a fifth of 40 is 48
    assert said(0.95, 48.1) is None


def test_the_task_the_figures_and_the_bound_are_told() -> None:
    text = said(0.6, 90.0)
    assert text is not None
    assert text.startswith(
        "the teacher t is not clearly better than guessing (mean_recall 0.6 %, guessing 0.5 %, needed more than 0.9 %: "
        "2 standard errors or a 20% margin, whichever is more); mean_recall should not count in retention, which is the "
        "mean over mean_recall, vqa_accuracy. Check that teacher and data belong together"
    )
    assert "under `tasks:` only what it can do" in text


def test_where_nothing_is_better_retention_means_nothing() -> None:
    text = said(0.6, 41.0)
    assert text is not None
    assert "vqa_accuracy 41.0 %, guessing 40.0 %, needed more than 48.0 %" in text
    assert "; retention means nothing in this run. " in text


def test_the_blind_student_is_a_rival_too() -> None:
    text = said(0.2, 90.0, rival=BLIND)
    assert text is not None
    assert text.startswith(
        "the teacher t is not clearly better than a student that sees no image (mean_recall 0.2 %, "
    )


def test_what_is_not_measured_or_has_no_level_is_not_judged() -> None:
    assert caveat("t", {"shape_accuracy": 0.1}, LEVELS, counts=("shape_accuracy",), rival=GUESSING) is None
    assert caveat("t", {}, LEVELS, counts=COUNTS, rival=GUESSING) is None


def test_the_plan_has_both_figures() -> None:
    line = figures_line("t", {"mean_recall": 93.12, "tr_at_1": 80.0}, LEVELS)
    assert line == "teacher t on the validation split, in percent: mean_recall 93.1 (guessing 0.5)"


@pytest.mark.parametrize("level", [0.0, 100.0])
def test_levels_at_the_ends_are_judged_too(level: float) -> None:
    levels = {"mean_recall": Chance(level=level, count=10)}
    weak = caveat("t", {"mean_recall": level}, levels, counts=("mean_recall",), rival=GUESSING)
    assert weak is not None  # nobody is better than 100, and 0 is no success
