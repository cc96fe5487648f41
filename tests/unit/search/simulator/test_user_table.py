"""Tables of the user's own: Arrow and CSV say the same, and every mistake in them is told."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from search.simulator.goals import parse_goals
from search.simulator.simulation import Setup, simulate
from search.simulator.sources import load_table
from search.simulator.table import CurveTable
from search.simulator.user_table import Selection
from spaces.domains import Choice
from spaces.errors import TableError

GOALS = parse_goals(["min:val_loss", "min:macs"])
COLUMNS = ("candidate_id", "epoch", "val_loss", "macs", "epoch_cost", "width", "act", "tied")
ROWS = [
    ("b", 2, 0.5, 200, 2.0, 64, "relu", True),
    ("a", 1, 0.9, 100, 1.0, 32, "gelu", False),
    ("b", 1, 0.8, 200, 2.0, 64, "relu", True),
    ("a", 2, None, 100, 1.0, 32, "gelu", False),
    ("a", 3, 0.6, 100, 1.5, 32, "gelu", False),
    ("c", 1, 0.7, 300, 3.0, 96, "gelu", True),
]

Write = Callable[..., Path]


def columns_of(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return what writes rows as CSV, an Arrow file or an Arrow stream."""

    def call(rows: Sequence[Sequence[Any]] = ROWS, names: Sequence[str] = COLUMNS, form: str = "csv") -> Path:
        path = tmp_path / ("t.csv" if form == "csv" else f"{form}.arrow")
        if form == "csv":
            with path.open("w", newline="") as stream:
                written = csv.writer(stream)
                written.writerow(names)
                for row in rows:
                    written.writerow(
                        ["" if v is None else str(v).lower() if isinstance(v, bool) else v for v in row]
                    )
            return path
        table = pa.table(columns_of(rows, names))
        make = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
        with pa.OSFile(str(path), "wb") as sink, make(sink, table.schema) as writer:
            writer.write_table(table)
        return path

    return call


def load(path: Path, goals: Sequence[Any] = GOALS, **selection: Any) -> CurveTable:
    return load_table(str(path), goals, selection=Selection(**selection))


def said(table: CurveTable) -> list[Any]:
    columns = {name: [None if v != v else v for v in cells.tolist()] for name, cells in table.columns.items()}
    return [
        table.ids, dict(table.fields), [dict(one) for one in table.values], table.starts.tolist(),
        table.epochs.tolist(), table.costs.tolist(), columns, table.notes,
    ]  # fmt: skip


def change(row: int, column: str, value: Any) -> list[tuple[Any, ...]]:
    """Return the rows with one cell changed."""
    rows = [list(one) for one in ROWS]
    rows[row][COLUMNS.index(column)] = value
    return [tuple(one) for one in rows]


def test_rows_in_any_order_become_curves(write: Write) -> None:
    table = load(write())
    assert table.ids == ("a", "b", "c")
    assert table.lengths.tolist() == [3, 2, 1]
    assert table.costs.tolist() == [1.0, 1.0, 1.5, 2.0, 2.0, 3.0]
    assert dict(table.fields) == {
        "width": Choice(options=(32, 64, 96)),
        "act": Choice(options=("gelu", "relu")),
        "tied": Choice(options=(False, True)),
    }
    assert table.values[1] == {"width": 64, "act": "relu", "tied": True}
    assert table.measured(GOALS).tolist() == [True, False, True, True, True, True]
    assert set(table.columns) == {"val_loss", "macs"}


@pytest.mark.parametrize("form", ["file", "stream"])
def test_arrow_says_what_csv_says(write: Write, form: str) -> None:
    one, other = load(write()), load(write(form=form))
    assert said(one) == said(other)
    setup = Setup(workers=2, scheduler="moasha", scheduler_options={"reduction_factor": 2})
    first, second = (simulate(table, GOALS, setup=setup) for table in (one, other))
    assert replace(first, proposal_s=[]) == replace(second, proposal_s=[])


def test_numbers_as_ids_become_texts_and_infinite_ones_are_not_measured(write: Write) -> None:
    rows = [(7, 1, float("inf"), 1, 1.0, 3), (7, 2, 0.5, 1, 1.0, 3), (8, 1, 0.4, 1, 1.0, 4)]
    names = ("candidate_id", "epoch", "val_loss", "macs", "epoch_cost", "x")
    table = load(write(rows, names, "file"))
    assert table.ids == ("7", "8")
    assert table.measured(GOALS).tolist() == [False, True, True]


def test_dictionary_columns_are_texts(write: Write, tmp_path: Path) -> None:
    plain = pa.table(columns_of(ROWS, COLUMNS))
    for name in ("candidate_id", "act"):
        encoded = plain.column(name).dictionary_encode()
        plain = plain.set_column(plain.column_names.index(name), name, encoded)
    path = tmp_path / "dictionary.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, plain.schema) as writer:
        writer.write_table(plain)
    assert said(load(path)) == said(load(write()))


def test_fields_are_chosen_by_name_or_left_out_by_name(write: Write) -> None:
    path = write()
    assert list(load(path, fields=("act",)).fields) == ["act"]
    assert list(load(path, ignore=("act", "tied")).fields) == ["width"]
    # a constant column that is no objective any more counts as searched, unless it is a cost that we know
    assert list(load(path, GOALS[:1]).fields) == ["macs", "width", "act", "tied"]
    known = [name.replace("macs", "params") for name in COLUMNS]
    assert list(load(write(names=known), GOALS[:1]).fields) == ["width", "act", "tied"]


