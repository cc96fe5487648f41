"""The tables survive a round trip, and damage is told apart from a run that was merely cut off."""

import math
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from analysis.table import (
    history_schema,
    metric_names,
    read_history,
    read_trials,
    trials_schema,
    write_trials,
)
from analysis.tables.rows import generation_of
from spaces.errors import RunError

METRICS = ("retention", "mean_recall", "genus_accuracy")
HISTORY = history_schema(["retention"], ["itc"])


def write_part(path: Path, epochs: int, schema: pa.Schema = HISTORY) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for epoch in range(1, epochs + 1):
            writer.write_batch(
                pa.RecordBatch.from_pylist([{"candidate_id": "a", "epoch": epoch}], schema=schema)
            )


def test_trials_come_back_with_gaps_as_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "trials.arrow"
    write_trials(
        path, [{"candidate_id": "a", "params": 7, "retention": 81.5}, {"candidate_id": "b"}], ["retention"]
    )
    first, second = read_trials(path).to_pylist()
    assert (first["params"], first["retention"], first["reason"], first["on_front_params"]) == (
        7,
        81.5,
        "",
        False,
    )
    assert second["params"] is None
    assert math.isnan(second["retention"])
    assert math.isnan(second["test_retention"])


def test_trials_file_is_a_plain_arrow_file_with_its_version(tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.arrow", [], METRICS)
    table = pa.ipc.open_file(str(tmp_path / "trials.arrow")).read_all()
    assert table.schema.metadata == {b"schema_version": b"2"}
    write_trials(tmp_path / "trials.arrow", [], METRICS, generation=7)
    assert generation_of(read_trials(tmp_path / "trials.arrow")) == 7
    assert metric_names(table) == METRICS
    assert table.schema.names[-1] == "test_" + METRICS[-1]


def test_a_failed_write_leaves_the_old_table_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "trials.arrow"
    write_trials(path, [{"candidate_id": "a"}], METRICS)
    with pytest.raises(KeyError, match="recall_at_7"):
        write_trials(path, [{"candidate_id": "b", "recall_at_7": 1.0}], METRICS)
    with pytest.raises(pa.ArrowInvalid):
        write_trials(path, [{"candidate_id": "b", "params": "many"}], METRICS)
    assert read_trials(path).column("candidate_id").to_pylist() == ["a"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["trials.arrow"]


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -20])
def test_a_cut_off_trials_file_is_damaged_and_the_message_says_what_is_saved(
    tmp_path: Path, keep: int
) -> None:
    path = tmp_path / "trials.arrow"
    write_trials(path, [{"candidate_id": "a"}], METRICS)
    write_part(tmp_path / "history" / "part-0000.arrow", 3)
    (tmp_path / "checkpoints" / "a").mkdir(parents=True)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunError, match=r"trials.arrow: damaged.*3 epochs of 1 candidates.*checkpoints of 1"):
        read_trials(path)


def test_another_schema_version_is_refused_by_number(tmp_path: Path) -> None:
    path = tmp_path / "trials.arrow"
    schema = trials_schema([]).with_metadata({"schema_version": "3"})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema):
        pass
    with pytest.raises(RunError, match="got schema_version 3; this program reads 1 and 2"):
        read_trials(path)


FIRST = [
    "candidate_id",
    "status",
    "reason",
    "seed",
    "epochs",
    "params",
    "flops",
    "latency_ms",
    "latency_spread_ms",
    "size_mib",
    "wall_s",
    "cpu_s",
    "on_front_params",
    "on_front_flops",
    "on_front_latency_ms",
    "checkpoint",
    "config",
    "role",
    "proposal",
    "wall_latency_ms",
    "speedup",
    "retention",
    "test_retention",
]  # the columns of version 1, as it was published


def first_version(path: Path, **more: pa.Array) -> None:
    schema = trials_schema(["retention"])
    fields = [schema.field(name) for name in FIRST]
    row = {
        "candidate_id": "a",
        "status": "finished",
        "params": 7,
        "flops": 20,
        "latency_ms": 1.5,
        "size_mib": 0.25,
    }
    columns = [pa.array([row.get(field.name)], field.type) for field in fields]
    table = pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata={"schema_version": "1"}))
    for name, cells in more.items():
        table = table.append_column(name, cells)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def test_a_table_of_the_first_version_is_read_as_of_students_that_read_nothing_of_their_teachers(
    tmp_path: Path,
) -> None:
    first_version(tmp_path / "trials.arrow", genus_accuracy=pa.array([12.5]))
    table = read_trials(tmp_path / "trials.arrow")
    (row,) = table.to_pylist()
    costs = ("head_params", "head_flops", "head_latency_ms", "head_size_mib")
    assert tuple(row[name] for name in costs) == (7, 20, 1.5, 0.25)
    assert row["reads_teacher"] is False
    assert math.isnan(row["epoch_s"])
    assert math.isnan(row["peak_mib"])
    assert row["micro_batches"] is None
    assert metric_names(table) == ("retention", "genus_accuracy")


