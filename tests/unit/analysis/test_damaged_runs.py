"""A run folder may come from anywhere: whatever its files hold, there is a result or one message with the file's name."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.page.facts import facts_section
from analysis.page.headline import header
from analysis.report import draw_report
from analysis.run_folder import read_run
from analysis.summary import summarise
from analysis.table import read_history, read_trials, write_trials
from spaces.errors import RunError, StudentSearchError
from tests.damage import damaged
from tests.unit.analysis.conftest import METRICS, rows_of_a_run, write_run

FILES = ("trials.arrow", "run.json", "control.json", "rungs.json")
SESSION = {"started": "x", "host": "h", "command": "c", "code": "k", "versions": {}, "ended_by": None}
FEW, MANY = 1_234_567, 2**60  # rows of a batch, as it was written and as it then claims


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("whole") / "run", rows_of_a_run()[:4] + rows_of_a_run()[-1:])


def look(folder: Path, file: str) -> None:
    """Read a run as a report does; what is wrong is told with the file's name."""
    told = ""
    try:
        run = read_run(folder)
        header(run, summarise(run))
        facts_section(run)
    except StudentSearchError as error:
        told = str(error)
    assert not told or (file in told and len(told) < 2000)


@pytest.mark.properties
@pytest.mark.parametrize("file", FILES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_bytes_are_a_result_or_told(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, file: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("run", numbered=True) / "run"
    shutil.copytree(whole, folder)
    try:
        (folder / file).write_bytes(data.draw(damaged((whole / file).read_bytes())))
        look(folder, file)
    finally:
        shutil.rmtree(folder.parent)


@pytest.mark.properties
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_are_a_history(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    part = min((whole / "history").iterdir())
    folder = tmp_path_factory.mktemp("history")
    (folder / "history").mkdir()
    (folder / "history" / part.name).write_bytes(data.draw(damaged(part.read_bytes())))
    found = read_history(folder)
    assert found.table.num_rows <= read_history(whole).table.num_rows
    assert all(isinstance(row["epoch"], int) for row in found.table.to_pylist())
    shutil.rmtree(folder)


def test_rows_that_take_no_room_take_none(tmp_path: Path) -> None:
    empty = pa.record_batch([pa.nulls(FEW)], names=["candidate_id"])
    empty = empty.replace_schema_metadata({"schema_version": "1"})
    (tmp_path / "history").mkdir()
    for path, new in (
        (tmp_path / "history" / "part-0001.arrow", pa.ipc.new_stream),
        (tmp_path / "trials.arrow", pa.ipc.new_file),
    ):
        with new(str(path), empty.schema) as writer:
            writer.write_batch(empty)
        claimed = path.read_bytes().replace(FEW.to_bytes(8, "little"), MANY.to_bytes(8, "little"))
        assert len(claimed) < 2000
        path.write_bytes(claimed)
    assert read_history(tmp_path).torn == ("part-0001.arrow",)
    with pytest.raises(RunError, match=r"trials.arrow: "):
        read_trials(tmp_path / "trials.arrow")


def test_rows_that_are_claimed_and_not_there_take_no_memory(whole: Path, tmp_path: Path) -> None:
    rows = (5).to_bytes(8, "little")
    claimed = (whole / "trials.arrow").read_bytes().replace(rows, MANY.to_bytes(8, "little"))
    (tmp_path / "trials.arrow").write_bytes(claimed)
    with pytest.raises(RunError, match=r"trials.arrow: damaged"):
        read_trials(tmp_path / "trials.arrow")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ({"candidate_id": "../../x"}, r"candidate_id: got '../../x'; allowed: 16 hex digits, or the 8 of"),
        ({"candidate_id": "0123abc"}, "allowed: 16 hex digits, or the 8 of"),
        ({"candidate_id": "0123ABCD"}, "allowed: 16 hex digits, or the 8 of"),
        ({"candidate_id": "$(id)...."}, "allowed: 16 hex digits, or the 8 of"),
        ({"candidate_id": ""}, "candidate_id: it is empty"),
        ({"status": "great"}, "status: got 'great'; allowed: running, finished"),
        ({"checkpoint": "/etc"}, "checkpoint: got '/etc'; allowed: a path inside the run folder"),
        ({"checkpoint": "checkpoints/../../x"}, "allowed: a path inside the run folder"),
        ({"config": "[1]"}, r"config: got '\[1\]'; allowed: a JSON object"),
        ({"config": "{"}, "allowed: a JSON object"),
        ({"config": "[" * 100_000}, "allowed: a JSON object"),
    ],
    ids=str,
)
def test_cells_that_a_search_does_not_write_are_told(tmp_path: Path, cell: dict[str, Any], said: str) -> None:
    rows = rows_of_a_run()[:3]
    folder = write_run(tmp_path / "run", rows, with_control=False)
    write_trials(folder / "trials.arrow", [rows[0], {**rows[1], **cell}, rows[2]], METRICS)
    with pytest.raises(RunError, match=rf"trials.arrow.*{said}"):
        draw_report(folder)
    assert not (folder / "report.html").exists()


def test_one_candidate_in_two_rows_is_told(tmp_path: Path) -> None:
    rows = rows_of_a_run()[:2]
    folder = write_run(tmp_path / "run", [rows[0], {**rows[1], "candidate_id": rows[0]["candidate_id"]}])
    with pytest.raises(RunError, match="row 2: its candidate_id stands in another row, too"):
        read_run(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"teacher": []}, "teacher: got .*allowed: a mapping"),
        ({"teacher": {"params": "many"}}, 'teacher.params: got "many"; allowed: a number'),
        ({"teacher": {"metrics": {"retention": 10**400}}}, "teacher.metrics: got .*allowed: a mapping"),
        ({"objectives": {"retention": "up"}}, "objectives: got .*max or min"),
        ({"rungs": [1, "3"]}, "rungs: got .*allowed: a list, each a whole number"),
        ({"rungs": [1e999]}, "rungs: got "),
        ({"warm_start": [{"run": "x"}]}, r"warm_start\[0\].started: got null"),
        ({"resume_with": "--trials 9; rm -r x"}, "resume_with: got .*allowed: flags"),
        ({"metrics": {"a": 1}}, "metrics: got .*allowed: a list"),
        ({"sessions": "x"}, "sessions: got .*allowed: a list, each a mapping"),
        ({"sessions": [{}]}, r"sessions\[0\].started: got null; allowed: a text"),
        (
            {"sessions": [{**SESSION, "versions": None}]},
            r"sessions\[0\].versions: got null; allowed: a mapping",
        ),
        (
            {"sessions": [SESSION, {**SESSION, "git_commit": 5}]},
            r"sessions\[1\].git_commit: got 5; allowed: a text",
        ),
        ({"caveats": 5}, "caveats: got 5; allowed: a list, each a text"),
        ({"teacher": {"guessing": [1]}}, "teacher.guessing: got .*allowed: a mapping"),
        ({"teacher": {"places": [1]}}, "teacher.places: got .*allowed: a mapping"),
        ({"dataset": {"places": "x"}}, "dataset.places: got .*allowed: a mapping"),
        ({"seed": -1}, "seed: got -1; allowed: a whole number, 0 or more"),
        ({"caveats": 3}, "caveats: got 3; allowed: a list, each a text"),
        ({"sessions": "abc"}, 'sessions: got "abc"; allowed: a list, each a mapping'),
        ({"sessions": [SESSION, {}]}, r"sessions\[1\].started: got null; allowed: a text"),
        (
            {"sessions": [{**SESSION, "versions": [1]}]},
            r"sessions\[0\].versions: got \[1\]; allowed: a mapping",
        ),
        ({"sessions": [{**SESSION, "ended_by": 1}]}, r"sessions\[0\].ended_by: got 1; allowed: a text"),
        ({"teacher": {"places": ["x"]}}, r'teacher.places: got \["x"\]; allowed: a mapping'),
        ({"teacher": {"fingerprints": 3}}, "teacher.fingerprints: got 3; allowed: a mapping"),
    ],
    ids=str,
)
def test_facts_that_a_search_does_not_write_are_told(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    folder = write_run(tmp_path / "run", rows_of_a_run()[:2], **change)
    with pytest.raises(RunError, match=rf"run.json, {said}"):
        read_run(folder)


def test_sessions_as_a_search_writes_them_are_shown(tmp_path: Path) -> None:
    ended = {**SESSION, "git_commit": "0123abc", "ended_by": "trials"}
    run = read_run(
        write_run(tmp_path / "run", rows_of_a_run()[:2], sessions=[SESSION, ended], objectives=None)
    )
    text = str(facts_section(run))
    assert "begun x on h: c; code k; it did not tell its end" in text
    assert "begun x on h: c; code k, commit 0123abc; ended by trials" in text


@pytest.mark.parametrize("rows", [{}, [1], [{"candidate_id": "0123abcd"}], None])
def test_a_control_of_another_form_is_told(tmp_path: Path, rows: Any) -> None:
    folder = write_run(tmp_path / "run", rows_of_a_run()[:2])
    (folder / "control.json").write_text(json.dumps({"seeds": [0], "rows": rows}))
    with pytest.raises(RunError, match=r"control.json, rows"):
        read_run(folder)


def test_ids_of_a_control_are_checked_before_they_are_shown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rows_of_a_run()[:2])
    row = {"candidate_id": "x; rm", "data": "noisy", "seed": 0, "distilled": True, "retention": 1.0}
    (folder / "control.json").write_text(json.dumps({"seeds": [0], "rows": [row]}))
    with pytest.raises(
        RunError, match=r"control.json, candidate_id: got 'x; rm'; allowed: 16 hex digits, or the 8 of"
    ):
        draw_report(folder)


def test_what_another_may_not_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run(tmp_path / "run", rows_of_a_run()[:2])

    def refuse(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(RunError, match=r"trials.arrow: cannot be read: no permission: .* belongs to") as told:
        read_trials(folder / "trials.arrow")
    assert "damaged" not in str(told.value)


@pytest.mark.parametrize("name", ["history/part-0001.arrow", "rungs.json", "run.json", "control.json"])
def test_no_part_of_a_run_that_may_not_be_read_is_left_out_or_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder, usual = write_run(tmp_path / "run"), io.open

    def refuse(file: Any, *arguments: Any, **options: Any) -> Any:
        if file == folder / name:
            raise PermissionError(13, "Permission denied")
        return usual(file, *arguments, **options)

    monkeypatch.setattr(io, "open", refuse)
    with pytest.raises(RunError, match=rf"{name}: cannot be read: no permission: ") as told:
        read_run(folder)
    assert "damaged" not in str(told.value)
