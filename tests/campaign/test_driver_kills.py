"""kill -9 of the driver, again and again, at moments that nobody chose."""

import json
import random
import time
from pathlib import Path

import pytest

from tests.e2e import runs
from tests.e2e.snapshots import Snapshot, check_nothing_was_lost, check_rungs_follow_the_trace

# the random beginning is short, so that most proposals depend on what was observed before the kill
SEARCHERS = (
    ["kind=random"],
    ["kind=evolution", "population=4"],
    ["kind=hyperopt", "startup=4"],
    ["kind=random"],
)
KILLS = 5  # of each search: 20 in all
TRIALS = 14
LONGEST_S = 12.0  # after Ray has started; a session alone takes about 20


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(len(SEARCHERS)))
def test_nothing_is_lost_by_any_number_of_kills(seed: int, finished: runs.Finished, tmp_path: Path) -> None:
    moments = random.Random(seed)
    searcher = [f"--set=search.searcher.{option}" for option in SEARCHERS[seed]]
    first = (*finished.arguments, f"--set=search.trials={TRIALS}", *searcher)
    folder = tmp_path / "runs" / "tiny"
    again = (runs.script("search/run.py"), "--resume", str(folder))
    before: Snapshot | None = None
    for kill in range(KILLS):
        with runs.started(again if kill else first, folder=tmp_path, env=finished.env) as command:
            command.wait_for(lambda c=command: "prepared in" in c.text, "the first trial")
            time.sleep(moments.uniform(0.0, LONGEST_S))
            assert command.process.poll() is None, f"it ended before kill {kill}: {command.text}"
            command.kill()
        now = Snapshot.of(folder)
        if before is not None:
            check_nothing_was_lost(before, now)
        before = now
    code, text = runs.run(again, folder=tmp_path, env=finished.env)
    assert code == 0, text
    assert before is not None
    after = Snapshot.of(folder)
    check_nothing_was_lost(before, after)
    assert not after.open
    searched = [r for r in after.rows.values() if r["role"] == "search" and r["status"] != "rejected"]
    assert len(searched) == TRIALS
    expected = {(name, epoch) for name, row in after.rows.items() for epoch in range(1, row["epochs"] + 1)}
    assert set(after.history) == expected
    check_rungs_follow_the_trace(folder)
    assert len(json.loads((folder / "run.json").read_text())["resumed"]) == KILLS