def test_a_table_without_a_column_that_was_added_later_is_read_as_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "trials.arrow"
    write_trials(
        path, [{"candidate_id": "0badcafe", "wall_latency_ms": 2.0, "micro_batches": 2}], ["retention"]
    )
    table = pa.ipc.open_file(str(path)).read_all()
    assert table.column("micro_batches").to_pylist() == [2]
    table = table.drop_columns(["wall_latency_spread_ms", "micro_batches"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    (row,) = read_trials(path).to_pylist()
    assert row["wall_latency_ms"] == 2.0
    assert math.isnan(row["wall_latency_spread_ms"])
    assert row["micro_batches"] is None


def test_a_column_of_the_first_version_that_bears_a_later_name_is_told(tmp_path: Path) -> None:
    first_version(tmp_path / "trials.arrow", head_params=pa.array(["many"]))
    with pytest.raises(RunError, match="head_params: got string; allowed: one column of int64"):
        read_trials(tmp_path / "trials.arrow")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "trials.arrow"
    schema = trials_schema([]).remove(0)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema):
        pass
    with pytest.raises(RunError, match="candidate_id"):
        read_trials(path)


def test_history_is_read_over_parts_with_different_losses(tmp_path: Path) -> None:
    write_part(tmp_path / "history" / "part-0000.arrow", 2)
    write_part(tmp_path / "history" / "part-0001.arrow", 3, history_schema(["retention"], ["lm"]))
    history = read_history(tmp_path)
    assert history.table.column("epoch").to_pylist() == [1, 2, 1, 2, 3]
    assert {"loss_itc", "loss_lm"} <= set(history.table.column_names)
    assert history.torn == ()


def test_history_of_before_lacks_time_and_memory_of_an_epoch(tmp_path: Path) -> None:
    older = pa.schema([field for field in HISTORY if field.name not in ("epoch_s", "peak_mib")])
    write_part(tmp_path / "history" / "part-0000.arrow", 1, older.with_metadata({"schema_version": "1"}))
    write_part(tmp_path / "history" / "part-0001.arrow", 1)
    history = read_history(tmp_path)
    assert history.table.num_rows == 2
    assert history.table.column("epoch_s").to_pylist() == [None, None]
    assert history.torn == ()


def test_a_tail_torn_at_any_byte_keeps_every_whole_row(tmp_path: Path) -> None:
    part = tmp_path / "history" / "part-0000.arrow"
    write_part(part, 3)
    whole = part.read_bytes()
    ends = []
    for length in range(len(whole)):
        part.write_bytes(whole[:length])
        history = read_history(tmp_path)
        ends.append(history.table.num_rows)
        assert history.torn in ((), (part.name,))
        assert history.table.column("epoch").to_pylist() == list(range(1, history.table.num_rows + 1))
    assert ends == sorted(ends)
    assert set(ends) == {0, 1, 2, 3}


def test_a_torn_part_is_named_and_a_later_part_still_read(tmp_path: Path) -> None:
    write_part(tmp_path / "history" / "part-0000.arrow", 2)
    write_part(tmp_path / "history" / "part-0001.arrow", 1)
    torn = tmp_path / "history" / "part-0000.arrow"
    torn.write_bytes(torn.read_bytes()[:-60])
    history = read_history(tmp_path)
    assert history.torn == ("part-0000.arrow",)
    assert history.table.column("epoch").to_pylist() == [1, 1]


def test_no_history_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "part-0000.arrow").write_bytes(b"")
    history = read_history(tmp_path)
    assert (history.table.num_rows, history.torn) == (0, ())


def test_the_made_up_run_has_every_status(make_run: Callable[..., Path]) -> None:
    statuses = read_trials(make_run() / "trials.arrow").column("status").to_pylist()
    assert set(statuses) == {"finished", "stopped", "rejected", "crashed", "diverged", "collapsed", "oom"}
