"""A table of the user's own, Arrow or CSV: `candidate_id, epoch, <metrics and costs>, epoch_cost, <searched fields>`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from search.simulator.goals import Goals
from search.simulator.table import CurveTable, Flags, Floats, Ints, infer_domain
from spaces.domains import Scalar
from spaces.errors import TableError
from spaces.objectives import COSTS, HEAD_COSTS, READS_TEACHER
from spaces.plugins import near

KEYS = ("candidate_id", "epoch", "epoch_cost")
SCHEMA = "candidate_id, epoch, <metric and cost columns>, epoch_cost, <searched fields>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which columns are searched.

    Attributes:
        fields: these; None for all columns that are constant within each candidate and differ between
            candidates, but for the objectives, the known costs and what is ignored.
        ignore: columns that are none.
    """

    fields: Sequence[str] | None = None
    ignore: Sequence[str] = ()


def load_user_table(path: Path, goals: Goals, selection: Selection) -> CurveTable:
    """Return the table in an Arrow IPC file or stream, or in a CSV file with a header.

    Raises:
        TableError: the file cannot be read, or does not keep to the schema.
    """
    raw, where = _read(path), f"table {path}"
    named = [*(goal.name for goal in goals), *(selection.fields or ()), *selection.ignore]
    _check_columns(raw, where, named=named)
    ids, epochs = _ids(raw, where), _epochs(raw, where)
    order = np.lexsort((epochs, ids))
    raw, ids, epochs = raw.take(pa.array(order)), ids[order], epochs[order]
    first = np.concatenate([[True], ids[1:] != ids[:-1]])
    costs = _costs(raw, ids, epochs, where)
    _check_epochs(ids, epochs, first, where)
    starts = np.concatenate([np.flatnonzero(first), [len(ids)]])
    names = _fields(raw, starts, goals=goals, selection=selection, where=where)
    columns = {
        name: numbers
        for name in raw.column_names
        if name not in (*KEYS, *names) and (numbers := _numbers(raw.column(name))) is not None
    }
    for goal in goals:
        if goal.name not in columns:
            raise TableError(
                f"{where}, column {goal.name}: got {raw.column(goal.name).type}; allowed in an objective: numbers. "
                "Name another column."
            )
    found = {name: _values(raw.column(name), starts, ids, f"{where}, column {name}") for name in names}
    return CurveTable(
        name=str(path),
        ids=tuple(ids[starts[:-1]].tolist()),
        fields={name: infer_domain(cells) for name, cells in found.items()},
        values=[dict(zip(found, cells, strict=True)) for cells in zip(*found.values(), strict=True)],
        starts=starts,
        epochs=epochs,
        costs=costs,
        columns=columns,
    )


def _read(path: Path) -> pa.Table:
    """Return the file as it is."""
    is_csv = path.suffix.lower() == ".csv"
    try:
        if is_csv:
            options = csv.ConvertOptions(column_types={"candidate_id": pa.string()})
            return csv.read_csv(path, convert_options=options)
        with pa.OSFile(str(path), "rb") as source:
            is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            return (pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)).read_all()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(
            f"--table {path}: cannot be read as {'CSV' if is_csv else 'Arrow IPC (CSV files end in .csv)'}: "
            f"{str(error).splitlines()[0]}. Allowed: an Arrow IPC file or stream, or CSV with a header, with the columns "
            f"{SCHEMA}. Write it again."
        ) from error


def _check_columns(raw: pa.Table, where: str, *, named: Sequence[str]) -> None:
    """Raise TableError for a column that is missing or stands there twice, or for a table without rows."""
    names = raw.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TableError(f"{where}: got two columns {twice!r}; allowed: each name once. Rename one of them.")
    for name in (*KEYS, *named):
        if name in names:
            continue
        guess = near(name, [other for other in names if other not in KEYS])
        hint = f"Did you mean {guess!r}?" if guess else f"The schema is {SCHEMA}."
        if name == "epoch_cost" and not guess:
            hint = (
                "Add it: what training to that epoch cost since the row before; 1 in every row counts epochs."
            )
        raise TableError(f"{where}: no column is called {name!r}; allowed: {', '.join(names)}. {hint}")
    if not raw.num_rows:
        raise TableError(f"{where}: has no rows; allowed: one per candidate and epoch. Fill it in.")


def _ids(raw: pa.Table, where: str) -> np.ndarray:
    """Return the candidate ids as texts."""
    cells = raw.column("candidate_id").cast(pa.string()).to_pylist()
    empty = next((row for row, cell in enumerate(cells, start=1) if not cell), None)
    if empty is not None:
        raise TableError(f"{where}, row {empty}: candidate_id is empty; allowed: any text. Fill it in.")
    return np.array(cells, dtype=str)


