"""kill -9 of the driver at random moments, each followed by --resume: nothing is lost, nothing is trained twice."""

import json
import random
import time
from pathlib import Path

import pytest

from tests.e2e import runs
from tests.e2e.test_resume import Snapshot, check_nothing_was_lost

KILLS = 5
TRIALS = 10
LONGEST_WAIT_S = 12.0


@pytest.mark.timeout(1500)
def test_a_driver_killed_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    space = runs.write_space(tmp_path)
    folder = tmp_path / "run"
    env = runs.environment()
    moments = random.Random(0)
    arguments: tuple[str, ...] = (
        runs.script("search/run.py"),
        "--space",
        str(space),
        "--out",
        str(folder),
        "--trials",
        str(TRIALS),
    )
    kills = 0
    before: Snapshot | None = None
    while kills < KILLS:
        with runs.started(arguments, folder=tmp_path, env=env) as command:
            rows = 0 if before is None else sum(map(len, before.ledgers.values()))

            def one_more(known: int = rows) -> bool:
                return folder.exists() and sum(map(len, runs.ledgers(folder).values())) > known

            try:
                command.wait_for(one_more, "an epoch of this session")
            except AssertionError:
                assert command.wait() == 0, command.text  # it was through before the next kill
                break
            time.sleep(moments.uniform(0.0, LONGEST_WAIT_S))
            command.kill()
        kills += 1
        after = Snapshot.of(folder)
        if before is not None:
            check_nothing_was_lost(before, after)
        before = after
        arguments = (runs.script("search/run.py"), "--resume", str(folder))
    assert kills >= 2
    code, text = runs.run(arguments, folder=tmp_path, env=env)
    assert code == 0, text
    last = Snapshot.of(folder)
    assert before is not None
    check_nothing_was_lost(before, last)
    assert not last.open
    assert json.loads((folder / "run.json").read_text())["ended_by"] == "trials"
    searched = [row for row in last.rows.values() if row["role"] == "search" and row["status"] != "rejected"]
    assert len(searched) == TRIALS
