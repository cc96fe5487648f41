"""Memory over epochs of 2,000 prepared pictures, decoded and varied in a process of its own."""

from pathlib import Path

import pytest

from tests.unit.trainables.datasets.prepare import public
from tests.unit.trainables.datasets.prepare.memory import MIB, after_epochs, noisy_pictures

EPOCHS = 12
GROWTH = 20 * MIB  # ten epochs that left their pictures behind would hold a gigabyte more


@pytest.mark.parametrize("vary", [False, True], ids=["as they are", "varied"])
def test_twelve_epochs_hold_no_more_than_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vary: bool
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    table = noisy_pictures(tmp_path / "own", 2000)
    assert public.prepare("tsv", table, tmp_path / "out", "--val-ratio", "0.01", "--test-ratio", "0") == 0
    found = after_epochs(tmp_path / "out", EPOCHS, vary=vary)
    print("resident MiB after each epoch:", [one // MIB for one in found])
    assert found[-1] - found[1] < GROWTH, [one // MIB for one in found]
