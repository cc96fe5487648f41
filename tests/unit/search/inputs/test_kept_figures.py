"""Figures of a teacher that are kept: each part of what decides them makes another file, and no damage is taken for one."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest

from search.inputs.teacher_figures import TeacherFigures, figures_file
from tests.unit.trainables.small import write_teacher
from trainables.families.base import Blueprint
from trainables.tasks.evaluation import make_tasks
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher

KEY = ("data", "val", "1000", "1", "2")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return load_teacher(str(write_teacher(tmp_path_factory.mktemp("teacher") / "small")))


def test_each_part_of_the_key_makes_another_file(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tasks = make_tasks({"retrieval": {}, "vqa": {}})
    first = figures_file(teacher, tasks, KEY)
    assert figures_file(copy.copy(teacher), make_tasks({"retrieval": {}, "vqa": {}}), KEY) == first
    names = [first, figures_file(teacher, make_tasks({"retrieval": {}}), KEY)]
    for place in range(len(KEY)):  # data, split, images, captions, questions
        names.append(figures_file(teacher, tasks, (*KEY[:place], "other", *KEY[place + 1 :])))
    other = copy.copy(teacher)
    other.files = replace(teacher.files, fingerprint="0123456789abcdef")
    names.append(figures_file(other, tasks, KEY))
    other = copy.copy(teacher)
    other.preprocess = replace(teacher.preprocess, mean=(0.0, 0.0, 0.0))
    names.append(figures_file(other, tasks, KEY))
    other = copy.copy(teacher)
    assert teacher.tokenizer is not None
    other.tokenizer = copy.copy(teacher.tokenizer)
    other.tokenizer.max_tokens -= 1
    names.append(figures_file(other, tasks, KEY))
    other.tokenizer = None
    names.append(figures_file(other, tasks, KEY))
    for made, attribute, ours, module in (
        (Blueprint, "family", teacher.blueprint.family, "colorsys"),
        (tasks["vqa"], "__class__", type(tasks["vqa"]), "statistics"),
    ):
        with monkeypatch.context() as patch:  # of a plug-in
            patch.setattr(made, attribute, type(ours.__name__, (ours,), {"__module__": module}))
            names.append(figures_file(teacher, tasks, KEY))
    listed = make_tasks({"vqa": {"decode": "rank", "answers": str(tmp_path / "answers.txt")}})
    for answers in ("red\n", "blue\n", None):
        if answers is None:
            (tmp_path / "answers.txt").unlink()
        else:
            (tmp_path / "answers.txt").write_text(answers)
        names.append(figures_file(teacher, listed, KEY))
    for java in (None, "/usr/bin/java"):  # which decides the tokeniser of captions that are said whole
        with monkeypatch.context() as patch:
            patch.setattr("trainables.tasks.caption_metrics.shutil.which", lambda name, found=java: found)
            names.append(figures_file(teacher, make_tasks({"captioning": {"decode": "beam"}}), KEY))
    for name in ("VERSION", "PIXELS_VERSION", "torch.__version__"):
        with monkeypatch.context() as patch:
            patch.setattr(f"search.inputs.teacher_figures.{name}", "99")
            names.append(figures_file(teacher, tasks, KEY))
    with monkeypatch.context() as patch:
        patch.setattr(type(tasks["vqa"]), "version", 99)
        names.append(figures_file(teacher, tasks, KEY))
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"mean_recall": "high"}', "3", "[" * 100_000])
def test_a_damaged_file_is_told_and_measured_again(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []

    def measure() -> dict[str, float]:
        return TeacherFigures.measured(teacher, {}, lambda: {"mean_recall": 50.0}, key=KEY, say=said.append)

    assert measure() == {"mean_recall": 50.0}
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text(content)
    assert measure() == {"mean_recall": 50.0}
    assert any("damaged" in line for line in said)
    assert measure() == {"mean_recall": 50.0}
    assert len(said) == 3  # measured, damaged, measured; then read
