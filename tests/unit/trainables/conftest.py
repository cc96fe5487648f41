"""Scenes and a small teacher, made once for all tests of trainables (in the caches that tests/conftest.py sets)."""

from pathlib import Path

import pytest

from tests.unit.trainables import small
from trainables.datasets.encoded import EncodedSplit
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.write_teacher(tmp_path_factory.mktemp("teacher") / "small")


@pytest.fixture(scope="session")
def teacher(teacher_folder: Path) -> Teacher:
    return load_teacher(str(teacher_folder))


@pytest.fixture(scope="session")
def train_split(teacher: Teacher) -> EncodedSplit:
    return small.encoded(teacher, "train")


@pytest.fixture(scope="session")
def val_split(teacher: Teacher) -> EncodedSplit:
    return small.encoded(teacher, "val")
