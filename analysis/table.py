"""The two Arrow tables of a run: their schemas, the writer of `trials.arrow` and the readers of both.

`trials.arrow` is a public format: an Arrow IPC *file*, one row per candidate (rejected ones too), rewritten
as a whole now and then; rows that changed since stand in `trials.changes.jsonl`. `history/part-NNNN.arrow` are
Arrow IPC *streams*, one record batch per trial and epoch, appended and flushed; a driver that dies in the middle of
a write leaves a torn tail, which the reader skips and counts.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from analysis.tables.rows import GENERATION, as_table, changed, filled, generation_of
from spaces.commands import command_line
from spaces.errors import RunError
from spaces.files import atomic_path, refusal
from spaces.ledger import read_lines
from spaces.objectives import HEAD_COSTS, READS_TEACHER

SCHEMA_VERSION = "2"
READABLE = ("1", SCHEMA_VERSION)
"""The first had no columns for the student alone, and none of time and memory of an epoch."""
TRIALS_FILE = "trials.arrow"
TRIALS_CHANGES = "trials.changes.jsonl"
HISTORY_FOLDER = "history"
STATUSES = ("running", "finished", "stopped", "rejected", "diverged", "collapsed", "oom", "crashed")
FAILED = ("diverged", "collapsed", "oom", "crashed")
TEST_PREFIX = "test_"
MOST_EPOCHS = 10**9
BROKEN = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError)
"""What Arrow raises on bytes that it, or another program, has not written."""

_TRIAL_FIELDS = (
    pa.field("candidate_id", pa.string()),
    pa.field("status", pa.string()),
    pa.field("reason", pa.string()),
    pa.field("seed", pa.int64()),
    pa.field("epochs", pa.int64()),
    pa.field("params", pa.int64()),
    pa.field("flops", pa.int64()),
    pa.field("latency_ms", pa.float64()),
    pa.field("latency_spread_ms", pa.float64()),
    pa.field("size_mib", pa.float64()),
    pa.field("wall_s", pa.float64()),
    pa.field("cpu_s", pa.float64()),
    pa.field("on_front_params", pa.bool_()),
    pa.field("on_front_flops", pa.bool_()),
    pa.field("on_front_latency_ms", pa.bool_()),
    pa.field("checkpoint", pa.string()),
    pa.field("config", pa.string()),
    pa.field("role", pa.string()),
    pa.field("proposal", pa.int64()),
    pa.field("wall_latency_ms", pa.float64()),
    pa.field("speedup", pa.float64()),
    pa.field("head_params", pa.int64()),
    pa.field("head_flops", pa.int64()),
    pa.field("head_latency_ms", pa.float64()),
    pa.field("head_size_mib", pa.float64()),
    pa.field("reads_teacher", pa.bool_()),
    pa.field("epoch_s", pa.float64()),
    pa.field("peak_mib", pa.float64()),
    pa.field("wall_latency_spread_ms", pa.float64()),
    pa.field("micro_batches", pa.int64()),
)
_ADDED = frozenset({"wall_latency_spread_ms", "micro_batches"})
"""Columns that a table of this version may lack, since they were added to it: not measured then."""
_SINCE_2 = frozenset({*HEAD_COSTS, READS_TEACHER, "epoch_s", "peak_mib"})
_TRIAL_COLUMNS = frozenset(field.name for field in _TRIAL_FIELDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All readable history rows, in the order they were written.

    Attributes:
        table: one row per trial and epoch; an epoch that was redone after a resume has two, the later one
            counts.
        torn: names of the part files whose tail could not be read and was skipped.
    """

    table: pa.Table
    torn: tuple[str, ...]


def trials_schema(metric_names: Sequence[str], others: Sequence[pa.Field] = ()) -> pa.Schema:
    """Return the schema of `trials.arrow`: fixed columns, each metric, each metric on the test set, and what else it held.

    Metrics are open words: whatever a run measures is a column under its name.
    """
    metrics = [pa.field(name, pa.float64()) for name in metric_names]
    tests = [pa.field(TEST_PREFIX + name, pa.float64()) for name in metric_names]
    fields = [*_TRIAL_FIELDS, *metrics, *tests, *others]
    return pa.schema(fields, metadata={"schema_version": SCHEMA_VERSION})


def history_schema(metric_names: Sequence[str], loss_names: Sequence[str]) -> pa.Schema:
    """Return the schema of one history part; losses stand as `loss_<name>`, times in seconds."""
    text = [
        pa.field("candidate_id", pa.string()),
        pa.field("epoch", pa.int64()),
        pa.field("status", pa.string()),
    ]
    losses = [f"loss_{name}" for name in loss_names]
    spent = ["lr", "wall_s", "cpu_s", "epoch_s", "peak_mib", "micro_batches", "time"]
    fields = [*text, *(pa.field(name, pa.float64()) for name in (*metric_names, "loss", *losses, *spent))]
    return pa.schema(fields, metadata={"schema_version": SCHEMA_VERSION})


