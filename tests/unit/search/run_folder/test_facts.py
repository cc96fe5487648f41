"""The space of a run that goes on: whose fault a mistake in it is."""

from pathlib import Path

import pytest

from search.run_folder.facts import SPACE_FILE, read_space
from spaces.errors import RunError, SpaceError
from spaces.load import Override
from tests.unit.search.earlier_run import prepare, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run folder without candidates."""
    return write_run(tmp_path / "run", prepare(tmp_path), [])


def test_a_change_that_does_not_fit_is_told_as_the_users(run: Path) -> None:
    assert read_space(run, ["search.trials=9"]).search.trials == 9
    change = Override("overrides['search.trials']", "search.trials", 0)
    with pytest.raises(SpaceError, match=r"^overrides\['search.trials'\], search.trials: got 0") as told:
        read_space(run, [change])
    assert "damaged" not in str(told.value)


def test_a_damaged_file_is_told_as_such_whatever_it_holds(run: Path) -> None:
    file = run / SPACE_FILE
    file.write_text(file.read_text().replace("name: tiny", "name: --trials {"))
    with pytest.raises(RunError, match=r"space.yaml: damaged") as told:
        read_space(run, [])
    assert "epochs of" in str(told.value)
