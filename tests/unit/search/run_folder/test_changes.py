"""Rows and decisions that are added to ledgers: at every moment, and after a kill at any, all that was told can be read."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from analysis.rungs import CONTINUE, STOP, Decision, read_rungs
from analysis.table import read_trials, trial_rows
from search.proposal import Admitted, Proposal, Rejected
from search.run_folder import rung_book, trials_file
from search.run_folder.recorder import Recorder
from search.run_folder.rung_book import RungBook
from spaces.candidate import Candidate
from spaces.errors import RunError
from tests.unit.search.run_folder.test_recorder import COSTS, LOSSES, METRICS, Clock, epoch, proposal

TABLE, CHANGES = "trials.arrow", "trials.changes.jsonl"
State = dict[str, tuple[str, int]]  # id -> status and epochs


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@contextmanager
def killed_at(number: int, *, after: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kill this process before or after the so manieth change of the disk; what was written so far stays."""
    counted = 0

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **more: Any) -> Any:
            nonlocal counted
            counted += 1
            if counted == number and not after:
                raise Killed
            found = call(*args, **more)
            if counted == number:
                raise Killed
            return found

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", deadly(os.replace))
        patch.setattr(os, "fsync", deadly(os.fsync))
        patch.setattr(Path, "unlink", deadly(Path.unlink))
        yield


def state_on_disk(folder: Path) -> State:
    rows = trial_rows(folder / TABLE, read_trials(folder / TABLE))
    return {row["candidate_id"]: (row["status"], row["epochs"]) for row in rows}


def work(folder: Path, told: State) -> None:
    """Search a little; `told` holds what was told to be on disk."""
    clock = Clock()
    recorder = Recorder(folder, metric_names=METRICS, loss_names=LOSSES, clock=clock)
    recorder.write()
    for index in range(2):
        one = proposal(index)
        recorder.add_running(one, Admitted(costs=COSTS))
        told[one.candidate.candidate_id] = ("running", 0)
        clock.now += 0.4
        recorder.record_epoch(epoch(one.candidate.candidate_id, 1, retention=float(index)))
        clock.now += 0.4
        recorder.finish(one.candidate.candidate_id, "stopped" if index % 2 else "finished")
        told[one.candidate.candidate_id] = ("stopped" if index % 2 else "finished", 1)
    recorder.add_rejected(proposal(7), Rejected(reason="big"))
    recorder.close()
    told[proposal(7).candidate.candidate_id] = ("rejected", 0)


@pytest.mark.parametrize("after", [False, True])
def test_after_a_kill_at_any_change_of_the_disk_all_that_was_told_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    for number in range(1, 200):
        folder = tmp_path / str(number)
        folder.mkdir()
        told: State = {}
        try:
            with killed_at(number, after=after, monkeypatch=monkeypatch):
                work(folder, told)
        except Killed:
            if (folder / TABLE).exists():
                check_all_is_there(folder, told)
            continue
        assert number > 15, "many moments were tried"
        assert not (folder / CHANGES).exists()
        return
    raise AssertionError("it never came to its end")


def check_all_is_there(folder: Path, told: State) -> None:
    found = state_on_disk(folder)
    for one, (status, epochs) in told.items():
        assert found[one][0] in ((status,) if status != "running" else ("running", "stopped", "finished"))
        assert found[one][1] >= epochs
    again = Recorder.load(folder, metric_names=METRICS, loss_names=LOSSES)
    again.write()
    assert not (folder / CHANGES).exists()
    assert state_on_disk(folder).keys() == found.keys()


def test_between_two_tables_a_reader_sees_all_rows_and_the_file_is_an_arrow_table(tmp_path: Path) -> None:
    clock = Clock()
    recorder = Recorder(tmp_path, metric_names=METRICS, loss_names=LOSSES, clock=clock)
    first, second = proposal(0), proposal(1)
    recorder.add_running(first, Admitted(costs=COSTS))
    before = (tmp_path / TABLE).read_bytes()
    recorder.add_running(second, Admitted(costs=COSTS))
    recorder.record_epoch(epoch(first.candidate.candidate_id, 1, retention=12.5))
    recorder.finish(first.candidate.candidate_id, "finished")
    assert (tmp_path / TABLE).read_bytes() == before
    assert pa.ipc.open_file(before).read_all().num_rows == 1, "others read it without the changes"
    table = read_trials(tmp_path / TABLE)
    assert table.column("status").to_pylist() == ["finished", "running"]
    assert table.column("retention").to_pylist()[0] == 12.5
    assert table.schema.field("params").type == pa.int64()
    clock.now += 1.5
    recorder.finish(second.candidate.candidate_id, "crashed", "why")
    assert not (tmp_path / CHANGES).exists()
    again = pa.ipc.open_file((tmp_path / TABLE).read_bytes()).read_all()
    assert again.column("status").to_pylist() == ["finished", "crashed"]


