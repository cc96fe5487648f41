"""What an export says of a student's origin."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.run_folder import Run, read_run
from search.results import student_export
from search.results.student_export import checkpoint_of, measured_figures
from spaces.errors import ExportError
from tests.unit.search.earlier_run import Trained, prepare, write_run

COSTS = {"params": 9.0, "flops": 8.0, "latency_ms": 7.0, "size_mib": 6.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run with a single student."""
    place = tmp_path_factory.mktemp("run")
    trained = [Trained(values={"losses.lm.weight": 0.2}, retention=[10.0, 20.0, 30.0], params=100)]
    teacher = {"name": "embedded", "fingerprint": "01+23", "metrics": {"mean_recall": 80.0}, **COSTS}
    second = {
        "fingerprint": "23",
        "metrics": {"mean_recall": 60.0},
        "test_metrics": {"mean_recall": 50.0},
        "params": 3,
    }
    teachers = {"second": second}
    return read_run(write_run(place / "run", prepare(place), trained, teacher=teacher, teachers=teachers))


def test_a_student_of_the_reference_is_told_with_the_teachers_figures(run: Run) -> None:
    (trial,) = [one for one in run.trials if one.role == "search" and one.status == "finished"]
    found = measured_figures(run, trial)
    assert found["teacher"] == {
        "name": "embedded",
        "fingerprint": "01",  # its own; 23 is that of another teacher of the space
        "metrics": {"validation": {"mean_recall": 80.0}, "test": {}},
        "costs": COSTS,
    }
    assert found["costs"]["params"] == 100
    head = replace(trial, head_costs={"params": 7.0, "flops": 9.0, "latency_ms": 0.5, "size_mib": math.nan})
    costs = measured_figures(run, head)["costs"]
    told = {name: costs[name] for name in costs if name.startswith("head_")}
    assert told == {"head_params": 7, "head_flops": 9, "head_latency_ms": 0.5}
    assert isinstance(told["head_params"], int)
    assert found["metrics"]["validation"] == {"retention": 30.0}


def test_figures_of_the_reference_are_not_told_as_those_of_another_teacher(run: Run) -> None:
    trial = replace(run.trials[-2], config={**run.trials[-2].config, "teacher": "another"})
    assert measured_figures(run, trial)["teacher"] == {"name": "another"}
    trial = replace(trial, config={**trial.config, "teacher": "second"})
    assert measured_figures(run, trial)["teacher"] == {
        "name": "second",
        "fingerprint": "23",
        "metrics": {"validation": {"mean_recall": 60.0}, "test": {"mean_recall": 50.0}},
        "costs": {"params": 3},
    }


@pytest.mark.parametrize("linked", ["checkpoints", "checkpoints/0badcafe", "."])
def test_checkpoints_may_lie_on_another_disk(linked: str, run: Run, tmp_path: Path) -> None:
    folder, other = tmp_path / "run", tmp_path / "disk" / "other"
    other.parent.mkdir()
    place = folder / "checkpoints/0badcafe"
    place.mkdir(parents=True)
    (place / "checkpoint.pt").touch()
    (folder / linked).rename(other)
    (folder / linked).symlink_to(other)
    trial = replace(run.trials[-2], checkpoint="checkpoints/0badcafe", candidate_id="0badcafe")
    found = checkpoint_of(folder, trial)
    assert (found / "checkpoint.pt").is_file()
    assert found == checkpoint_of(folder, replace(trial, checkpoint=""))


def test_a_student_whose_weights_went_is_told_with_the_command_that_brings_it_back(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(student_export, "read_run", lambda folder: run)
    monkeypatch.setattr(student_export, "check_format", lambda *_: None)
    one = next(trial for trial in run.finished)
    with pytest.raises(
        ExportError, match=r"holds no weights.*`checkpoints: \{keep: all\}`.*Pick best, knee"
    ) as told:
        student_export.export(tmp_path, one.candidate_id, axis="params", out=tmp_path / "out")
    assert "python -m trainables.worker " in str(told.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("named", ["/etc", "../other/checkpoints/x", "checkpoints/../../x", "checkpoints/.."])
def test_a_table_does_not_name_a_checkpoint_outside_of_its_run(named: str, run: Run) -> None:
    trial = replace(run.trials[-2], checkpoint=named)
    with pytest.raises(
        ExportError, match=r"trials\.arrow: trial .*: checkpoint: got .*allowed: a path within it"
    ) as error:
        checkpoint_of(run.folder, trial)
    assert repr(named) in str(error.value)
