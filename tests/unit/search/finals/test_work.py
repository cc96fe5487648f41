"""What a process does of a line: it derives what it needs where this call says, and measures what is not known soundly."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from search.finals import work
from search.finals.lines import LONGER, Asked, Line, Stage
from tests.unit.trainables.small import make_job
from trainables.datasets.cache_folder import stored_in
from trainables.training.job import Job
from trainables.training.measuring import Measuring
from trainables.trial import Launch

ALONE = asdict(Launch(nested=False, workers=1, cpus=1.0, gpus=0.0, storage="", log=""))


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """Return a student with one training, measured after it."""
    job = make_job(tmp_path / "teacher", tmp_path / "longer", storage=str(tmp_path / "of the search"))
    order = Measuring(
        teacher="embedded",
        teacher_fingerprint="",
        dataset=job.dataset,
        dataset_fingerprint="",
        split="test",
        tasks={"vqa": {}},
        evaluation={},
    )
    stage = Stage(name=LONGER, job=job, key="a1", epoch_s=1.0)
    return Line(
        candidate_id="0badcafe",
        method="student",
        seed=0,
        stages=(stage,),
        asked=(Asked(of=LONGER, order=order),),
    )


@pytest.fixture
def trained(line: Line, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Return the jobs that are trained, which takes no time; all is measured as 7."""
    seen: list[Job] = []

    def train(job: Job, control: Any) -> None:
        seen.append(job)
        control.report({"status": "finished", "epoch": job.epochs, "wall_s": 2.0})

    monkeypatch.setattr("trainables.training.loop.train", train)
    monkeypatch.setattr(work, "measure_model", lambda order: {"vqa_accuracy": 7.0})
    return seen


def test_what_a_training_derives_lies_in_the_storage_of_this_call(
    line: Line, trained: list[Job], tmp_path: Path
) -> None:
    storage = tmp_path / "of this call"
    storage.mkdir()
    with stored_in(str(storage)):
        work.carry_out(line, ALONE, print)
    assert [job.storage for job in trained] == [str(storage)]


def test_figures_that_are_none_are_measured_anew(line: Line, trained: list[Job], tmp_path: Path) -> None:
    (tmp_path / "longer").mkdir()
    known = tmp_path / "longer" / work.MEASURED
    for damaged in ("[]", json.dumps({line.asked[0].key: 3}), "{", "7"):
        known.write_text(damaged)
        (row,) = work.carry_out(line, ALONE, print)
        assert row["metrics"] == {"vqa_accuracy": 7.0}
        assert json.loads(known.read_text()) == {line.asked[0].key: {"vqa_accuracy": 7.0}}
