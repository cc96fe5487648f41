"""Orders of candidates that are used again: their data and teacher are looked for where the run knows them to lie."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.run_folder import Run, read_run
from search.results.jobs import check_data, read_job, teacher_of
from spaces.errors import InputsChanged
from tests.unit.search.earlier_run import prepare, write_run
from tests.unit.trainables.small import SCENES, make_job, write_teacher
from trainables.teachers.loading import load_teacher
from trainables.training.build import make_dataset


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher") / "small")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return read_run(write_run(tmp_path / "run", prepare(tmp_path), []))


def knowing(run: Run, **facts: Any) -> Run:
    return replace(run, facts={**run.facts, **facts})


def test_places_of_the_run_win_over_those_of_the_day_of_training(run: Run, tmp_path: Path) -> None:
    dataset = {"kind": "jsonl", "file": "/old/pairs.jsonl", "image_root": "/old", "seed": 3}
    made = make_job(
        Path("/old/teacher"),
        tmp_path,
        dataset=dataset,
        teacher_fingerprint="aaaa",
        cache=str(tmp_path / "none"),
    )
    made.write(tmp_path / "candidate.json")
    there = knowing(
        run,
        teacher={
            "fingerprints": {"embedded": "0", "t": "aaaa"},
            "places": {"embedded": "embedded", "t": "/new/teacher"},
        },
        dataset={"places": {"file": "/new/pairs.jsonl", "image_root": "/new"}},
    )
    job = read_job(there, tmp_path)
    assert job.teacher == "/new/teacher"
    assert job.dataset == {**dataset, "file": "/new/pairs.jsonl", "image_root": "/new"}
    assert job.cache == ""
    old = read_job(knowing(run, teacher={}, dataset={}), tmp_path)
    assert (old.teacher, old.dataset) == ("/old/teacher", dataset)


def test_another_teacher_or_other_data_by_now_are_refused(run: Run, teacher: Path, tmp_path: Path) -> None:
    right = load_teacher(str(teacher)).files.fingerprint
    job = make_job(
        teacher, tmp_path, teacher_fingerprint=right, dataset_fingerprint=make_dataset(SCENES).fingerprint
    )
    assert teacher_of(run, job).files.fingerprint == right
    check_data(run, job)
    with pytest.raises(
        InputsChanged, match=rf"teacher {teacher}: has fingerprint {right}; the candidates of .* with aaaa"
    ):
        teacher_of(run, replace(job, teacher_fingerprint="aaaa"))
    with pytest.raises(
        InputsChanged, match=r"data set scenes: has fingerprint \w+; the candidates of .* with aaaa"
    ):
        check_data(run, replace(job, dataset_fingerprint="aaaa"))


def test_what_is_gone_is_told_with_the_command_that_mends_it(run: Run, tmp_path: Path) -> None:
    job = make_job(tmp_path / "gone", tmp_path, dataset={"kind": "jsonl", "file": "/gone.jsonl"})
    with pytest.raises(InputsChanged, match=rf"--resume {run.folder} --teacher FOLDER"):
        teacher_of(run, job)
    with pytest.raises(InputsChanged, match=rf"--resume {run.folder} --dataset KIND:FILE"):
        check_data(run, job)


@pytest.mark.parametrize("name", ["{copy},temperature=0.05", "retrieval={copy}/a.pth,vqa=embedded"])
def test_copies_of_a_teacher_with_more_to_its_name_are_used_while_they_are_there(
    run: Run, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "storage" / "teacher-files" / "a1"
    told = name.format(copy=copy)
    made = make_job(Path(told), tmp_path, teacher_fingerprint="aaaa", storage=str(tmp_path / "storage"))
    made.write(tmp_path / "candidate.json")
    own = "/only/on/the/head"
    there = knowing(run, teacher={"fingerprints": {"t": "aaaa"}, "places": {"t": own}})
    assert read_job(there, tmp_path).teacher == own
    copy.mkdir(parents=True)
    (copy / "a.pth").write_bytes(b"")
    assert read_job(there, tmp_path).teacher == told
