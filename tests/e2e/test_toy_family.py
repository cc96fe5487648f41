"""A family and a task that stand in `tests/toy` alone: searched, resumed, reported, exported and loaded like our own."""

import json
import os
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import runs
from tests.e2e.snapshots import Snapshot, check_nothing_was_lost
from tests.house.tree import short, walk

TOY = runs.ROOT / "tests" / "toy"
TRIALS, MORE = 4, 6
SETTINGS = (
    "dataset.train_images=256",
    "training.pairs_per_epoch=128",
    "dataset.val_images=128",
    "dataset.test_images=128",
    "evaluation.images=128",
)  # what it is good at is of no matter here
LOAD = """\
import json, sys
import numpy as np
from trainables.export import load
from trainables.signals import Want

student = load(sys.argv[1])
pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
embedded = student.embed_images(pictures)
want = Want("image", "embedding")
said = student.signals(pictures, wants={want})
print(json.dumps({
    "kind": student.blueprint.kind,
    "architecture": student.model.architecture.to_dict(),
    "params": sum(parameter.numel() for parameter in student.model.parameters()),
    "tokenizer": student.tokenizer is not None,
    "wants": sorted(map(str, said)),
    "same": bool((said[want] == embedded).all()),
    "shape": list(embedded.shape),
    "lengths": embedded.norm(dim=-1).tolist(),
    "measured": student.measured["metrics"]["validation"],
}))
"""


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A search of the toy space, gone on with once, and one of its students exported.

    Attributes:
        folder: the run folder.
        env: of all commands.
        first, resumed: the run folder after each session.
        texts: what the sessions said.
        exported: the folder of the student.
        candidate_id: of the student.
    """

    folder: Path
    env: dict[str, str]
    first: Snapshot
    resumed: Snapshot
    texts: tuple[str, str]
    exported: Path
    candidate_id: str

    @property
    def facts(self) -> dict[str, Any]:
        """What run.json says at the end."""
        facts: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return facts


def toy_environment() -> dict[str, str]:
    """Return the environment of a user who has installed the toy beside the product."""
    return runs.environment(PYTHONPATH=os.pathsep.join([str(runs.ROOT), str(TOY)]))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Search, search on, and export the best student."""
    place, env = tmp_path_factory.mktemp("toy"), toy_environment()
    folder, out = place / "runs" / "toy", place / "student"
    said = []

    def call(*arguments: str) -> None:
        code, text = runs.run(arguments, folder=place, env=env)
        assert code == 0, text
        said.append(text)

    search = runs.script("search/run.py")
    once = ("--max-concurrent=1", "--set=latency.samples=4")  # a process of a trial takes seconds to begin
    call(search, "--space", str(TOY / "toy.yaml"), "--trials", str(TRIALS), *once, *SETTINGS)
    first = Snapshot.of(folder)
    call(search, "--resume", str(folder), "--trials", str(MORE))
    call(runs.script("search/export.py"), str(folder), "--pick", "best", "--out", str(out))
    return Toy(
        folder=folder,
        env=env,
        first=first,
        resumed=Snapshot.of(folder),
        texts=(said[0], said[1]),
        exported=out,
        candidate_id=json.loads((out / "config.json").read_text())["measured"]["candidate_id"],
    )


def searched(run: Snapshot) -> list[dict[str, Any]]:
    """Return the rows of candidates that were trained."""
    return [row for row in run.rows.values() if row["role"] == "search" and row["status"] != "rejected"]


def test_every_candidate_is_stopped_early_or_trained_to_the_end(toy: Toy) -> None:
    for run, trials in ((toy.first, TRIALS), (toy.resumed, MORE)):
        rows = searched(run)
        assert len(rows) == trials
        assert {row["status"] for row in rows} <= {"finished", "stopped"}
        assert any(row["status"] == "finished" for row in rows)
        for row in rows:
            assert json.loads(row["config"])["student"]["kind"] == "convnet"
            assert json.loads(row["config"])["student"]["embedding"] > 1  # `1x` of the teacher's
            assert row["params"] == params(json.loads(row["config"])["student"])


