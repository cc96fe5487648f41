"""A published CLIP, and a copy that a test may spoil."""

import shutil
from pathlib import Path

import pytest

from tests.unit.trainables.teachers.clip.small_clip import SIZES, Published, save


@pytest.fixture(scope="session", params=SIZES.values(), ids=SIZES.keys())
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return save(tmp_path_factory.mktemp("clip"), request.param)


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return save(tmp_path_factory.mktemp("small"), SIZES["even"])


@pytest.fixture
def copied_clip(tmp_path: Path, small_clip: Published) -> Path:
    """A folder that a test may spoil."""
    return Path(shutil.copytree(small_clip.folder, tmp_path / "clip"))
