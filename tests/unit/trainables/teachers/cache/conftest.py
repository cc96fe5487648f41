"""A teacher, its scenes, and a cache of all that it says, which no test changes."""

from pathlib import Path

import pytest

from tests.unit.trainables.small import (
    all_wants,
    encoded,
    silent,
    write_teacher,
)
from tests.unit.trainables.teachers.cache.caches import TEMPERATURE, TOKENS
from trainables.datasets.encoded import EncodedSplit
from trainables.families.blip.architecture import EncoderConfig
from trainables.signals import Wants
from trainables.teachers.cache.fill import build_cache
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    """A teacher in which no two sizes are equal, and one layer does not fuse."""
    image, text = EncoderConfig(width=24, depth=2, heads=3), EncoderConfig(width=20, depth=3, heads=2)
    folder = tmp_path_factory.mktemp("owner")
    return load_teacher(str(write_teacher(folder, image=image, text=text, fusion=(0, 2), embedding=7)))


@pytest.fixture(scope="module")
def split(owner: Teacher) -> EncodedSplit:
    return encoded(owner, "train")


@pytest.fixture(scope="module")
def wants(owner: Teacher) -> Wants:
    return all_wants(owner.model.architecture) | {TOKENS, TEMPERATURE}


@pytest.fixture(scope="module")
def folder(
    owner: Teacher, split: EncodedSplit, wants: Wants, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    made = tmp_path_factory.mktemp("outputs")
    build_cache(made, owner, split, wants, precision="float32", progress=silent)
    return made
