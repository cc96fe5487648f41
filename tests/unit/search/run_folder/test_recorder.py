"""The run's tables while a search runs, and after it was killed."""

import json
import math
import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from analysis.table import read_history, read_trials
from search.proposal import Admitted, Proposal, Rejected
from search.run_folder.recorder import Recorder
from spaces.candidate import Candidate
from spaces.errors import RunError, StorageError
from tests.unit.search.toy_admissions import make_candidate

METRICS = ("retention", "mean_recall")
LOSSES = ("itc", "itm")
COSTS = {"params": 64.0, "flops": 10, "latency_ms": 2.5, "latency_spread_ms": 0.1, "size_mib": 0.5}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def values(depth: int = 2) -> dict:
    return {"student.width": "0.5x", "student.depth": depth, "losses.itm.weight": 0, "training.lr": 1e-3}


def proposal(index: int = 0) -> Proposal:
    return Proposal(candidate=make_candidate(values(index + 1)), index=index, values=values(index + 1))


def make(folder: Path, **more) -> Recorder:
    return Recorder(folder, metric_names=METRICS, loss_names=LOSSES, **more)


def load(folder: Path) -> Recorder:
    return Recorder.load(folder, metric_names=METRICS, loss_names=LOSSES)


def epoch(candidate_id: str, number: int, **more) -> dict:
    times = {"wall_s": 2.0 * number, "cpu_s": 1.5 * number}
    return {
        "candidate_id": candidate_id,
        "epoch": number,
        "status": "running",
        "loss": 1.0 / number,
        **times,
        **more,
    }


def started(folder: Path, count: int = 1) -> tuple[Recorder, list[str]]:
    recorder = make(folder)
    for index in range(count):
        recorder.add_running(proposal(index), Admitted(costs=COSTS))
    return recorder, [str(row["candidate_id"]) for row in recorder.rows]


def on_disk(folder: Path) -> list[dict]:
    return read_trials(folder / "trials.arrow").to_pylist()


def test_a_candidate_from_start_to_end(tmp_path: Path) -> None:
    recorder, (one,) = started(tmp_path)
    assert on_disk(tmp_path)[0]["status"] == "running"
    recorder.record_epoch(epoch(one, 1, retention=40.0, loss_itc=0.5))
    recorder.record_epoch(epoch(one, 2))
    recorder.finish(one, "stopped", "place 3 of 3 at epoch 2, the best 1 go on")
    (row,) = on_disk(tmp_path)
    expected = {
        "status": "stopped",
        "epochs": 2,
        "retention": 40.0,
        "params": 64,
        "wall_s": 4.0,
        "cpu_s": 3.0,
    }
    assert {name: row[name] for name in expected} == expected
    assert (row["role"], row["proposal"], row["reason"]) == (
        "search",
        0,
        "place 3 of 3 at epoch 2, the best 1 go on",
    )
    assert math.isnan(row["mean_recall"])
    first, second = read_history(tmp_path).table.to_pylist()
    assert (first["epoch"], first["loss"], first["loss_itc"]) == (1, 1.0, 0.5)
    assert math.isnan(second["retention"])
    assert first["time"] > 1e9


def test_costs_of_the_student_alone_stand_beside_those_of_all_that_is_deployed(tmp_path: Path) -> None:
    alone = {"head_params": 4.0, "head_flops": 3.0, "head_latency_ms": 0.5, "head_size_mib": 0.25}
    recorder = make(tmp_path)
    recorder.add_running(proposal(0), Admitted(costs={**COSTS, **alone, "reads_teacher": True}))
    recorder.add_rejected(proposal(1), Rejected(reason="big", costs={"params": 9.0, "head_params": 9.0}))
    recorder.close()
    first, second = on_disk(tmp_path)
    assert {name: first[name] for name in alone} == alone
    assert (first["params"], first["reads_teacher"]) == (64, True)
    assert (second["head_params"], second["head_flops"], second["reads_teacher"]) == (9, None, False)
    again = load(tmp_path)
    again.add_running(*again.unfinished()[0])  # knows less of its costs than the table
    again.close()
    assert {name: on_disk(tmp_path)[0][name] for name in alone} == alone


