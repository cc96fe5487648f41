"""One finished search and one cache folder for all tests of the commands."""

from pathlib import Path

import pytest

from tests.e2e import runs


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cache folder of the session."""
    return runs.cache_home(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> runs.Finished:
    """Return the finished search of the session; not to be changed."""
    return runs.finished_run(tmp_path_factory.getbasetemp())
