"""An exported student, and the model that it was made of."""

from pathlib import Path

import pytest

from tests.unit.trainables.export import students
from trainables.export import Student, load
from trainables.families.blip.model import Blip
from trainables.teachers.teacher import Teacher


@pytest.fixture
def model(tmp_path: Path) -> Blip:
    return students.make_model(students.make_architecture(tmp_path / "tokenizer"))


@pytest.fixture
def teacher(tmp_path: Path) -> Teacher:
    architecture = students.make_architecture(tmp_path / "tokenizer")
    return students.teacher_of(students.make_model(architecture), tmp_path / "tokenizer")


@pytest.fixture
def folder(model: Blip, teacher: Teacher, tmp_path: Path) -> Path:
    return students.export(model, teacher, tmp_path / "student")


@pytest.fixture
def student(folder: Path) -> Student:
    return load(folder)
