"""The control of a run trains with as many workers as its trials had, whose results hang on their number."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search.results import trainings, undistilled
from search.results.orders import Order
from search.run_folder import facts
from search.tune import cluster, shared
from search.tune.capacity import Resources
from search.tune.tasks import Outcome
from spaces.errors import ResourceError
from tests.unit.search.results.test_control_rows import order
from trainables.code_version import code_digest
from trainables.training.job import Job
from trainables.trial import Launch


class Cluster:
    """A cluster that has as many workers as are asked for, whose tasks run here; what it was asked for and trained."""

    def __init__(self) -> None:
        self.trained: list[tuple[Job, int]] = []
        self.takes: list[tuple[float, int | None]] = []
        self.workers = 1

    def resources(self, *, workers: int, cpus: int, gpus: float | None, most: int | None) -> Resources:
        return Resources(workers=workers, cpus=cpus, gpus=gpus or 0.0, slots=3)

    def run_all(
        self, function: Callable[..., Any], orders: list[Any], *, resources: Any, say: Any, most: int | None
    ) -> Iterator[Outcome]:
        self.takes.append((resources.cpus, most))
        for index, arguments in enumerate(orders):
            yield Outcome(index=index, value=function(*arguments))

    def train_alone(self, job: Job, control: Any) -> None:
        self.trained.append((job, 1))
        control.report({"status": "finished", "retention": 60.0})

    def train_with_workers(
        self, job: Job, launch: Launch, report: Callable[[Mapping[str, Any]], Any]
    ) -> None:
        assert Path(launch.log).parent == Path(job.folder)
        self.trained.append((job, launch.workers))
        report({"status": "finished", "retention": 70.0})


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return the cluster that controls find."""
    made = Cluster()

    def space(folder: Path, changes: object) -> SimpleNamespace:
        asked = dict(cpus_per_worker=1, gpus=0.0, packs=False, max_concurrent=None)
        return SimpleNamespace(resources=SimpleNamespace(workers_per_trial=made.workers, **asked))

    monkeypatch.setattr(facts, "read_space", space)
    monkeypatch.setattr(cluster, "resources", made.resources)
    monkeypatch.setattr(trainings, "run_all", made.run_all)
    for name in ("check_run", "check_copies"):
        monkeypatch.setattr(shared, name, lambda *arguments: None)
    monkeypatch.setattr("trainables.training.loop.train", made.train_alone)
    monkeypatch.setattr("trainables.trial.run_nested", made.train_with_workers)
    return made


def train(folder: Path, made: list[Order]) -> list[dict[str, Any]]:
    """Train a control, and return its rows."""
    run: Any = SimpleNamespace(folder=folder)
    assert undistilled._train_all(run, made) == []
    rows: list[dict[str, Any]] = json.loads((folder / "control.json").read_text())["rows"]
    return rows


def test_each_training_has_as_many_workers_as_the_trials_had(here: Cluster, tmp_path: Path) -> None:
    made = [order(tmp_path, seed) for seed in range(2)]
    assert [row.get("workers") for row in train(tmp_path, made)] == [None] * 3
    assert [(workers, job.seed) for job, workers in here.trained] == [(1, 7), (1, 8)]
    here.trained.clear()
    here.workers = 2  # what was trained by one is no result of two
    rows = train(tmp_path, made)
    assert [(row["workers"], row["retention"]) for row in rows] == [(2, 80.0), (2, 70.0), (2, 70.0)]
    assert [(workers, job.seed) for job, workers in here.trained] == [(2, 7), (2, 8)]
    assert here.takes == [(1, None), (0.0, 3)]  # a driver holds nothing that its workers wait for
    assert {job.code for job, _ in here.trained} == {
        code_digest()
    }  # that of the run would be refused by the workers
    here.trained.clear()
    assert len(train(tmp_path, made)) == 3
    assert here.trained == []  # all is through


def test_a_cluster_without_room_for_the_workers_is_told_of(
    here: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(**takes: object) -> Resources:
        raise ResourceError("resources: one trial needs 8 CPUs.")

    monkeypatch.setattr(cluster, "resources", none)
    here.workers = 8
    run: Any = SimpleNamespace(folder=Path("runs/one"))
    with pytest.raises(
        ResourceError, match=r"runs/one: its trials had 8 workers each.*needs 8 CPUs.*--address"
    ):
        undistilled._takes(run)
