"""Rows as a table, and the rows of a table that changed since it was written."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

GENERATION = "generation"
"""Of a table in its metadata, and of its changes in their first line: which belong together."""


def as_table(schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows, column name -> value, as a table of a schema; what a row lacks is filled in."""
    columns = [
        pa.array([filled(row.get(field.name), field.type) for row in rows], field.type) for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def generation_of(table: pa.Table) -> int:
    """Return the generation of a table, 0 where it tells none."""
    told = (table.schema.metadata or {}).get(GENERATION.encode(), b"0")
    return int(told) if told.isdigit() and len(told) < 19 else 0


def changed(table: pa.Table, changes: Sequence[Mapping[str, Any]], generation: int) -> pa.Table:
    """Return a table with the rows that changed in the place of the old ones, new ones behind; the last of each counts."""
    if unknown := sorted({name for row in changes for name in row} - set(table.schema.names)):
        raise KeyError(", ".join(unknown))
    rows = {str(row["candidate_id"]): row for row in changes}
    places = {one: number for number, one in enumerate(table.column("candidate_id").to_pylist())}
    order = list(range(table.num_rows))
    for number, one in enumerate(rows, start=table.num_rows):
        if one in places:
            order[places[one]] = number
        else:
            order.append(number)
    merged = pa.concat_tables([table, as_table(table.schema, list(rows.values()))]).take(order)
    merged.validate(full=True)
    return merged.replace_schema_metadata({**(table.schema.metadata or {}), GENERATION: str(generation)})


def filled(value: Any, kind: pa.DataType) -> Any:
    """Return the value to store for one cell, with the stated stand-in for a missing one."""
    if value is not None:
        return value
    if kind == pa.float64():
        return float("nan")
    if kind == pa.string():
        return ""
    return False if kind == pa.bool_() else None
