"""What a candidate was planned with: compared where a worker opens it, and no candidate's fault where it is another."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spaces.errors import DatasetError, InputsChanged
from spaces.files import make_folder
from tests.unit.trainables.small import make_job, write_teacher
from trainables import trial
from trainables.code_version import SEARCHING, code_digest
from trainables.training import loop
from trainables.training.build import make_dataset
from trainables.training.job import Job
from trainables.trial import HALTED, Launch, launch_dict, run_trial

ROWS = [
    {"image": f"{split}{number}.png", "caption": text, "split": split}
    for split in ("train", "val")
    for number, text in enumerate(("a small red circle", "a large blue square", "a small green triangle"))
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file of a small data set of pairs."""
    for place, row in enumerate(ROWS):
        Image.new("RGB", (16, 16), (40 * place, 10, 10)).save(tmp_path / row["image"])
    write(tmp_path / "pairs.jsonl", ROWS)
    return tmp_path / "pairs.jsonl"


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def fingerprint(file: Path) -> str:
    return make_dataset({"kind": "jsonl", "file": str(file)}).fingerprint


@pytest.fixture
def job(file: Path, teacher_folder: Path) -> Job:
    """Return an order that was planned with that data."""
    dataset = {"kind": "jsonl", "file": str(file)}
    return make_job(
        teacher_folder, file.parent / "trial", dataset=dataset, dataset_fingerprint=fingerprint(file)
    )


def test_data_as_planned_is_opened_once_for_all_trials_of_a_process(job: Job) -> None:
    first, second = loop._open(job, "cpu"), loop._open(job, "cpu")
    assert first.train is second.train
    assert first.train.texts["caption"] == [row["caption"] for row in ROWS[:3]]


@pytest.mark.parametrize(
    "rows",
    [[ROWS[1], *ROWS], ROWS[1:], [{**ROWS[0], "caption": "a large red circle"}, *ROWS[1:]]],
    ids=["a row on top", "a row less", "another caption"],
)
def test_data_that_changed_between_two_trials_is_refused(
    rows: list[dict[str, Any]], job: Job, file: Path
) -> None:
    loop._open(job, "cpu")
    write(file, rows)
    with pytest.raises(InputsChanged) as error:
        loop._open(job, "cpu")
    told = str(error.value)
    assert told.startswith(
        f"data set {file}: has fingerprint {fingerprint(file)}; this candidate was planned with {job.dataset_fingerprint}. "
    )
    assert "--resume the run (nothing is lost)" in told
    write(file, ROWS)
    loop._open(job, "cpu")


def test_a_file_that_was_only_touched_is_the_same(job: Job, file: Path) -> None:
    loop._open(job, "cpu")
    os.utime(file, (1, 1))
    loop._open(job, "cpu")


def test_what_is_gone_meanwhile_is_no_fault_of_the_candidate(job: Job, file: Path) -> None:
    file.unlink()
    with pytest.raises(InputsChanged, match=r"does not exist.*once it is there again, --resume the run"):
        loop._open(job, "cpu")


def test_a_teacher_that_is_gone_meanwhile_neither(job: Job, tmp_path: Path) -> None:
    lost = Job.from_dict({**job.to_dict(), "teacher": str(tmp_path / "gone")})
    with pytest.raises(InputsChanged, match=r"gone: is no folder.*once it is there again"):
        loop._open(lost, "cpu")


