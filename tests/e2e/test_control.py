"""`python search/control.py`: what distillation gained, in control.json and in the report."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest

from tests.e2e import runs
from tests.e2e.test_export import finished_id


@pytest.fixture(scope="module")
def controlled(finished: runs.Finished, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a copy of the finished run with a control of one student, and what the command said."""
    place = tmp_path_factory.mktemp("control")
    run = Path(shutil.copytree(finished.folder, place / "run", ignore=shutil.ignore_patterns("ray")))
    arguments = (runs.script("search/control.py"), str(run), "--pick", finished_id(finished), "--seeds", "2")
    code, text = runs.run(arguments, folder=place, env=finished.env)
    assert code == 0, text
    return run, text


def test_the_control_trains_the_same_student_without_its_teacher(
    finished: runs.Finished, controlled: tuple[Path, str]
) -> None:
    name = finished_id(finished)
    control = json.loads((controlled[0] / "control.json").read_text())
    assert control["seeds"] == [0, 1]
    kinds = sorted((row["data"], row["distilled"], row["seed"]) for row in control["rows"])
    assert kinds == [
        ("clean", False, 0),
        ("clean", False, 1),
        ("noisy", False, 0),
        ("noisy", False, 1),
        ("noisy", True, 0),
        ("noisy", True, 1),
    ]
    assert {row["candidate_id"] for row in control["rows"]} == {name}
    assert all(math.isfinite(row["retention"]) for row in control["rows"])
    (searched,) = [row for row in control["rows"] if row["distilled"] and row["seed"] == 0]
    assert searched["retention"] == runs.trial_rows(finished.folder)[name]["retention"]


def test_gain_and_spread_are_told_and_shown_in_the_report(
    finished: runs.Finished, controlled: tuple[Path, str]
) -> None:
    run, text = controlled
    told = re.search(rf"{finished_id(finished)}, noisy data: .* gain ([+-][\d.]+) \+- ([\d.]+) over 2", text)
    assert told, text
    before, after = ((one / "report.html").read_text() for one in (finished.folder, run))
    assert "no control run" in before.lower()
    assert "no control run" not in after.lower()
    assert told.group(1).lstrip("+-") in after


def test_the_run_itself_is_left_as_it_was(finished: runs.Finished, controlled: tuple[Path, str]) -> None:
    for name in ("trials.arrow", "rungs.json", "space.yaml"):
        assert (controlled[0] / name).read_bytes() == (finished.folder / name).read_bytes()
    before, after = (json.loads((one / "run.json").read_text()) for one in (finished.folder, controlled[0]))
    *earlier, control = after.pop("sessions")
    assert earlier == before.pop("sessions")
    assert control["ended_by"] == "trainings"
    assert "search/control.py" in control["command"]
    assert after == before


@pytest.mark.parametrize("pick", ["ffffffff", "blind"])
def test_a_student_that_cannot_be_controlled_is_told(
    pick: str, finished: runs.Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.control import main

    assert main([str(finished.folder), "--pick", pick]) == 2
    assert f"no candidate is called '{pick}'" in capsys.readouterr().err
