"""Kills of fillings of a teacher cache at moments that nobody chose: nothing half done, and the same bytes in the end."""

from pathlib import Path

import pytest

from tests.unit.trainables.small import all_wants, encoded, write_teacher
from tests.unit.trainables.teachers.cache.caches import contents_of
from tests.unit.trainables.teachers.cache.kills import Fills
from trainables.teachers.cache import plan, workers
from trainables.teachers.loading import load_teacher

KILLS = 20


def test_twenty_kills_leave_whole_parts_and_the_last_filling_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SMALLEST", 2)
    monkeypatch.setattr(workers, "PAYS", 1)
    teacher = load_teacher(str(write_teacher(tmp_path / "teacher")))
    fills = Fills(teacher, encoded(teacher, "train", train_images=120), all_wants(teacher.model.architecture))
    assert fills.check_kills(tmp_path, KILLS, seed=1) == contents_of(tmp_path / "unharmed")
