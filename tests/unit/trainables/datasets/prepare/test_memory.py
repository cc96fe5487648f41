"""Memory does not grow with epochs; the campaign does the same with 2,000 pictures and with variation."""

import os
import subprocess
import sys
from pathlib import Path

from tests.house.tree import ROOT
from tests.unit.trainables.datasets.prepare import public
from tests.unit.trainables.datasets.prepare.memory import MIB, after_epochs, noisy_pictures

GROWTH = 15 * MIB  # a third of what three epochs of these pictures would leave behind


def test_reading_epoch_after_epoch_holds_no_more(tmp_path: Path) -> None:
    table = noisy_pictures(tmp_path / "own", 250)
    assert public.prepare("tsv", table, tmp_path / "out", "--val-ratio", "0.02", "--test-ratio", "0") == 0
    assert public.manifest(tmp_path / "out")["shards"][0]["bytes"] > 10 * MIB
    found = after_epochs(tmp_path / "out", 5, vary=False)
    assert found[4] - found[1] < GROWTH, [one // MIB for one in found]


def test_a_process_that_makes_shards_needs_no_torch() -> None:
    """Torch would be some 400 MB and seconds for each process, none of which a shard needs."""
    code = "import sys, trainables.datasets.prepare.making; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=False).returncode == 0
    )
