"""A published model, and a copy that a test may spoil."""

import shutil
from pathlib import Path

import pytest

from tests.unit.trainables.teachers.published import SIZES, Published, save


@pytest.fixture(scope="module", params=SIZES.values(), ids=SIZES.keys())
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return save(tmp_path_factory.mktemp("published") / "blip", *request.param)


@pytest.fixture
def copied(tmp_path: Path, small: Published) -> Path:
    """A folder that a test may spoil."""
    return Path(shutil.copytree(small.folder, tmp_path / "blip"))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return save(tmp_path_factory.mktemp("small") / "blip", *SIZES["text wider"])
