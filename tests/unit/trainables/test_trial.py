"""How the driver of nested trials keeps, replaces and gives back its workers; with stand-ins for them, without a Ray."""

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ray import train
from ray.exceptions import ActorDiedError
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
)

from spaces.errors import InputsChanged, ShapeError, StorageError
from tests.unit.trainables.small import make_job
from trainables import trial, worker_group
from trainables.training.job import Job
from trainables.trial import MIB, Launch, driver_share
from trainables.worker_group import GROUPS, found_no_room, own_fault

LEFT, LOST, TRAINED = "left", "lost", "trained"
NO_ROOM = train.ControllerError(WorkerGroupStartupTimeoutError(2))
RETRIES = 2
ATTEMPTS = RETRIES + 1


class FakeWorkers:
    """Workers who do what `script` says: they have left, get lost, are asked what they cannot do, or train."""

    script: list[str | Exception]
    made: list["FakeWorkers"]

    def __init__(self, launch: Launch) -> None:
        self.kind, self.gone, self.ended = replace(launch, log=""), False, False
        self.jobs: list[tuple[Job, str]] = []
        assert all(other.ended for other in self.made), "two groups would hold twice the CPUs"
        self.made.append(self)

    def train(self, job: Job, log: str, report: object = None) -> bool:
        """Do the next thing of the script."""
        self.jobs.append((job, log))
        does = self.script.pop(0)
        if isinstance(does, Exception):
            self.gone = does is NO_ROOM
            raise does
        self.gone = does != TRAINED
        if does == LOST:
            raise ConnectionError(f"worker of group {len(self.made)}")
        return does == TRAINED

    def end(self) -> None:
        """Leave."""
        self.ended = True


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> list[str | Exception]:
    """Return what the workers of this process are going to do, one item for each candidate offered; to be filled."""
    steps: list[str | Exception] = []
    monkeypatch.setattr(FakeWorkers, "script", steps, raising=False)
    monkeypatch.setattr(FakeWorkers, "made", [], raising=False)
    monkeypatch.setattr(worker_group, "Workers", FakeWorkers)
    monkeypatch.setattr(trial, "_workers", None)
    return steps


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is written into trials' logs."""
    told: list[str] = []
    monkeypatch.setattr(trial, "note", lambda log, text: told.append(f"{log.name}: {text}"))
    return told


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Return the launch of a trial with two workers."""
    log = str(tmp_path / "one.log")
    return Launch(nested=True, workers=2, cpus=1.0, gpus=0.0, storage=str(tmp_path), log=log, retries=RETRIES)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Return an order that nobody carries out."""
    return make_job(tmp_path / "teacher", tmp_path / "trial")


def test_workers_stay_for_the_next_candidate(
    script: list[str | Exception], notes: list[str], job: Job, launch: Launch
) -> None:
    script += [TRAINED, TRAINED]
    trial.run_nested(job, launch)
    trial.run_nested(job, replace(launch, log="two.log"))
    (workers,) = FakeWorkers.made
    assert workers.jobs == [(job, launch.log), (job, "two.log")]
    assert not workers.ended
    assert notes == []


def test_workers_that_left_before_it_began_are_replaced_however_often(
    script: list[str | Exception], notes: list[str], job: Job, launch: Launch
) -> None:
    script += [*[LEFT] * (ATTEMPTS + 1), TRAINED]
    trial.run_nested(job, launch)
    assert script == []
    assert [workers.ended for workers in FakeWorkers.made] == [*[True] * (ATTEMPTS + 1), False]
    assert notes == []


def test_lost_workers_are_replaced_and_the_log_says_so(
    script: list[str | Exception], notes: list[str], job: Job, launch: Launch
) -> None:
    script += [*[LOST] * (ATTEMPTS - 1), TRAINED]
    trial.run_nested(job, launch)
    assert script == []
    assert [workers.ended for workers in FakeWorkers.made] == [*[True] * (ATTEMPTS - 1), False]
    assert all(workers.jobs == [(job, launch.log)] for workers in FakeWorkers.made)
    assert notes == [
        f"one.log: new workers are started ({group} of {RETRIES}): ConnectionError: worker of group {group}"
        for group in range(1, ATTEMPTS)
    ]


