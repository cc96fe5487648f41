"""Disks that fill up under a whole search at any byte: one message, exit 2, and a resume that loses nothing."""

import json
import random
import time
from pathlib import Path

import pytest

from tests.campaign import faults
from tests.e2e import runs
from tests.e2e.snapshots import Snapshot, check_nothing_was_lost

DISKS = 3
TRIALS = 6


@pytest.mark.parametrize("seed", range(DISKS))
def test_a_full_disk_ends_a_search_with_one_message_and_loses_nothing(
    seed: int, finished: runs.Finished, tmp_path: Path
) -> None:
    assert faults.may_mount(tmp_path / "probe"), "this campaign fills a disk of its own: run it as root"
    chance = random.Random(seed)
    with faults.small_disk(tmp_path / "disk", mib=200) as disk:
        search = (*finished.arguments, "--trials", str(TRIALS), "--set=training.epochs=6")
        with runs.started(search, folder=disk, env=finished.env) as command:
            folder = runs.run_folder(command, disk)
            command.wait_for(lambda: "prepared in" in command.text, "the first trial")
            time.sleep(chance.uniform(0.0, 6.0))
            ballast = faults.fill(disk, leave=chance.randrange(0, 2_000_000))
            code = command.wait()
        assert code == 2, command.text
        assert command.text.count("error: ") == 1, command.text
        assert "Traceback" not in command.text, command.text
        assert "No space left" in command.text or "full" in command.text
        ballast.unlink()
        before = Snapshot.of(folder)
        assert {row["status"] for row in before.rows.values()} <= {
            "finished",
            "stopped",
            "rejected",
            "running",
        }
        again = (runs.script("search/run.py"), "--resume", str(folder))
        code, text = runs.run(again, folder=disk, env=finished.env)
        assert code == 0, text
        after = Snapshot.of(folder)
        check_nothing_was_lost(before, after)
        assert not after.open
        assert {row["status"] for row in after.rows.values()} <= {"finished", "stopped", "rejected"}
        assert json.loads((folder / "run.json").read_text())["ended_by"] == "trials"