def write_trials(
    path: Path,
    rows: Iterable[Mapping[str, Any]],
    metric_names: Sequence[str],
    *,
    others: Sequence[pa.Field] = (),
    generation: int = 0,
) -> None:
    """Replace `path` by a table of `rows`; a reader sees the old table or the new one, never half of one.

    Args:
        path: the `trials.arrow` of a run.
        rows: column name -> value. A missing number is stored as not measured (NaN, or null for an integer),
            a missing text as "", a missing flag as false.
        metric_names: the metric columns, without the `test_` ones.
        others: columns that an earlier table had beside these, see `other_columns`.
        generation: of the table; changes of an earlier one are none of it.

    Raises:
        KeyError: a row has a column that the schema does not know.
        StorageError: the file cannot be written; the old one is left as it was.
    """
    schema = trials_schema(metric_names, others)
    if generation:
        schema = schema.with_metadata({**schema.metadata, GENERATION: str(generation)})
    rows = list(rows)
    unknown = sorted({name for row in rows for name in row} - set(schema.names))
    if unknown:
        raise KeyError(f"{path.name}: no such columns: {', '.join(unknown)}")
    table = as_table(schema, rows)
    with (
        atomic_path(path) as draft,
        pa.OSFile(str(draft), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        writer.write_table(table)


def read_trials(path: Path) -> pa.Table:
    """Return `trials.arrow`, with the changes since it was written, as a table with the columns of `trials_schema`.

    A search may go on writing meanwhile. The changes are read first: what is rewritten after that holds them.

    One of the first version gets the columns that it lacks: students read nothing of their teachers then, so that they cost
    alone what was deployed; time and memory of an epoch were not measured.

    Raises:
        RunError: the file is damaged, of another schema version, or lacks columns.
    """
    ledger = path.with_name(TRIALS_CHANGES)
    try:
        head, *changes = read_lines(ledger) or [{}]
    except OSError as error:
        raise RunError(f"{ledger}: cannot be read: {refusal(ledger, error)}") from error
    table = _read_whole(path)
    told = head.get(GENERATION, 0)
    if not changes or not isinstance(told, int) or told < generation_of(table):
        return table
    try:
        return changed(table, changes, told)
    except BROKEN as error:
        raise RunError(
            f"{ledger}: damaged, it tells of no row of {path.name} ({type(error).__name__}: {str(error)[:200]}). "
            f"Put back a copy; or delete it, and all rows are as {path.name} has them."
        ) from error


def _read_whole(path: Path) -> pa.Table:
    """Return the table of the file alone."""
    try:
        table = pa.ipc.open_file(_whole(path)).read_all()
        table.validate(full=True)
    except BROKEN as error:
        raise RunError(_unreadable(path, error)) from error
    version = (table.schema.metadata or {}).get(b"schema_version", b"none").decode()
    if version not in READABLE:
        raise RunError(
            f"{path}: got schema_version {version}; this program reads {' and '.join(READABLE)}. "
            "Read it with the version of student-search that wrote it (run.json, versions)."
        )
    later = _ADDED if version == SCHEMA_VERSION else _ADDED | _SINCE_2
    _check_columns(path, table, [field for field in _TRIAL_FIELDS if field.name not in later])
    table = _completed(table, later)
    _check_columns(path, table, _TRIAL_FIELDS)
    return table


def _check_columns(path: Path, table: pa.Table, fields: Sequence[pa.Field]) -> None:
    """Refuse a table without one column of the right type for each field.

    Raises:
        RunError: names what is missing, or of another type.
    """
    missing = [field.name for field in fields if field.name not in table.schema.names]
    if missing:
        raise RunError(
            f"{path}: the columns {', '.join(missing)} are missing; see analysis/tables/README.md for the format."
        )
    for field in fields:
        got = [one.type for one in table.schema if one.name == field.name]
        if got != [field.type]:
            raise RunError(
                f"{path}, {field.name}: got {' and '.join(map(str, got))}; allowed: one column of {field.type}; see "
                "analysis/tables/README.md for the format."
            )


def _completed(table: pa.Table, later: Collection[str]) -> pa.Table:
    """Return a table with those columns of `later` that it lacks."""
    for field in _TRIAL_FIELDS:
        if field.name in later and field.name not in table.schema.names:
            twin = HEAD_COSTS.get(field.name)
            blank = pa.array([filled(None, field.type)] * table.num_rows, field.type)
            table = table.append_column(field, table.column(twin) if twin else blank)
    return table


def trial_rows(path: Path, table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a trials table as values, `config` as a mapping.

    What enters a path or a command to copy is what a search writes there: a table may come from anywhere.

    Args:
        path: of the table, for messages.
        table: as `read_trials` gives it.

    Raises:
        RunError: names the row and what is wrong with it.
    """
    try:
        rows: list[dict[str, Any]] = table.to_pylist()
    except BROKEN as error:
        raise RunError(_unreadable(path, error)) from error
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        wrong = _wrong_cell(row) or (
            "its candidate_id stands in another row, too" if row["candidate_id"] in seen else ""
        )
        if wrong:
            raise RunError(
                f"{path}, row {number}: {wrong}. Put back a copy of the file as the search wrote it."
            )
        seen.add(row["candidate_id"])
        row["config"] = json.loads(row["config"]) if row["config"] else {}
    return rows


def _wrong_cell(row: Mapping[str, Any]) -> str:
    """Return what is wrong with a row, "" if nothing is."""
    candidate_id, status, checkpoint = row["candidate_id"], row["status"], row["checkpoint"] or ""
    if not candidate_id:
        return "candidate_id: it is empty"
    if status not in STATUSES:
        return f"status: got {(status or '')[:80]!r}; allowed: {', '.join(STATUSES)}"
    place = PurePosixPath(checkpoint)
    if place.is_absolute() or ".." in place.parts or "\0" in checkpoint:
        return f"checkpoint: got {checkpoint[:80]!r}; allowed: a path inside the run folder"
    try:
        config = json.loads(row["config"] or "{}")
    except (ValueError, RecursionError):
        config = None
    return "" if isinstance(config, dict) else f"config: got {row['config'][:80]!r}; allowed: a JSON object"


def _whole(path: Path) -> pa.BufferReader:
    """Return a file in memory: whatever sizes it claims, no more is taken than it has."""
    return pa.BufferReader(path.read_bytes())


def _unreadable(path: Path, error: Exception) -> str:
    """Return what is told of a table that cannot be read."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, pa.ArrowException):
        return f"{path}: cannot be read: {refusal(path, error)}"
    return (
        f"{path}: damaged, not a readable Arrow file ({(str(error).splitlines() or [type(error).__name__])[0]}). "
        f"{saved(path.parent)} Put back a copy of the file, or search again: "
        f"{command_line('search/run.py', '--space', path.parent / 'space.yaml')}"
    )


def metric_names(table: pa.Table) -> tuple[str, ...]:
    """Return the metric columns of a trials table, without the `test_` ones."""
    names = [
        field.name
        for field in table.schema
        if field.type == pa.float64() and field.name not in _TRIAL_COLUMNS
    ]
    return tuple(name for name in names if not name.startswith(TEST_PREFIX))


def other_columns(table: pa.Table) -> tuple[pa.Field, ...]:
    """Return the columns of a trials table that this program knows nothing of; whoever rewrites it keeps them."""
    known = set(trials_schema(metric_names(table)).names)
    return tuple(field for field in table.schema if field.name not in known)


def read_history(folder: Path) -> History:
    """Return every whole row of `folder/history`; no such folder or no part gives an empty table.

    Raises:
        RunError: the system does not let us read a part: that is no torn end, and what it holds must not be lost.
    """
    tables, torn = [], []
    for part in sorted((folder / HISTORY_FOLDER).glob("part-*.arrow")):
        batches, whole = _batches(part)
        if batches:
            tables.append(pa.Table.from_batches(batches))
        if not whole:
            torn.append(part.name)
    # A resumed run may log other losses, so parts can differ in columns; absent ones become null.
    table = (
        pa.concat_tables(tables, promote_options="default")
        if tables
        else history_schema([], []).empty_table()
    )
    return History(table=table, torn=tuple(torn))


def saved(folder: Path) -> str:
    """Return a sentence that says what a damaged run folder still holds."""
    table = read_history(folder).table
    candidates = len(set(table.column("candidate_id").to_pylist()))
    checkpoints = folder / "checkpoints"
    num_checkpoints = (
        sum(1 for entry in checkpoints.iterdir() if entry.is_dir()) if checkpoints.is_dir() else 0
    )
    return (
        f"Saved so far: {table.num_rows} epochs of {candidates} candidates in history/, "
        f"checkpoints of {num_checkpoints} candidates in checkpoints/."
    )


def _batches(part: Path) -> tuple[list[pa.RecordBatch], bool]:
    """Return the readable batches of one stream and whether all of its bytes were readable."""
    batches: list[pa.RecordBatch] = []
    try:
        source = _whole(part)
    except OSError as error:
        raise RunError(f"{part}: cannot be read: {refusal(part, error)}") from error
    if source.size() == 0:  # made, and nothing written yet: nothing is lost
        return batches, True
    try:
        for batch in pa.ipc.open_stream(source):
            batch.validate(full=True)
            _check_history(batch)
            batches.append(batch)
    except BROKEN:  # the driver died inside a write; everything before it counts
        return batches, False
    return batches, True


def _check_history(batch: pa.RecordBatch) -> None:
    """Raise ValueError for a batch that no search has written."""
    texts = history_schema([], [])
    for field in batch.schema:
        known = texts.field(field.name).type if field.name in texts.names else pa.float64()
        if field.type != known:
            raise ValueError(f"{field.name}: got {field.type}")
    if len(set(batch.schema.names)) < len(batch.schema.names):
        raise ValueError("a column stands there twice")
    if any(batch.column(name).null_count for name in ("candidate_id", "epoch")):
        raise ValueError("a row without candidate or epoch")
    epochs = batch.column("epoch").to_pylist()
    if any(not 0 <= epoch <= MOST_EPOCHS for epoch in epochs):
        raise ValueError("an epoch that nobody trains to")