def params(student: dict[str, Any]) -> int:
    """Return the parameters of a toy by hand: 3 x 3 convolutions with bias, each twice as wide, and a linear layer."""
    widths = [3, *(student["width"] * 2**layer for layer in range(student["depth"]))]
    convolutions = sum(9 * before * after + after for before, after in pairwise(widths))
    return convolutions + widths[-1] * student["embedding"] + student["embedding"]


def test_a_resume_goes_on_without_losing_anything(toy: Toy) -> None:
    check_nothing_was_lost(toy.first, toy.resumed)
    assert len(toy.facts["resumed"]) == 1
    assert toy.facts["ended_by"] in ("trials", "exhausted")


def test_the_task_of_the_toy_is_what_the_tables_hold(toy: Toy) -> None:
    assert toy.facts["tasks"] == ["scene_shape"]
    assert toy.facts["metrics"] == ["retention", "retention_above_blind", "shape_accuracy"]
    assert toy.facts["teacher"]["metrics"]["shape_accuracy"] > 50
    for row in searched(toy.resumed):
        assert 0 <= row["shape_accuracy"] <= 100
        assert "mean_recall" not in row
    finished = [row for row in searched(toy.resumed) if row["status"] == "finished"]
    teacher = toy.facts["teacher"]["metrics"]["shape_accuracy"]
    for row in finished:
        assert row["retention"] == pytest.approx(100 * row["shape_accuracy"] / teacher)


def test_the_report_shows_its_students_and_its_metric(toy: Toy) -> None:
    report = (toy.folder / "report.html").read_text()
    for row in searched(toy.resumed):
        assert row["candidate_id"] in report
    assert "shape_accuracy" in report or "shape accuracy" in report
    assert "convnet" in report


def test_a_student_that_reads_no_texts_is_exported_without_a_tokenizer(toy: Toy) -> None:
    names = {path.name for path in toy.exported.iterdir()}
    files = {"model.safetensors", "config.json", "preprocessor_config.json", "candidate.json", "README.md"}
    assert names == files
    row = toy.resumed.rows[toy.candidate_id]
    assert row["size_mib"] == pytest.approx(4 * row["params"] / 2**20)
    card = (toy.exported / "README.md").read_text()
    assert toy.candidate_id in card
    assert "student.signals(pictures, " in card  # of a task that the product does not know
    assert "embed_texts" not in card


def test_the_student_is_loaded_in_another_process(toy: Toy) -> None:
    code, text = runs.run(("-c", LOAD, str(toy.exported)), folder=runs.ROOT, env=toy.env)
    assert code == 0, text
    told = json.loads(text.splitlines()[-1])
    row = toy.resumed.rows[toy.candidate_id]
    student = json.loads(row["config"])["student"]
    assert told["kind"] == "convnet"
    assert {name: told["architecture"][name] for name in ("width", "depth", "embedding")} == {
        name: student[name] for name in ("width", "depth", "embedding")
    }
    assert told["params"] == row["params"]
    assert told["tokenizer"] is False
    assert told["wants"] == ["image.embedding"]
    assert told["same"]
    assert told["shape"] == [3, student["embedding"]]
    assert told["lengths"] == pytest.approx([1.0] * 3, rel=1e-5)
    assert told["measured"]["shape_accuracy"] == row["shape_accuracy"]


def test_without_the_package_the_exported_folder_says_which_family_is_missing(toy: Toy) -> None:
    code, text = runs.run(("-c", LOAD, str(toy.exported)), folder=runs.ROOT, env=runs.environment())
    assert code == 1
    assert "ExportError" in text.splitlines()[-1]
    assert "convnet" in text.splitlines()[-1]


def test_no_part_of_the_product_names_the_toy() -> None:
    named = re.compile(r"convnet|scene_shape|toy_student|toy-student", re.IGNORECASE)
    found = [
        short(path)
        for path in walk()
        if not path.is_relative_to(runs.ROOT / "tests")
        and b"\0" not in (content := path.read_bytes())
        and named.search(content.decode("utf-8"))
    ]
    assert not found, found