def test_what_a_slow_search_writes_whole_grows_as_its_changes_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, lines, clock = list[int](), list[int](), Clock()
    write_trials, write_text = trials_file.write_trials, rung_book.write_text
    monkeypatch.setattr(
        trials_file,
        "write_trials",
        lambda *told, **more: (rows.append(len(told[1])), write_trials(*told, **more)),
    )
    monkeypatch.setattr(
        rung_book, "write_text", lambda *told: (lines.append(told[1].count('"verdict"')), write_text(*told))
    )
    recorder = Recorder(tmp_path, metric_names=METRICS, loss_names=LOSSES, clock=clock)
    book = RungBook(tmp_path, scheduler="moasha", rungs=(1,), clock=clock)
    for count in range(60):
        one = Candidate(f"{count:016x}", {}, 0)
        recorder.add_running(Proposal(candidate=one, index=count, values={}), Admitted(costs=COSTS))
        recorder.finish(one.candidate_id, "crashed", "why")
        book.record(1, f"c{count}", {"retention": float(count)})
        book.decide(decision(count))
        clock.now += 3600
    assert sum(rows) <= 2 * 120, (
        "two changes a candidate, each of which bears the writing of two rows at most"
    )
    assert sum(lines) <= 2 * 60
    assert list(state_on_disk(tmp_path).values()) == [("crashed", 0)] * 60
    assert read_rungs(tmp_path / "rungs.json").decisions == tuple(map(decision, range(60)))


def test_changes_of_an_earlier_table_are_left_aside(tmp_path: Path) -> None:
    clock = Clock()
    recorder = Recorder(tmp_path, metric_names=METRICS, loss_names=LOSSES, clock=clock)
    one = proposal(0)
    recorder.add_running(one, Admitted(costs=COSTS))
    recorder.finish(one.candidate.candidate_id, "crashed", "why")
    stale = (tmp_path / CHANGES).read_bytes()
    recorder.finish(one.candidate.candidate_id, "finished")
    recorder.write()
    (tmp_path / CHANGES).write_bytes(stale)  # a kill came before they were removed
    assert state_on_disk(tmp_path) == {one.candidate.candidate_id: ("finished", 0)}
    again = Recorder.load(tmp_path, metric_names=METRICS, loss_names=LOSSES)
    assert again.row(one.candidate.candidate_id)["status"] == "finished"


@pytest.mark.parametrize(
    "line", ['{"candidate_id": "a", "colour": 1}', '{"candidate_id": "a", "params": "x"}', '{"status": "b"}']
)
def test_changes_that_are_none_are_told(tmp_path: Path, line: str) -> None:
    recorder = Recorder(tmp_path, metric_names=METRICS, loss_names=LOSSES, clock=Clock())
    recorder.write()
    recorder.add_running(proposal(0), Admitted(costs=COSTS))
    with (tmp_path / CHANGES).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RunError, match=r"trials.changes.jsonl: damaged.*Put back a copy; or delete it"):
        read_trials(tmp_path / TABLE)


def test_a_torn_change_costs_itself_alone(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, metric_names=METRICS, loss_names=LOSSES, clock=Clock())
    recorder.write()
    ids = [proposal(index).candidate.candidate_id for index in range(2)]
    for index in range(2):
        recorder.add_running(proposal(index), Admitted(costs=COSTS))
    changes = tmp_path / CHANGES
    changes.write_bytes(changes.read_bytes()[:-9])
    assert list(state_on_disk(tmp_path)) == ids[:1]


def decision(number: int) -> Decision:
    verdict = STOP if number % 2 else CONTINUE
    return Decision(
        candidate_id=f"c{number}", epoch=1, rung=1, rank=number, size=number + 1, verdict=verdict, reason=""
    )


@pytest.mark.parametrize("after", [False, True])
def test_after_a_kill_at_any_change_of_the_disk_all_decisions_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    for number in range(1, 100):
        folder, clock, taken = tmp_path / str(number), Clock(), 0
        folder.mkdir()
        try:
            with killed_at(number, after=after, monkeypatch=monkeypatch):
                book = RungBook(folder, scheduler="moasha", rungs=(1,), clock=clock)
                for count in range(8):
                    book.record(1, f"c{count}", {"retention": float(count)})
                    book.decide(decision(count))
                    taken, clock.now = count + 1, clock.now + 0.4
                book.close()
        except Killed:
            found = read_rungs(folder / "rungs.json")
            assert found.decisions[:taken] == tuple(decision(count) for count in range(taken))
            again = RungBook(folder, scheduler="moasha", rungs=(1,))
            assert again.decisions == list(found.decisions)
            assert len(again.rungs[1]) == len(found.decisions) in (taken, taken + 1)
            again.save()
            assert read_rungs(folder / "rungs.json").decisions == found.decisions
            continue
        assert number > 15
        assert [path.name for path in folder.iterdir()] == ["rungs.json"]
        assert len(json.loads((folder / "rungs.json").read_text())["decisions"]) == 8
        return
    raise AssertionError("it never came to its end")


def test_a_line_that_is_no_decision_is_told(tmp_path: Path) -> None:
    book = RungBook(tmp_path, scheduler="moasha", rungs=(1,), clock=Clock())
    for count in range(2):
        book.record(1, f"c{count}", {"retention": float(count)})
        book.decide(decision(count))
    with (tmp_path / "rungs.changes.jsonl").open("a") as file:
        file.write('{"rung": 1}\n')
    with pytest.raises(RunError, match=r"rungs.changes.jsonl: damaged.*--resume refills"):
        read_rungs(tmp_path / "rungs.json")
