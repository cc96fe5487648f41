"""A disk that takes no more ends the search at once, and no candidate is called failed for it; without a Ray."""

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.table import read_trials
from search.proposal import Admitted, Proposal
from search.reporting.progress import Progress
from search.run_folder.kept_weights import Fronts, KeptWeights
from search.run_folder.recorder import Recorder
from search.schedulers.moasha import MOAsha
from search.schedulers.rung_config import RungConfig
from search.stopping.hypervolume import Growth, TeacherBox
from search.stopping.stop_rules import StopRules
from search.stopping.time_used import TimeUsed
from search.tune import tune_callback
from search.tune.tune_callback import RunCallback, Watched
from spaces.errors import StorageError
from spaces.sections import StopSection
from tests.unit.search.toy_admissions import make_candidate
from trainables.trial import UNWRITTEN

OBJECTIVES = {"retention": "max", "params": "min"}
COSTS = {"params": 64.0, "flops": 10, "latency_ms": 2.5, "latency_spread_ms": 0.1, "size_mib": 0.5}


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Search:
    """Tables, rules and scheduler of a search with one candidate in training, as Ray Tune would drive them."""

    def __init__(self, folder: Path, stream: Any) -> None:
        self.folder = folder
        self.recorder = Recorder(folder, metric_names=["retention"], loss_names=[])
        values = {"student.width": "0.5x", "student.depth": 2, "losses.itm.weight": 0, "training.lr": 1e-3}
        candidate = make_candidate(values)
        self.recorder.add_running(
            Proposal(candidate=candidate, index=0, values=values), Admitted(costs=COSTS)
        )
        self.one = candidate.candidate_id
        box = TeacherBox(OBJECTIVES, {"retention": 100.0, "params": 1000.0})
        used = TimeUsed({}, lambda: self.recorder.trained_s)
        used.open(workers=1, cpus=1, gpus=0)
        self.rules = StopRules(StopSection(), used=used, growth=Growth(box, OBJECTIVES))
        self.scheduler = MOAsha(RungConfig(rungs=(1,), reduction_factor=2), OBJECTIVES, folder=folder)
        watched = Watched(
            scheduler=self.scheduler,
            rules=self.rules,
            progress=Progress(stream),
            quality="retention",
            trials=lambda: 1,
            slots=lambda: 1,
            watchdog=None,
            weights=KeptWeights(folder, Fronts("retention", maximise=True), keep="fronts", say=print),
            on_end=lambda row: None,
        )
        self.callback = RunCallback(self.recorder, watched)
        self.trial = SimpleNamespace(
            config={"candidate_id": self.one, "role": "search"},
            status="RUNNING",
            get_error=lambda: self.error,
        )
        self.error: Exception | None = None

    def tell(self, **row: Any) -> None:
        """Take a row, as Ray Tune tells it to the scheduler and to the callback."""
        told = {"candidate_id": self.one, "epoch": 1, "status": "running", "retention": 50.0, **COSTS, **row}
        self.scheduler.on_trial_result(None, self.trial, told)
        self.callback.on_trial_result(0, [], self.trial, told)

    def end(self) -> None:
        """Let the trial end, and Ray Tune's step."""
        self.callback.on_trial_complete(0, [], self.trial)
        self.callback.on_step_end(0, [])

    def on_disk(self) -> dict[str, Any]:
        """Return the candidate's row."""
        (row,) = read_trials(self.folder / "trials.arrow").to_pylist()
        return row


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    """Return a search whose gauges go nowhere; its tables are closed in the end, as a session closes them."""
    nowhere = SimpleNamespace(show_epoch=lambda *_: None, show_end=lambda *_: None, show_run=lambda *_: None)
    monkeypatch.setattr(tune_callback, "Gauges", lambda quality: nowhere)
    made = Search(tmp_path, io.StringIO())
    yield made
    made.recorder.close()


def check_broken_off(search: Search, said: str) -> None:
    assert isinstance(search.rules.fault, StorageError)
    assert said in str(search.rules.fault)
    assert search.rules.over(), "running trials end, too"
    ending = search.rules.ending
    assert ending is not None
    assert (ending.ended_by, ending.reason) == ("failed", str(search.rules.fault))
    search.end()
    assert search.recorder.row(search.one)["status"] == "running"
    assert search.on_disk()["status"] == "running", "unfinished, not failed"


def test_what_a_worker_could_not_write_ends_the_search(search: Search) -> None:
    search.tell(epoch=0, retention=None, **{UNWRITTEN: "checkpoint.pt: cannot be written: the disk is full"})
    check_broken_off(search, "checkpoint.pt: cannot be written")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("search.run_folder.history.os.fsync", "history: cannot be written: the disk of"),
        ("search.run_folder.rung_book.write_text", "rungs.json"),
    ],
)
def test_tables_that_cannot_be_written_end_the_search(
    search: Search, monkeypatch: pytest.MonkeyPatch, broken: str, said: str
) -> None:
    def refuse(*_: object) -> None:
        if "rung_book" in broken:
            raise StorageError("rungs.json: cannot be written")
        full()

    with monkeypatch.context() as patch:
        patch.setattr(broken, refuse)
        search.tell()
        search.callback.on_step_end(0, [])
    check_broken_off(search, said)


def test_an_end_that_cannot_be_written_down_is_none(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    search.tell(status="finished")
    with monkeypatch.context() as patch:
        patch.setattr("spaces.files.os.replace", full)
        search.callback.on_trial_complete(0, [], search.trial)
    assert isinstance(search.rules.fault, StorageError)
    assert search.on_disk()["status"] == "running"


def test_a_process_that_died_of_a_full_disk_has_not_crashed(search: Search) -> None:
    search.error = RuntimeError("Traceback ...\nOSError: [Errno 28] No space left on device")
    search.callback.on_trial_error(0, [], search.trial)
    check_broken_off(search, "No space left on device")


def test_after_it_nothing_is_recorded_and_the_first_fault_is_told(search: Search) -> None:
    search.rules.break_off(StorageError("first"))
    search.rules.break_off(StorageError("second"))
    search.tell(status="crashed", reason="of something")
    search.error = RuntimeError("lost")
    search.callback.on_trial_error(0, [], search.trial)
    check_broken_off(search, "first")


def test_another_failure_is_still_the_candidates(search: Search) -> None:
    search.tell(epoch=0, status="crashed", reason="ValueError: no")
    search.end()
    assert search.on_disk()["status"] == "crashed"
    assert search.rules.fault is None
