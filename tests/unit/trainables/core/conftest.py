"""Scenes and a small teacher, made once for all tests of the training core."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.unit.trainables.core import small
from trainables.datasets.encoded import EncodedSplit
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher


@pytest.fixture(scope="session", autouse=True)
def core_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Send derived data into a folder of this session, and compute on one thread."""
    folder, before, threads = (
        tmp_path_factory.mktemp("cache"),
        os.environ.get("XDG_CACHE_HOME"),
        torch.get_num_threads(),
    )
    os.environ["XDG_CACHE_HOME"] = str(folder)
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(threads)
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory, core_cache: Path) -> Path:
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