def test_workers_lost_at_every_attempt_are_told_with_the_last_error(
    script: list[str | Exception], notes: list[str], job: Job, launch: Launch
) -> None:
    script += [LOST] * (ATTEMPTS + 1)
    with pytest.raises(ConnectionError, match=f"worker of group {ATTEMPTS}"):
        trial.run_nested(job, launch)
    assert script == [LOST]
    assert len(FakeWorkers.made) == ATTEMPTS
    script[:] = [TRAINED]
    trial.run_nested(job, launch)
    assert len(FakeWorkers.made) == ATTEMPTS + 1, "the next candidate of this process has new workers"


def test_an_error_that_cost_no_worker_is_not_tried_again(
    script: list[str | Exception], notes: list[str], job: Job, launch: Launch
) -> None:
    script += [OSError("no disk for a row"), TRAINED]
    with pytest.raises(OSError, match="no disk"):
        trial.run_nested(job, launch)
    assert script == [TRAINED]
    assert notes == []
    trial.run_nested(job, launch)
    assert len(FakeWorkers.made) == 1


def test_what_a_worker_says_of_its_candidate_is_not_tried_again(
    script: list[str | Exception], notes: list[str], job: Job, launch: Launch
) -> None:
    said = ShapeError("student.image.width: got 7")
    headline = train.WorkerGroupError("[Rank 1 Error]\nShapeError: got 7", {1: said})
    script += [headline, TRAINED]
    with pytest.raises(ShapeError, match="got 7") as caught:
        trial.run_nested(job, launch)
    assert caught.value is said
    assert script == [TRAINED]
    assert trial._reason(headline) == "WorkerGroupError: ShapeError: got 7"
    assert trial._reason(said) == "ShapeError: student.image.width: got 7"


def test_no_room_for_workers_is_a_wait_and_no_failure_however_long_it_takes(
    script: list[str | Exception], notes: list[str], job: Job, launch: Launch
) -> None:
    script += [*[NO_ROOM] * 10, TRAINED]
    trial.run_nested(job, launch)
    assert script == []
    assert notes == ["one.log: still waits for room for 2 workers"] * 10
    assert found_no_room(NO_ROOM)
    assert not found_no_room(train.ControllerError(WorkerGroupStartupFailedError("no")))
    assert not found_no_room(ConnectionError("lost"))


GLOO = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4711")
DEAD = WorkerHealthCheckFailedError("The worker died", ActorDiedError())
BUG = IndexError("index 7 is out of bounds")