def test_an_order_that_tells_no_fingerprint_gets_the_plain_error(job: Job, file: Path) -> None:
    file.unlink()
    with pytest.raises(DatasetError, match=r"does not exist"):
        loop._open(Job.from_dict({**job.to_dict(), "dataset_fingerprint": ""}), "cpu")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the rows that Ray Tune gets; logs are left out."""
    rows: list[dict[str, Any]] = []
    monkeypatch.setattr(trial, "note", lambda log, text: None)
    monkeypatch.setattr(trial.tune, "report", rows.append)
    monkeypatch.setattr(trial.ray.util, "get_node_ip_address", lambda: "10.0.0.7")
    return rows


def ordered(job: Job) -> dict[str, Any]:
    launch = Launch(nested=False, workers=1, cpus=1.0, gpus=0.0, storage="", log=f"{job.folder}/one.log")
    order = make_folder(Path(job.folder)) / "candidate.json"
    job.write(order)
    return {"candidate_id": job.candidate_id, "job": str(order), "launch": launch_dict(launch)}


def test_the_last_row_of_such_a_trial_tells_the_search_to_end(
    job: Job, file: Path, told: list[dict[str, Any]]
) -> None:
    write(file, [ROWS[1], *ROWS])
    run_trial(ordered(job))
    (row,) = told
    assert (row["status"], row["epoch"]) == ("running", 0)
    assert row[HALTED].startswith(f"trial {job.candidate_id}: data set {file}: has fingerprint ")


def test_a_trial_under_other_code_than_the_search_ends_it_too(job: Job, told: list[dict[str, Any]]) -> None:
    run_trial(ordered(Job.from_dict({**job.to_dict(), "code": "0123456789abcdef"})))
    (row,) = told
    assert (
        f"on 10.0.0.7 has digest {code_digest()}; the search was started with 0123456789abcdef" in row[HALTED]
    )


def test_a_node_that_does_not_see_the_run_ends_it_and_makes_no_folder_there(
    job: Job, told: list[dict[str, Any]], tmp_path: Path
) -> None:
    config = ordered(Job.from_dict({**job.to_dict(), "folder": str(tmp_path / "run" / "one")}))
    shutil.rmtree(tmp_path / "run")
    run_trial(config)
    (row,) = told
    assert (row["status"], row["epoch"], row["candidate_id"]) == ("running", 0, job.candidate_id)
    assert (
        f"run folder {tmp_path / 'run' / 'one'}: {os.uname().nodename} does not see this folder"
        in row[HALTED]
    )
    assert not (tmp_path / "run").exists()


def test_an_order_that_is_damaged_is_told_as_a_crash_of_its_candidate(
    job: Job, told: list[dict[str, Any]]
) -> None:
    config = ordered(job)
    Path(config["job"]).write_text("{")
    run_trial(config)
    (row,) = told
    assert (row["status"], row["candidate_id"]) == ("crashed", job.candidate_id)
    assert f"RunError: {config['job']}:1: no JSON" in row["reason"]


def test_the_code_is_known_by_its_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables import code_version

    def digest(*files: tuple[str, str]) -> str:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in files:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        monkeypatch.setattr(code_version, "ROOT", place)
        code_digest.cache_clear()
        return code_digest()

    try:
        one = digest(("trainables/a.py", "x = 1"), ("spaces/b.py", ""), ("spaces/tiny.yaml", "1"))
        assert digest(("trainables/a.py", "x = 1"), ("spaces/b.py", ""), ("spaces/tiny.yaml", "2")) == one
        assert digest(("trainables/a.py", "x = 2"), ("spaces/b.py", "")) != one
        assert digest(("trainables/c.py", "x = 1"), ("spaces/b.py", "")) != one
        assert digest(("trainables/a.py", "x = 1")) != one
    finally:
        code_digest.cache_clear()
    monkeypatch.undo()
    assert code_digest() != code_digest(SEARCHING)


def test_a_teacher_of_other_weights_is_refused(job: Job, tmp_path: Path) -> None:
    other = write_teacher(tmp_path / "other", seed=1)
    planned = {**job.to_dict(), "teacher": str(other), "teacher_fingerprint": "beef"}
    with pytest.raises(
        InputsChanged, match=rf"teacher {other}: has fingerprint \w+; this candidate was planned with beef"
    ):
        loop._open(Job.from_dict(planned), "cpu")


def test_a_teacher_whose_folder_changed_between_two_trials_is_noticed(job: Job, tmp_path: Path) -> None:
    folder = write_teacher(tmp_path / "own")
    first = Job.from_dict({**job.to_dict(), "teacher": str(folder)})
    teacher = loop._open(first, "cpu").teacher
    planned = Job.from_dict({**first.to_dict(), "teacher_fingerprint": teacher.files.fingerprint})
    assert loop._open(planned, "cpu").teacher is teacher
    write_teacher(folder, seed=1)
    with pytest.raises(
        InputsChanged, match=rf"teacher {folder}: has fingerprint \w+; .* {teacher.files.fingerprint}"
    ):
        loop._open(planned, "cpu")
    write_teacher(folder)
    loop._open(planned, "cpu")
