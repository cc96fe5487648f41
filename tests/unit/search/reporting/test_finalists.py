"""Finalists as a whole: each model once, one at a time, teachers in the same way, both figures with their spread."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from search.inputs.inputs import Inputs
from search.reporting import finalists
from search.reporting.finalists import measure_finalists
from search.run_folder.recorder import Recorder
from tests.unit.search.earlier_run import Trained, load_recorder, prepare, write_run
from tests.unit.search.latency.figures import of_size
from trainables.costs.subject import Subject
from trainables.costs.target import Target

SAMPLES = 7


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the space file."""
    return tmp_path_factory.mktemp("space")


@pytest.fixture
def inputs(place: Path) -> Inputs:
    """Return the tiny space."""
    return prepare(place, f"latency.samples={SAMPLES}")


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """Return the folder of a run of three finished candidates, two of which are of one architecture; not to be changed."""
    trained = [
        Trained(values={"losses.lm.weight": 0.11}, retention=[9.0], params=5),
        Trained(values={"losses.lm.weight": 0.12}, retention=[8.0], params=5),
        Trained(values={"student.image.depth": 3}, retention=[9.0], params=7),
    ]
    return write_run(place / "run", prepare(place), trained)


@pytest.fixture
def recorder(inputs: Inputs, run: Path, tmp_path: Path) -> Recorder:
    """Return its tables, to be filled in."""
    shutil.copytree(run, tmp_path / "run")
    return load_recorder(tmp_path / "run", inputs)


class Measured:
    """Stands in for the measuring: twice what follows from the size."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[Subject, Target]] = []
        self.samples = set[int]()
        monkeypatch.setattr(finalists, "measure_whole", self)

    def __call__(self, subject: Subject, target: Target, *, rounds: int) -> Any:
        self.asked.append((subject, target))
        self.samples.add(rounds)
        figures = of_size(subject).to_dict()
        return type(of_size(subject)).from_dict({**figures, "latency_ms": 2 * figures["latency_ms"]})


def finished(recorder: Recorder) -> list[Any]:
    return [row for row in recorder.rows if row["role"] == "search" and row["status"] == "finished"]


def expected(inputs: Inputs, row: Any) -> dict[str, float]:
    """Return the columns of a row, by hand."""
    own = of_size(inputs.students.subject(json.loads(row["config"])))
    teacher = of_size(inputs.measures["embedded"].subject)
    return {
        "wall_latency_ms": 2 * own.latency_ms,
        "wall_latency_spread_ms": own.spread_ms,
        "speedup": pytest.approx(teacher.latency_ms / own.latency_ms),
    }


def test_each_model_is_measured_once_and_the_teacher_in_the_same_way(
    inputs: Inputs, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, said = Measured(monkeypatch), list[str]()
    facts = measure_finalists(inputs, recorder, finished(recorder), say=said.append)
    assert len(measured.asked) == 3  # the teacher and two architectures
    assert {target for _, target in measured.asked} == {inputs.latencies.target}
    assert measured.samples == {SAMPLES}
    for row in finished(recorder):
        assert {name: row[name] for name in expected(inputs, row)} == expected(inputs, row)
    teacher = of_size(inputs.measures["embedded"].subject).latency_ms
    assert facts["whole_latency"]["embedded"]["latency_ms"] == 2 * teacher
    own = facts["whole_latency_of_students"]
    assert set(own) == {row["candidate_id"] for row in finished(recorder)}
    for row in finished(recorder):  # with how often it was measured, which the table does not hold
        told = {"wall_latency_ms": own[row["candidate_id"]]["latency_ms"]}
        assert told == {"wall_latency_ms": row["wall_latency_ms"]}
        assert "samples" in own[row["candidate_id"]]
    assert said == ["latency of 3 models as a whole, one at a time: cpu, eager, float32, batch 1, 1 thread"]


class There:
    """A cluster, as far as finalists are concerned."""

    gpus = 0.0

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def run(self, function: Any, *arguments: Any) -> Any:
        self.calls.append((function, *arguments))
        return function(*arguments)

    def run_all(self, function: Any, orders: Sequence[tuple[Any, ...]]) -> Any:
        raise AssertionError("nothing runs beside them")


def test_on_a_cluster_one_process_measures_all_of_them(
    inputs: Inputs, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Measured(monkeypatch)
    there = There()
    monkeypatch.setattr(inputs, "elsewhere", there)
    measure_finalists(inputs, recorder, finished(recorder), say=lambda line: None)
    ((function, subjects, *others),) = there.calls
    assert (function, len(subjects), *others) == (finalists.measured_whole, 3, Target(), SAMPLES)
    for row in finished(recorder):
        assert {name: row[name] for name in expected(inputs, row)} == expected(inputs, row)


def test_what_is_cut_off_has_kept_what_was_measured(
    inputs: Inputs, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Measured(monkeypatch)

    def cut(subject: Subject, target: Target, *, rounds: int) -> Any:
        if len(measured.asked) == 2:
            raise KeyboardInterrupt
        return measured(subject, target, rounds=rounds)

    monkeypatch.setattr(finalists, "measure_whole", cut)
    with pytest.raises(KeyboardInterrupt):
        measure_finalists(inputs, recorder, finished(recorder), say=lambda line: None)
    told = [
        row["wall_latency_ms"]
        for row in finished(recorder)
        if row["wall_latency_ms"] == row["wall_latency_ms"]
    ]
    assert len(told) == 2  # those of the first architecture


def test_nothing_is_measured_where_nobody_is_a_finalist(inputs: Inputs, recorder: Recorder) -> None:
    assert measure_finalists(inputs, recorder, [], say=lambda line: None) == {}
