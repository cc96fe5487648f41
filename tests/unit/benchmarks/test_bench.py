"""What `make bench` is asked and tells: refusals, table, JSON, and rows that fail."""

import json
import math
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import bench
from tests.benchmarks.rows import MEASURES, Measure
from tests.benchmarks.rows.row import Asked, row_of, spread
from tests.benchmarks.rows.share import Epoch, covered, epochs_of, shares

LOAD = {"load": [3.0, 12.4], "wall_s": 1.0}


def told(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "name": f"one / two, {number}",
        "ratio": 1.0371,
        "spread": 0.0123,
        "unit": "",
        "n": 9,
        "command": "x",
    }
    return {"row": number, "title": "a title", **row, **LOAD, **changes}


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("text", "rows"), [("1,4", [1, 4]), ("4, 1,4", [1, 4]), ("9", [9])])
def test_rows_are_chosen_by_number(text: str, rows: list[int]) -> None:
    assert bench.parser().parse_args(["--only", text]).only == rows


def test_without_a_choice_all_rows_of_the_issue_are_measured() -> None:
    assert bench.parser().parse_args([]).only == list(range(1, 10))


@pytest.mark.parametrize("text", ["12", "0", "-1", "x", "", "1,", "1;4", "1.0", "1-4", "٤"])
def test_what_is_no_row_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main([f"--only={text}"])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"got {text!r}" in said
    assert "allowed: numbers" in said
    assert all(one.title in said for one in MEASURES.values())


def test_a_run_that_no_row_would_look_at_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(["--only", "1,2", "--run", "runs/dlip"])
    assert ended.value.code == 2
    assert "--run: got runs/dlip with --only that leaves out row 3" in capsys.readouterr().err


def test_a_run_that_is_none_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "measured", lambda *_: pytest.fail("measured"))
    assert bench.main(["--run", str(tmp_path / "none"), "--out", str(tmp_path / "told.json")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert str(tmp_path / "none") in said
    assert len(said.splitlines()) == 1


def test_a_result_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "measured", lambda *_: pytest.fail("measured"))
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file" / "told.json"):
        assert bench.main(["--only", "1", "--out", str(out)]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


def test_figures_are_medians_with_the_distance_of_their_quartiles() -> None:
    row = row_of("a", [5.0, 1.0, 2.0, 4.0, 3.0], "x")  # quartiles 2 and 4 about 3
    assert (row.ratio, row.n) == (3.0, 5)
    assert row.spread == pytest.approx(2 / 3)


@pytest.mark.parametrize("values", [[4.2], [-1.0, 0.0, 1.0]])
def test_where_no_spread_can_be_told_none_is(values: list[float]) -> None:
    assert math.isnan(spread(values))


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_what_was_not_measured_is_no_row(values: list[float]) -> None:
    with pytest.raises(ValueError, match="expected finite figures"):
        row_of("a", values, "x")


def test_table_has_a_line_for_each_figure_and_tells_failures() -> None:
    failed = {"row": 4, "title": "overhead", "error": "RuntimeError: no room", "command": "x", **LOAD}
    lines = bench.table(
        [told(1), told(2, ratio=1234.5, unit="MiB", spread=math.nan, n=1), failed]
    ).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["what", "figure", "spread", "n", "load"],
        ["1", "one", "/", "two,", "1", "1.04", "1.2%", "9", "3", "12"],
        ["2", "one", "/", "two,", "2", "1,234", "MiB", "-", "1", "3", "12"],
        ["4", "overhead:", "FAILED", "3", "12"],
    ]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[-1] == "row 4 failed: RuntimeError: no room"


def test_json_holds_every_figure_and_null_where_there_is_none(tmp_path: Path) -> None:
    out = tmp_path / "told.json"
    bench.write(out, {"quick": True}, [told(1, spread=math.nan)])
    read = json.loads(out.read_text(), parse_constant=lambda word: pytest.fail(word))
    assert read == {"quick": True, "rows": [told(1, spread=None)]}


def test_a_row_that_fails_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {
        1: [told(1)],
        2: [{"row": 2, "title": "b", "error": "E: no", "command": "x", **LOAD}],
        3: [told(3)],
    }
    monkeypatch.setattr(bench, "measured", lambda number, asked, log: answers[number])
    out = tmp_path / "deep" / "told.json"
    assert bench.main(["--only", "1,2,3", "--out", str(out)]) == 1
    assert [one["row"] for one in json.loads(out.read_text())["rows"]] == [1, 2, 3]
    said = capsys.readouterr().out
    assert "row 2 failed: E: no" in said
    assert said.endswith(f"result: {out}\n")


def test_an_interrupt_keeps_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(number: int, asked: Asked, log: Path) -> list[dict[str, Any]]:
        if number == 2:
            raise KeyboardInterrupt
        return [told(number)]

    monkeypatch.setattr(bench, "measured", measured)
    out = tmp_path / "told.json"
    assert bench.main(["--only", "1,2,3", "--out", str(out)]) == 130
    assert [one["row"] for one in json.loads(out.read_text())["rows"]] == [1]


def test_an_error_while_measuring_is_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "MEASURES", {1: Measure(title="a", module="row", function="spread")})
    assert bench.main(["--measure", "1"]) == 1  # that function takes no such thing
    assert json.loads(capsys.readouterr().out.removeprefix(bench.MARK))["error"].startswith("TypeError: ")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("echo some noise; exit 3", {"error": "ended with exit code 3"}),
        ("""echo noise; echo 'rows: [{"name": "a", "ratio": 2.0}]'""", {"name": "a", "ratio": 2.0}),
    ],
)
def test_rows_come_from_a_process_of_their_own(
    body: str, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    (row,) = bench.measured(1, Asked(quick=True), tmp_path / "log")
    assert row["row"] == 1
    assert all(str(row[name]).startswith(str(value)) for name, value in expected.items())
    assert "noise" in (tmp_path / "log").read_text()


def test_epochs_are_placed_by_when_they_ended_and_what_a_trial_took_so_far() -> None:
    rows = [
        {"candidate_id": "b", "epoch": 1, "time": 14.0, "wall_s": 4.0},
        {"candidate_id": "a", "epoch": 2, "time": 16.0, "wall_s": 5.0},
        {"candidate_id": "a", "epoch": 1, "time": 12.0, "wall_s": 2.0},
        {"candidate_id": "a", "epoch": 2, "time": 17.0, "wall_s": 5.0},  # how it ended: no epoch
    ]
    found = [(one.start, one.end) for one in epochs_of(rows, 1)]
    assert found == [(10.0, 12.0), (13.0, 16.0), (10.0, 14.0)]


def test_shares_are_of_all_cores_in_equal_parts_of_the_time() -> None:
    epochs = [Epoch(start=0, end=4, cores=1), Epoch(start=0, end=2, cores=1), Epoch(start=6, end=8, cores=2)]
    assert shares(epochs, 2, 4) == [1.0, 0.5, 0.0, 1.0]


def test_overlapping_intervals_count_once() -> None:
    assert covered([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (1.5, 2.0)]) == 4.0
