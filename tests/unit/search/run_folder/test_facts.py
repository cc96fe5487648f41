"""The space of a run that goes on: whose fault a mistake in it is."""

from pathlib import Path

import pytest

from search.reporting.recipe import workers_changed
from search.run_folder.facts import SPACE_FILE, read_space, write_space
from search.start import Request, load
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


@pytest.mark.parametrize(
    ("changes", "before", "now", "told"),
    [
        (("losses.itm.weight=1",), 1, 8, "are of 1/8 of each batch, not of the whole batch"),
        (("losses.itm.weight=1",), 8, 1, "are of the whole batch, not of 1/8 of each batch"),
        (("losses.itm.weight=1",), 8, 8, ""),
        (("losses.itm.weight=1", "training.negatives=workers"), 1, 8, ""),
        ((), 1, 8, ""),
    ],
)
def test_another_number_of_workers_is_told_where_results_hang_on_it(
    changes: tuple[str, ...], before: int, now: int, told: str, tmp_path: Path
) -> None:
    inputs = prepare(tmp_path, *changes, f"resources.workers_per_trial={before}")
    folder = write_run(tmp_path / "run", inputs, [])
    space = read_space(folder, [f"resources.workers_per_trial={now}"])
    lines = workers_changed(folder, space)
    assert len(lines) == bool(told)
    begins = f"WARNING: --workers-per-trial: got {now}, the candidates of this run were trained with {before}: hard negatives"
    assert all(line.startswith(begins) and told in line for line in lines)
    assert all(
        f"Keep {before}, or begin a new run with training.negatives: workers" in line for line in lines
    )
    write_space(folder, space)  # as a session does as it begins
    assert workers_changed(folder, space) == []


def test_a_resume_with_other_workers_says_so_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", prepare(tmp_path, "losses.itm.weight=1"), [])
    said: list[str] = []
    asked = Request(space=tmp_path, resume=folder, changes=["resources.workers_per_trial=2"], dry_run=True)
    load(asked, say=said.append)
    assert sum(line.startswith("WARNING: --workers-per-trial: got 2") for line in said) == 1


def test_a_damaged_file_is_told_as_such_whatever_it_holds(run: Path) -> None:
    file = run / SPACE_FILE
    file.write_text(file.read_text().replace("name: tiny", "name: --trials {"))
    with pytest.raises(RunError, match=r"space.yaml: damaged") as told:
        read_space(run, [])
    assert "epochs of" in str(told.value)
