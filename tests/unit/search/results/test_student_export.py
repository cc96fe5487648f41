"""What an export says of a student's origin."""

from dataclasses import replace

import pytest

from analysis.run_folder import Run, read_run
from search.results.student_export import measured_figures
from tests.unit.search.earlier_run import Trained, prepare, write_run

COSTS = {"params": 9.0, "flops": 8.0, "latency_ms": 7.0, "size_mib": 6.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run with a single student."""
    place = tmp_path_factory.mktemp("run")
    trained = [Trained(values={"losses.lm.weight": 0.2}, retention=[10.0, 20.0, 30.0], params=100)]
    teacher = {"name": "embedded", "fingerprint": "01+23", "metrics": {"mean_recall": 80.0}, **COSTS}
    return read_run(write_run(place / "run", prepare(place), trained, teacher=teacher))


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
    assert found["metrics"]["validation"] == {"retention": 30.0}


def test_figures_of_the_reference_are_not_told_as_those_of_another_teacher(run: Run) -> None:
    trial = replace(run.trials[-2], config={**run.trials[-2].config, "teacher": "another"})
    assert measured_figures(run, trial)["teacher"] == {"name": "another"}