def _epochs(raw: pa.Table, where: str) -> Ints:
    """Return the epochs as whole numbers."""
    numbers = _cells(raw, "epoch")
    wrong = np.flatnonzero(~((numbers >= 1) & (numbers % 1 == 0)))
    if wrong.size:
        got = raw.column("epoch")[int(wrong[0])].as_py()
        raise TableError(
            f"{where}, row {wrong[0] + 1}, epoch: got {got!r}; allowed: whole numbers from 1. Mend it."
        )
    return numbers.astype(np.int64)


def _check_epochs(ids: np.ndarray, epochs: Ints, first: Flags, where: str) -> None:
    """Raise TableError where an epoch of a candidate occurs twice."""
    again = np.flatnonzero(~first[1:] & (epochs[1:] == epochs[:-1]))
    if again.size:
        more = f" ({again.size} such rows)" if again.size > 1 else ""
        raise TableError(
            f"{where}, candidate {ids[again[0]]}: got epoch {epochs[again[0]]} twice{more}; allowed: one row per candidate "
            "and epoch. Drop one of them, or give repetitions their own candidate_id."
        )


def _costs(raw: pa.Table, ids: np.ndarray, epochs: Ints, where: str) -> Floats:
    """Return the costs of all rows."""
    costs = _cells(raw, "epoch_cost")
    wrong = np.flatnonzero(~(costs > 0))
    if wrong.size:
        row = int(wrong[0])
        got = raw.column("epoch_cost")[row].as_py()
        raise TableError(
            f"{where}, candidate {ids[row]}, epoch {epochs[row]}, epoch_cost: got {got!r} ({wrong.size} such rows); "
            "allowed: numbers above 0. Mend it; 1 in every row counts epochs."
        )
    return costs


def _fields(raw: pa.Table, starts: Ints, *, goals: Goals, selection: Selection, where: str) -> list[str]:
    """Return the searched columns, see `Selection`."""
    codes = {name: _codes(raw.column(name)) for name in raw.column_names if name not in KEYS}
    inside = np.ones(raw.num_rows, dtype=bool)
    inside[starts[:-1]] = False  # from one candidate to the next
    fixed = {name: bool((np.diff(code)[inside[1:]] == 0).all()) for name, code in codes.items()}
    objectives = [goal.name for goal in goals]
    if selection.fields is not None:
        for name in selection.fields:
            if name in KEYS or name in objectives:
                raise TableError(
                    f"--fields: got {name}, which is no searched column; allowed: others. Drop it."
                )
            if not fixed[name]:
                raise TableError(
                    f"{where}, column {name}: changes between epochs of one candidate; allowed in --fields: columns that "
                    "are constant within each candidate. Drop it from --fields."
                )
        return [name for name in selection.fields if name not in selection.ignore]
    if len(starts) - 1 == raw.num_rows:
        raise TableError(
            f"{where}: has one row per candidate, which does not tell searched columns from measured ones; allowed: "
            "naming them. Use --fields COLUMN ..."
        )
    left_out = {*objectives, *COSTS, *HEAD_COSTS, READS_TEACHER, *selection.ignore}
    found = [
        name for name, same in fixed.items() if same and name not in left_out and np.ptp(codes[name]) > 0
    ]
    if not found:
        raise TableError(
            f"{where}: no column is constant within each candidate and differs between candidates, so nothing is searched; "
            f"allowed: one or more. The schema is {SCHEMA}."
        )
    return found


def _codes(column: pa.ChunkedArray) -> Ints:
    """Return a number for each cell, equal for equal cells; empty ones are all alike."""
    whole = _plain(column)
    if pa.types.is_floating(whole.type):
        whole = pc.if_else(pc.is_nan(whole), None, whole)
    indices = whole.dictionary_encode().indices
    return np.asarray(pc.fill_null(indices, -1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece, its values written out."""
    whole = column.combine_chunks()
    return whole.cast(whole.type.value_type) if pa.types.is_dictionary(whole.type) else whole


def _cells(raw: pa.Table, name: str) -> Floats:
    """Return a column as numbers, NaN where it holds others."""
    numbers = _numbers(raw.column(name))
    return np.full(raw.num_rows, np.nan) if numbers is None else numbers


def _numbers(column: pa.ChunkedArray) -> Floats | None:
    """Return a column as numbers, NaN where it is empty or infinite; None if it holds others."""
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        return None
    numbers = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _values(column: pa.ChunkedArray, starts: Ints, ids: np.ndarray, where: str) -> list[Scalar]:
    """Return a searched column's value of each candidate."""
    cells: list[Any] = column.take(pa.array(starts[:-1])).to_pylist()
    for cell, start in zip(cells, starts, strict=False):
        empty = cell is None or cell != cell
        if empty or not isinstance(cell, bool | int | float | str):
            raise TableError(
                f"{where}, candidate {ids[start]}: got {'nothing' if empty else repr(cell)}; allowed in a searched column: "
                "a text, a number, true or false for every candidate. Fill it in, or leave the column out with --ignore."
            )
    return cells