@pytest.mark.parametrize(
    ("said", "own"),
    [
        ({0: DEAD, 1: GLOO}, None),
        ({0: GLOO}, None),  # the other one is not yet known to be dead
        ({0: GLOO, 1: torch.distributed.DistNetworkError("timed out")}, None),
        ({0: DEAD, 1: BUG}, None),
        ({0: BUG, 1: GLOO}, BUG),
        ({0: BUG, 1: BUG}, BUG),
        ({0: GLOO, 1: torch.OutOfMemoryError("2 GiB asked")}, 1),
        ({0: DEAD, 1: ShapeError("width: got 7")}, 1),
        ({0: RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)")}, 0),
    ],
)
def test_what_is_a_workers_own_fault_and_what_comes_of_the_loss_of_another(
    said: dict[int, Exception], own: Exception | int | None
) -> None:
    found = own_fault(train.WorkerGroupError("failed", said))
    assert found is (said[own] if isinstance(own, int) else own)


def test_an_exchange_that_is_gone_is_a_loss_of_the_workers_and_ends_quietly(
    job: Job, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(reference: object) -> None:
        raise ActorDiedError

    call = SimpleNamespace(remote=lambda *given: None)
    workers = object.__new__(worker_group.Workers)
    workers.kind, workers.gone, workers._error = launch, False, None
    workers._exchange = SimpleNamespace(offer=call, close=call)
    monkeypatch.setattr(worker_group.ray, "get", gone)
    workers._thread = threading.Thread(target=workers._close)
    workers._thread.start()
    with pytest.raises(ActorDiedError):
        workers.train(job, launch.log)
    assert workers.gone
    workers.end()


def test_each_worker_works_on_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for device in (torch.device("cuda", 3), torch.device("cpu")):
        monkeypatch.setattr("ray.train.torch.get_device", lambda device=device: device)
        worker_group.take_device()
    assert taken == [torch.device("cuda", 3)]


def test_drivers_take_a_little_of_what_every_node_has_and_never_a_cpu() -> None:
    node = {"CPU": 8.0, "memory": 16.0 * 1024 * MIB}
    assert driver_share([node, node], 2) == {"memory": 512.0 * MIB}
    many = driver_share([node, node], 200)["memory"]
    assert 200 * many <= 16 * 1024 * MIB < 201 * (many + MIB)  # half of all, in whole MiB
    for nodes in ([node], [], [node, {"CPU": 8.0}], [{"memory": 0.0}, {"memory": 0.0}]):
        assert driver_share(nodes, 4) == {"node:__internal_head__": 0.001}


def test_workers_of_another_kind_end_before_new_ones_start(
    script: list[str | Exception], launch: Launch
) -> None:
    first = trial._workers_for(launch)
    assert trial._workers_for(replace(launch, log="two.log")) is first
    second = trial._workers_for(replace(launch, cpus=2.0))
    assert second is not first
    assert [workers.ended for workers in FakeWorkers.made] == [True, False]
    assert second.kind == replace(launch, cpus=2.0, log="")


def test_each_group_that_workers_noted_is_given_back_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []
    monkeypatch.setattr(
        worker_group.ray.util, "remove_placement_group", lambda group: removed.append(group.id.hex())
    )
    worker_group.release(tmp_path)
    assert removed == [], "no workers, no folder"
    groups = ["0a" * 18, "0b" * 18]
    (tmp_path / GROUPS).mkdir()
    for group in groups:
        (tmp_path / GROUPS / group).touch()
    worker_group.release(tmp_path)
    worker_group.release(tmp_path)
    assert sorted(removed) == groups


@pytest.mark.parametrize(
    "error",
    [
        StorageError("checkpoint.pt: cannot be written: the disk of /data is full"),
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        OSError(30, "Read-only file system"),
        RuntimeError("unable to write to file </torch_1>: No space left on device (28)"),
    ],
    ids=repr,
)
def test_a_disk_that_takes_no_more_is_no_failure_of_the_candidate(
    error: Exception, notes: list[str], job: Job, launch: Launch
) -> None:
    row = trial.last_row(job.candidate_id, error, Path(launch.log), job.costs)
    assert (row["status"], row["epoch"], row["candidate_id"]) == ("running", 0, job.candidate_id)
    assert str(error).splitlines()[0] in row[trial.UNWRITTEN]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), "crashed"),
        (torch.OutOfMemoryError("2 GiB asked"), "oom"),
        (FileNotFoundError("gone"), "crashed"),
    ],
)
def test_other_failures_are_the_candidates_and_name_their_log(
    error: Exception, status: str, notes: list[str], job: Job, launch: Launch
) -> None:
    row = trial.last_row(job.candidate_id, error, Path(launch.log), job.costs)
    assert row["status"] == status
    assert trial.UNWRITTEN not in row
    assert row["reason"].startswith(f"trial {job.candidate_id}: {type(error).__name__}: ")
    assert row["reason"].endswith("one.log")
    assert "Traceback" in notes[0] or str(error) in notes[0]


def test_the_first_log_of_a_run_holds_a_failure_but_makes_no_folder_of_a_run_that_is_not_seen(
    notes: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "logs" / "one.log"
    trial.last_row("one", InputsChanged("run folder: not seen"), log, {})
    assert notes == []
    trial.last_row("one", ValueError("no"), log, {})
    assert "ValueError: no" in notes[0]


def test_a_log_that_cannot_be_written_tells_of_the_disk(
    job: Job, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(log: Path, text: str) -> None:
        raise StorageError(f"{log}: cannot be written: the disk is full")

    monkeypatch.setattr(trial, "note", full)
    assert (
        "one.log: cannot be written"
        in trial.last_row(job.candidate_id, ValueError("no"), Path(launch.log), job.costs)[trial.UNWRITTEN]
    )
