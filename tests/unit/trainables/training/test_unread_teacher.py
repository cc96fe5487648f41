"""A trial whose signals are cached leaves its teacher's weights on disk, and comes out bit for bit as one that reads them."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.trainables.small import candidate_config, changed, encoded, make_job, silent
from trainables.teachers import kept
from trainables.teachers.cache.fill import build_cache
from trainables.teachers.teacher import Teacher
from trainables.training import build, checkpoint
from trainables.training.build import build_step
from trainables.training.control import PlainControl, Row
from trainables.training.job import Job
from trainables.training.loop import train

TIMES = ("wall_s", "cpu_s", "peak_mib", "epoch_s", "time")


@pytest.fixture
def cache(teacher: Teacher, tmp_path: Path) -> str:
    """Return the folder of a cache that holds what the candidate learns from."""
    step, _ = build_step(candidate_config(), teacher, seed=7)
    split = encoded(teacher, "train")
    build_cache(tmp_path / "cache", teacher, split, step.source_wants, precision="float32", progress=silent)
    return str(tmp_path / "cache")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, teacher_folder: Path) -> list[str]:
    """Return a list that fills with names of teachers as their weights are read, from now on; what else is known is kept."""
    monkeypatch.setattr(kept, "SETTLED_S", -1e9)  # its folder was written just now
    kept.open_teacher(str(teacher_folder))
    build._shared_teacher.cache_clear()
    found: list[str] = []
    original = kept.load_teacher

    def counting(name: str) -> Teacher:
        found.append(name)
        return original(name)

    monkeypatch.setattr(kept, "load_teacher", counting)
    return found


def trained(job: Job) -> tuple[list[Row], Any]:
    control = PlainControl(quiet=True)
    train(job, control)
    state = checkpoint.load(Path(job.folder))
    assert state is not None
    return [{name: value for name, value in row.items() if name not in TIMES} for row in control.rows], state


@pytest.mark.parametrize(
    ("init", "cached", "times"), [("random", True, 0), ("inherit", True, 1), ("random", False, 1)]
)
def test_weights_are_read_only_where_they_are_needed_and_change_nothing(
    init: str, cached: bool, times: int, *, teacher_folder: Path, cache: str, reads: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    config = changed(changed(candidate_config(), "student.image.init", init), "student.text.init", init)

    def job(name: str) -> Job:
        return make_job(teacher_folder, tmp_path / name, config=config, cache=cache if cached else "")

    rows, state = trained(job("unread"))
    assert reads == times * [str(teacher_folder)]
    monkeypatch.setattr(kept, "_known", lambda name: None)  # as if nothing were kept
    build._shared_teacher.cache_clear()
    expected_rows, expected = trained(job("read"))
    assert len(reads) == times + 1
    assert rows == expected_rows
    assert all(
        value.equal(expected["trainer"]["step"][name]) for name, value in state["trainer"]["step"].items()
    )
