"""The finished search that all fault tests compare with."""

import pytest

from tests.e2e import runs


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> runs.Finished:
    """Return the finished search of the session; not to be changed."""
    return runs.finished_run(tmp_path_factory.getbasetemp())
