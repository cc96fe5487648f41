"""Begin and end to measure: teachers first, by a process here or as work of a cluster, and what a resume is warned of."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from search.inputs.inputs import Inputs
from search.latency.alike import measured_alike
from search.latency.opening import measuring
from search.run_folder.facts import read_facts, write_facts
from spaces.errors import RunError, SpaceError
from spaces.load import load_space
from tests.unit.search.earlier_run import Trained, prepare, write_run
from tests.unit.search.latency.figures import of_size
from trainables.costs.latency import Latency
from trainables.costs.subject import Subject
from trainables.costs.target import Target


class There:
    """A cluster on which latency follows from the size of a model."""

    def __init__(self, gpus: float = 0.0) -> None:
        self.gpus, self.targets = gpus, list[Target]()

    def run(
        self, function: Any, target: Target, folder: Path, subjects: Sequence[Subject], device: str
    ) -> list[Latency] | str:
        assert function is measured_alike
        self.targets.append(target)
        if device not in ("", "a CPU"):
            return "a CPU"
        return [of_size(subject) for subject in subjects]

    def run_all(self, function: Any, orders: Any) -> Iterator[Any]:
        raise AssertionError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for space and run."""
    return tmp_path_factory.mktemp("space")


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """Return a run of one candidate that knew its target."""
    folder = write_run(place / "run", prepare(place), [Trained(values={}, retention=[1.0], params=1)])
    facts = read_facts(folder)
    latency = {"device": "a CPU", "latency_ms": 1.0, "spread_ms": 0.1}
    write_facts(
        folder, {**facts, "target": Target().to_dict(), "teacher": {**facts["teacher"], "latency": latency}}
    )
    return folder


def inputs_there(place: Path, gpus: float = 0.0, *changes: str) -> Inputs:
    """Return inputs of a search on a cluster; nothing is measured yet."""
    inputs = Inputs(load_space(place / "tiny.yaml", changes), say=lambda line: None)
    inputs.elsewhere = There(gpus)
    return inputs


def test_teachers_are_measured_where_the_trials_run_and_with_what_they_take(run: Path, place: Path) -> None:
    inputs = inputs_there(place, 0.5, "limits.latency_ms.max=0.5x")
    assert "latency_ms" not in inputs.teacher_costs
    assert "latency_ms" not in inputs.limits()
    with measuring(inputs):
        teacher = of_size(inputs.measures["embedded"].subject).latency_ms
        assert inputs.teacher_costs["latency_ms"] == teacher
        assert inputs.limits()["latency_ms"] == (None, 0.5 * teacher)
        assert inputs.latencies.target == Target(device="cuda")
    assert set(inputs.elsewhere.targets) == {Target(device="cuda")}  # type: ignore[union-attr]
    assert not inputs.latencies.wait(0.0)


def test_limits_that_nothing_meets_are_told_once_the_teacher_is_measured(run: Path, place: Path) -> None:
    inputs = inputs_there(place, 0.0, "limits.latency_ms={min: 1e9, max: 0.5x}")
    with pytest.raises(SpaceError, match=r"limits\.latency_ms: got min 1e\+09 above max"), measuring(inputs):
        pass


def test_a_resume_on_another_target_is_refused(run: Path, place: Path) -> None:
    with (
        pytest.raises(RunError, match="the run began with cpu, eager"),
        measuring(inputs_there(place, 1.0), run),
    ):
        pass


def test_a_resume_on_other_hardware_or_after_another_method_is_warned_of(run: Path, place: Path) -> None:
    inputs = inputs_there(place)
    with measuring(inputs, run):
        told = [note for note in inputs.notes if "latency" in note or "whole models" in note]
        assert not told, "it is the same CPU"
    facts = read_facts(run)
    other = {**facts, "teacher": {**facts["teacher"], "latency": {"device": "another CPU"}}}
    older = {name: fact for name, fact in facts.items() if name != "target"}
    for known, words in (
        (other, "is measured on a CPU now, the run began on another CPU"),
        (older, "medians of whole models"),
    ):
        write_facts(run, known)
        inputs = inputs_there(place)
        with measuring(inputs, run):
            assert any(words in note and "latency" in note for note in inputs.notes)
    write_facts(run, facts)


def test_a_resume_keeps_the_latency_that_its_teacher_had(run: Path, place: Path) -> None:
    """Limits and the box of the hypervolume are shares of it: measured anew, elsewhere, it is another by a little."""
    facts, inputs = read_facts(run), inputs_there(place)
    with measuring(inputs):
        now = inputs.measures["embedded"].latency
    assert now is not None
    before = {**now.to_dict(), "latency_ms": 1.1 * now.latency_ms, "composed": True}
    whole, moved = {**before, "composed": False}, {**before, "device": "another CPU"}
    for kept, expected in ((before, before["latency_ms"]), (whole, now.latency_ms), (moved, now.latency_ms)):
        write_facts(run, {**facts, "teachers": {"embedded": {"latency": kept}}})
        inputs = inputs_there(place, 0.0, "limits.latency_ms.max=0.5x")
        with measuring(inputs, run):
            assert inputs.limits()["latency_ms"] == (None, 0.5 * expected)
    write_facts(run, facts)