def test_time_of_an_epoch_is_the_median_and_memory_and_parts_of_a_batch_the_most(tmp_path: Path) -> None:
    recorder, (one,) = started(tmp_path)
    for number, (took, most) in enumerate([(9.0, 100.0), (2.0, 300.0), (3.0, 200.0)], start=1):
        recorder.record_epoch(
            epoch(one, number, epoch_s=took, peak_mib=most, micro_batches=2 ** (number // 2))
        )
    recorder.record_epoch(epoch(one, 4))  # told by nobody
    recorder.close()
    (row,) = on_disk(tmp_path)
    assert (row["epoch_s"], row["peak_mib"], row["micro_batches"]) == (3.0, 300.0, 2)
    assert read_history(tmp_path).table.column("epoch_s").to_pylist()[:3] == [9.0, 2.0, 3.0]
    assert read_history(tmp_path).table.column("micro_batches").to_pylist()[:3] == [1.0, 2.0, 2.0]
    assert (load(tmp_path).row(one)["epoch_s"], load(tmp_path).row(one)["micro_batches"]) == (3.0, 2)


def test_training_time_of_all_is_the_sum_of_their_rows_whatever_came_in_between(tmp_path: Path) -> None:
    recorder, names = started(tmp_path, 7)
    assert recorder.trained_s == 0.0
    recorder.record_epoch(epoch(names[0], 1, wall_s=math.nan))
    for number, one in enumerate(names[1:], start=1):
        for count in range(1, 4):
            recorder.record_epoch(epoch(one, count, wall_s=10.0 ** (3 * number - 12) / 3 * count))
        recorder.finish(one, "crashed" if number % 2 else "finished")
    recorder.add_rejected(proposal(9), Rejected(reason="big"))
    expected = math.fsum(10.0 ** (3 * number - 12) for number in range(1, 7))
    assert recorder.trained_s == pytest.approx(expected, rel=1e-15)
    told = [row["wall_s"] for row in recorder.rows if row.get("wall_s") is not None]
    assert recorder.trained_s == math.fsum(told), "rounded once"
    recorder.reopen(["crashed"])
    recorder.close()
    assert load(tmp_path).trained_s == recorder.trained_s


def test_each_epoch_is_on_disk_at_once(tmp_path: Path) -> None:
    recorder, (one,) = started(tmp_path)
    for number in (1, 2, 3):
        assert recorder.record_epoch(epoch(one, number))
        assert read_history(tmp_path).table.num_rows == number


def test_an_epoch_that_is_told_again_is_kept_once(tmp_path: Path) -> None:
    recorder, (one,) = started(tmp_path)
    assert recorder.record_epoch(epoch(one, 1))
    assert not recorder.record_epoch(epoch(one, 1))
    assert [recorder.record_epoch(epoch(one, number)) for number in (1, 2, 3, 3)] == [
        False,
        True,
        True,
        False,
    ]
    assert read_history(tmp_path).table.column("epoch").to_pylist() == [1, 2, 3]


def test_a_row_that_tells_a_failure_is_no_epoch(tmp_path: Path) -> None:
    recorder, (one,) = started(tmp_path)
    assert not recorder.record_epoch({"candidate_id": one, "epoch": 0, "status": "diverged"})
    assert recorder.row(one)["epochs"] == 0


def test_rejected_candidates_are_rows_with_their_reason(tmp_path: Path) -> None:
    clock = Clock()
    recorder = make(tmp_path, clock=clock)
    recorder.add_rejected(proposal(), Rejected(reason="params 64 over 30", costs={"params": 64}))
    illegal = Proposal(candidate=Candidate("00000001", {}, 0), index=1, values=values(9))
    recorder.add_rejected(illegal, Rejected(reason="depth 9"))
    assert len(on_disk(tmp_path)) == 1  # the second one waits for a second to pass
    clock.now += 1.5
    recorder.tick()
    rows = on_disk(tmp_path)
    assert [(row["status"], row["reason"]) for row in rows] == [
        ("rejected", "params 64 over 30"),
        ("rejected", "depth 9"),
    ]
    assert (rows[1]["config"], rows[1]["params"]) == ("", None)


def test_the_table_is_not_rewritten_more_than_needed(tmp_path: Path) -> None:
    clock = Clock()
    recorder = make(tmp_path, clock=clock)
    recorder.add_running(proposal(), Admitted(costs=COSTS))
    one = str(recorder.rows[0]["candidate_id"])
    before = (tmp_path / "trials.arrow").stat().st_ino
    recorder.record_epoch(epoch(one, 1))
    recorder.tick()
    assert (tmp_path / "trials.arrow").stat().st_ino == before
    recorder.finish(one, "finished")
    assert on_disk(tmp_path)[0]["epochs"] == 1


def test_a_candidate_that_goes_on_has_its_losses_in_the_order_in_which_it_began(tmp_path: Path) -> None:
    """In that order they are built, and draw what they begin with."""
    losses = {name: {"weight": 1.0} for name in ("lm", "itc", "image_hidden", "decoder_hidden")}
    candidate = Candidate.of({"losses": losses, "student": {"kind": "blip", "embedding": 8}}, 0)
    recorder = make(tmp_path)
    recorder.add_running(Proposal(candidate=candidate, index=0, values={}), Admitted(costs=COSTS))
    recorder.close()
    for _ in range(2):  # and once more after that
        again = load(tmp_path)
        ((found, _),) = again.unfinished()
        assert json.dumps(found.candidate.config) == json.dumps(candidate.config)
        assert found.candidate.candidate_id == candidate.candidate_id
        again.close()


def test_a_killed_session_is_continued(tmp_path: Path) -> None:
    recorder, (one, two) = started(tmp_path, 2)
    recorder.record_epoch(epoch(one, 1, retention=40.0))
    recorder.finish(one, "stopped", "why")
    recorder.record_epoch(epoch(two, 1, retention=50.0))  # trials.arrow does not know it yet
    again = load(tmp_path)
    assert again.row(two)["epochs"] == 1
    assert again.row(two)["retention"] == 50.0
    assert [(p.candidate.candidate_id, p.values) for p, _ in again.unfinished()] == [(two, values(2))]
    assert again.unfinished()[0][1].costs == COSTS
    (past,) = again.past()
    assert (past.proposal.candidate.candidate_id, past.proposal.values, past.status) == (
        one,
        values(1),
        "stopped",
    )
    assert [(row["epoch"], row["retention"], row["params"]) for row in past.rows] == [
        (1, 40.0, COSTS["params"])
    ]
    assert past.proposal.candidate == make_candidate(values(1))
    assert again.next_index == 2
    assert again.full_epochs == {one: 9, two: 9}
    again.record_epoch(epoch(two, 2))
    again.finish(two, "crashed", "see the log")
    assert sorted(path.name for path in (tmp_path / "history").iterdir()) == [
        "part-0001.arrow",
        "part-0002.arrow",
    ]
    third = load(tmp_path)
    assert [one.status for one in third.past()] == ["stopped", "crashed"]
    assert third.row(two)["epochs"] == 2


def test_a_torn_tail_costs_the_torn_row_only(tmp_path: Path) -> None:
    recorder, (one,) = started(tmp_path)
    for number in (1, 2, 3):
        recorder.record_epoch(epoch(one, number))
    part = tmp_path / "history" / "part-0001.arrow"
    part.write_bytes(part.read_bytes()[:-20])
    again = load(tmp_path)
    assert again.row(one)["epochs"] == 2
    again.record_epoch(epoch(one, 3))
    assert sorted(read_history(tmp_path).table.column("epoch").to_pylist()) == [1, 2, 3]


def test_a_torn_line_of_proposals_costs_the_values_only(tmp_path: Path) -> None:
    started(tmp_path, 2)
    log = tmp_path / "proposals.jsonl"
    log.write_bytes(log.read_bytes()[:-10])
    again = load(tmp_path)
    assert [p.values for p, _ in again.unfinished()] == [values(1), {}]
    again.add_running(proposal(5), Admitted(costs=COSTS))
    assert [p.values for p, _ in load(tmp_path).unfinished()] == [values(1), {}, values(6)]


def test_a_full_disk_gives_up_the_part_and_the_next_row_begins_another(tmp_path: Path, monkeypatch) -> None:
    recorder, (one,) = started(tmp_path)
    recorder.record_epoch(epoch(one, 1))
    monkeypatch.setattr(
        "search.run_folder.history.os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "disk full"))
    )
    with pytest.raises(StorageError, match=r"history: cannot be written: .* is full"):
        recorder.record_epoch(epoch(one, 2))
    assert recorder.row(one)["epochs"] == 1
    monkeypatch.undo()
    assert recorder.record_epoch(epoch(one, 2))
    assert len(list((tmp_path / "history").iterdir())) == 2


def test_a_damaged_table_is_told_with_what_was_saved(tmp_path: Path) -> None:
    recorder, (one,) = started(tmp_path)
    recorder.record_epoch(epoch(one, 1))
    (tmp_path / "trials.arrow").write_bytes(b"ARROW1 but not really")
    with pytest.raises(RunError, match="1 epochs of 1 candidates in history"):
        load(tmp_path)


def test_fronts_are_marked_among_the_finished(tmp_path: Path) -> None:
    recorder, ids = started(tmp_path, 3)
    for number, one in enumerate(ids):
        recorder.record_epoch(epoch(one, 1, retention=[50.0, 60.0, 70.0][number]))
        recorder.update(one, {"params": [10, 20, 20][number]})
    recorder.finish(ids[0], "finished")
    recorder.finish(ids[1], "finished")
    recorder.finish(ids[2], "stopped")
    recorder.mark_fronts("retention", maximise=True)
    assert [row["on_front_params"] for row in on_disk(tmp_path)] == [True, True, False]


def test_finalists_get_their_columns_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    recorder, (one,) = started(tmp_path)
    recorder.update(one, {"test_retention": 81.5, "speedup": 3.0, "checkpoint": "checkpoints/x"})
    with pytest.raises(KeyError, match="no_such"):
        recorder.update(one, {"no_such": 1})
    with pytest.raises(ValueError, match="ended"):
        recorder.finish(one, "ended")
    recorder.close()
    assert (on_disk(tmp_path)[0]["test_retention"], on_disk(tmp_path)[0]["checkpoint"]) == (
        81.5,
        "checkpoints/x",
    )


def test_columns_that_nobody_here_knows_are_kept(tmp_path: Path) -> None:
    recorder, (one,) = started(tmp_path)
    recorder.record_epoch(epoch(one, 1, retention=40.0))
    recorder.close()
    path = tmp_path / "trials.arrow"
    table = read_trials(path)
    extra = {"genus_accuracy": pa.array([12.5]), "site": pa.array(["north"]), "weight_kb": pa.array([7])}
    for name, cells in extra.items():
        table = table.append_column(name, cells)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    again = load(tmp_path)
    assert again.metric_names == (*METRICS, "genus_accuracy")
    again.finish(one, "finished")
    kept = read_trials(path)
    assert kept.select(list(extra)).to_pylist() == [{"genus_accuracy": 12.5, "site": "north", "weight_kb": 7}]
    assert kept.column("status").to_pylist() == ["finished"]


def test_rungs_can_be_refilled_from_it(tmp_path: Path) -> None:
    recorder, (one, two) = started(tmp_path, 2)
    recorder.record_epoch(epoch(one, 1, retention=40.0))
    recorder.record_epoch(epoch(two, 1, retention=41.0))
    recorder.finish(one, "stopped")
    (row,) = load(tmp_path).result_rows()
    assert {name: row[name] for name in ("candidate_id", "epoch", "role", "params", "retention")} == {
        "candidate_id": one,
        "epoch": 1,
        "role": "search",
        "params": 64,
        "retention": 40.0,
    }
    assert "mean_recall" not in row


def test_a_part_is_a_plain_arrow_stream(tmp_path: Path) -> None:
    recorder, (one,) = started(tmp_path)
    recorder.record_epoch(epoch(one, 1))
    recorder.close()
    with pa.ipc.open_stream((tmp_path / "history" / "part-0001.arrow").read_bytes()) as stream:
        assert stream.read_all().num_rows == 1
    assert pickle.loads(pickle.dumps(recorder)).folder == tmp_path


def test_candidates_that_failed_are_unfinished_again_on_demand(tmp_path: Path) -> None:
    recorder, names = started(tmp_path, 4)
    for name, status in zip(names, ("crashed", "diverged", "oom", "finished"), strict=True):
        recorder.record_epoch(epoch(name, 1))
        recorder.finish(name, status, "why")
    recorder.close()
    again = load(tmp_path)
    assert again.reopen(("crashed", "oom")) == [names[0], names[2]]
    assert [one.candidate.candidate_id for one, _ in again.unfinished()] == [names[0], names[2]]
    assert [past.status for past in again.past()] == ["diverged", "finished"]
    again.close()
    rows = {row["candidate_id"]: row for row in on_disk(tmp_path)}
    assert [rows[name]["status"] for name in names] == ["running", "diverged", "running", "finished"]
    assert [rows[name]["reason"] for name in names] == ["", "why", "", "why"]
    assert rows[names[0]]["epochs"] == 1, "what it was trained stays"
    assert load(tmp_path).reopen(("oom",)) == []