def test_a_column_with_one_value_in_all_rows_is_not_searched(write: Write) -> None:
    rows = [(*row, "same") for row in ROWS]
    assert "note" not in load(write(rows, (*COLUMNS, "note"))).fields


def test_candidates_without_a_value_at_their_end_are_left_out_and_counted(write: Write) -> None:
    table = load(write(change(4, "val_loss", None)))
    assert table.ids == ("b", "c")
    assert table.notes == ("left out: 1 of 3 candidates, without all objectives at their last epoch",)


def test_a_table_of_final_values_needs_its_fields_named(write: Write) -> None:
    finals = [ROWS[0], ROWS[4], ROWS[5]]
    with pytest.raises(TableError, match=r"one row per candidate, .*Use --fields"):
        load(write(finals))
    table = load(write(finals), fields=("width", "act"))
    assert table.final_only
    assert list(table.fields) == ["width", "act"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (change(2, "epoch", 2), "candidate b: got epoch 2 twice; allowed: one row per candidate and epoch"),
        (change(1, "epoch_cost", 0.0), "candidate a, epoch 1, epoch_cost: got 0.0 (1 such rows); allowed: numbers above 0"),
        (change(1, "epoch_cost", -1.0), "epoch_cost: got -1.0"),
        (change(1, "epoch_cost", None), "epoch_cost: got None"),
        (change(1, "epoch", 0), "row 2, epoch: got 0; allowed: whole numbers from 1"),
        (change(1, "epoch", 1.5), "row 2, epoch: got 1.5"),
        (change(1, "epoch", "one"), "epoch: got"),
        (change(3, "candidate_id", ""), "row 4: candidate_id is empty"),
        ([(*row[:2], None, *row[3:]) for row in ROWS], "column val_loss: got no number in any row"),
        ([(*row[:2], "low", *row[3:]) for row in ROWS], "column val_loss: got string; allowed in an objective: numbers"),
        ([], "has no rows"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_rows_is_told(write: Write, rows: list, told: str) -> None:
    path = write(rows)
    with pytest.raises(TableError) as error:
        load(path)
    assert told in str(error.value)
    assert str(path) in str(error.value)


def test_an_empty_cell_of_a_searched_column_is_told(write: Write) -> None:
    rows = [(*row[:5], None if row[0] == "b" else row[5], *row[6:]) for row in ROWS]
    with pytest.raises(TableError, match=r"column width, candidate b: got nothing; .* --ignore"):
        load(write(rows))


@pytest.mark.parametrize(
    ("names", "goals", "told"),
    [
        (("id", *COLUMNS[1:]), GOALS, "no column is called 'candidate_id'"),
        (("candidate_id", "epochs", *COLUMNS[2:]), GOALS, "no column is called 'epoch'; allowed: candidate_id, epochs, "),
        ((*COLUMNS[:4], "cost", *COLUMNS[5:]), GOALS, "1 in every row counts epochs"),
        (COLUMNS, parse_goals(["min:val_los"]), "no column is called 'val_los'"),
        (("candidate_id", "epoch", "val_loss", "val_loss", *COLUMNS[4:]), GOALS, "got two columns 'val_loss'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_columns_is_told(write: Write, names: tuple, goals: tuple, told: str) -> None:
    with pytest.raises(TableError) as error:
        load(write(names=names), goals)
    assert told in str(error.value)


def test_near_misses_are_named(write: Write) -> None:
    with pytest.raises(TableError, match="Did you mean 'val_loss'"):
        load(write(), parse_goals(["min:val_los"]))
    with pytest.raises(TableError, match="Did you mean 'epochs'"):
        load(write(names=("candidate_id", "epochs", *COLUMNS[2:])))


def test_wrong_choices_of_fields_are_told(write: Write) -> None:
    path = write()
    with pytest.raises(TableError, match=r"no column is called 'widht'.*Did you mean 'width'"):
        load(path, fields=("widht",))
    with pytest.raises(TableError, match="no column is called 'acts'"):
        load(path, ignore=("acts",))
    with pytest.raises(TableError, match="--fields: got val_loss, which is no searched column"):
        load(path, fields=("val_loss",))
    with pytest.raises(TableError, match="column val_loss: changes between epochs of one candidate"):
        load(path, parse_goals(["min:macs"]), fields=("val_loss",))
    with pytest.raises(TableError, match="nothing is searched"):
        load(path, ignore=("act", "tied", "width"))


def test_a_file_that_is_no_table_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "t.arrow"
    broken.write_bytes(b"no arrow at all")
    with pytest.raises(TableError, match="cannot be read as Arrow IPC"):
        load(broken)
    ragged = tmp_path / "t.csv"
    ragged.write_text("candidate_id,epoch\na,1\na,2,3\n")
    with pytest.raises(TableError, match="cannot be read as CSV"):
        load(ragged)


def test_what_is_no_source_is_told(write: Write, tmp_path: Path) -> None:
    with pytest.raises(
        TableError, match=r"there is no such file or folder; allowed: a run folder, a file \.arrow or"
    ):
        load_table(str(tmp_path / "gone.csv"), GOALS)
    with pytest.raises(TableError, match="needs --objectives"):
        load_table(str(write()))
