"""A filling that is killed at any moment leaves nothing half done, and the next one goes on from there."""

from pathlib import Path

import pytest

from tests.unit.trainables.teachers.cache.caches import contents_of
from tests.unit.trainables.teachers.cache.kills import Fills
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import Want
from trainables.teachers.cache import plan, workers
from trainables.teachers.teacher import Teacher

KILLS = 2  # tests/campaign/test_cache_kills.py: 20


def test_kills_leave_whole_parts_and_the_last_filling_the_same_bytes(
    owner: Teacher, split: EncodedSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SMALLEST", 2)  # pictures: sixteen parts
    monkeypatch.setattr(workers, "PAYS", 1)
    wants = frozenset({Want("image", "hidden", 1), Want("text", "embedding"), Want("decoder", "logits")})
    found = Fills(owner, split, wants).check_kills(tmp_path, KILLS, seed=0)
    assert found == contents_of(tmp_path / "unharmed")
    assert len(found) == 16
