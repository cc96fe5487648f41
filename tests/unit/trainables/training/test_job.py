"""The order for one trial as a file: read back as written, refused with what is wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spaces.errors import RunError
from tests.unit.trainables.small import changed, make_job
from trainables.tasks import DEFAULT
from trainables.training.control import PlainControl, append_row
from trainables.training.job import Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path / "teacher", tmp_path)


def test_a_written_job_is_read_back_for_the_readers_folder(job: Job, tmp_path: Path) -> None:
    job.write(tmp_path / "candidate.json")
    assert Job.read(tmp_path / "candidate.json", tmp_path / "elsewhere") == replace(
        job, folder=str(tmp_path / "elsewhere")
    )
    assert Job.from_dict(job.to_dict()) == job
    assert job.epochs == 3


def test_absent_options_take_their_defaults(job: Job) -> None:
    fields = {name: job.to_dict()[name] for name in ("candidate_id", "config", "seed", "dataset", "folder")}
    made = Job.from_dict(fields)
    assert (made.teacher, made.device, made.threads, made.evaluate_at) == ("embedded", "auto", 1, ())
    assert made.tasks == {name: {} for name in DEFAULT}
    assert made.patience == 0.5
    assert Job.from_dict({**fields, "patience": 5000}).patience == 5000  # steps, as earlier versions wrote


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"candidate_id": ', r"candidate.json:1: no JSON"),
        (b"\xff\xfe\x00", r"candidate.json: no text"),
        (b"[]", "got a list, allowed is one JSON object"),
        (b"{}", r"missing fields \['candidate_id', 'config', 'dataset', 'seed'\]"),
    ],
)
def test_files_that_are_no_order_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "candidate.json").write_bytes(content)
    with pytest.raises(RunError, match=message):
        Job.read(tmp_path / "candidate.json", tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none.json: No such file .*Give the candidate.json that a run wrote"):
        Job.read(tmp_path / "none.json", tmp_path)


def test_unknown_fields_are_refused(job: Job) -> None:
    with pytest.raises(
        RunError, match=r"unknown fields \['colour'\], missing fields \[\]; allowed: .*candidate_id"
    ):
        Job.from_dict(job.to_dict() | {"colour": 1})


@pytest.mark.parametrize(
    ("path", "value", "lacks"),
    [
        ("config", {}, r"student.kind, losses, training.epochs\."),
        ("config.student", {"image": {"width": 8}}, r"student.kind\."),
        ("config.losses", ..., r"losses\."),
        ("config.training", {"lr": 1.0}, r"training.epochs\."),
    ],
)
def test_a_config_without_its_parts_is_refused(job: Job, path: str, value: Any, lacks: str) -> None:
    fields = changed(job.to_dict(), path, value)
    if value is ...:
        del fields["config"]["losses"]
    with pytest.raises(RunError, match=f"config lacks {lacks}"):
        Job.from_dict(fields)


def test_plain_control_keeps_and_prints_rows(capsys: pytest.CaptureFixture[str]) -> None:
    control = PlainControl()
    control.report({"epoch": 1, "loss": 0.123456, "time": 5.0})
    assert control.rows == [{"epoch": 1, "loss": 0.123456, "time": 5.0}]
    assert json.loads(capsys.readouterr().out) == {"epoch": 1, "loss": 0.1235}
    PlainControl(quiet=True).report({"epoch": 1})
    assert capsys.readouterr().out == ""


def test_rows_are_appended_as_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_row(path, {"epoch": 1})
    append_row(path, {"epoch": 2})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"epoch": 1}, {"epoch": 2}]
