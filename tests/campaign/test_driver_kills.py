"""Kills of the driver, again and again, by every signal, at moments that nobody chose."""

import json
import os
import random
import signal
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
)
SIGNALS = (
    signal.SIGKILL,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGKILL,
    signal.SIGTERM,
)  # of each search: 15 in all
TRIALS = 500  # more than all sessions get to, on any machine
MORE = 3  # trials of the last session, which nobody kills
LONGEST_S = 8.0  # after Ray has started


@pytest.mark.parametrize("seed", range(len(SEARCHERS)))
def test_nothing_is_lost_by_any_number_of_kills(seed: int, finished: runs.Finished, tmp_path: Path) -> None:
    moments = random.Random(seed)
    searcher = [f"--set=search.searcher.{option}" for option in SEARCHERS[seed]]
    first = (*finished.arguments, f"--set=search.trials={TRIALS}", *searcher)
    folder = tmp_path / "runs" / "tiny"
    again = (runs.script("search/run.py"), "--resume", str(folder))
    before: Snapshot | None = None
    for kill, number in enumerate(moments.sample(SIGNALS, len(SIGNALS))):
        with runs.started(again if kill else first, folder=tmp_path, env=finished.env) as command:
            command.wait_for(lambda c=command: "prepared in" in c.text, "the first trial")
            time.sleep(moments.uniform(0.0, LONGEST_S))
            assert command.process.poll() is None, f"it ended before kill {kill}: {command.text}"
            end(command, number, folder)
        now = Snapshot.of(folder)
        if before is not None:
            check_nothing_was_lost(before, now)
        before = now
    assert before is not None
    trials = len(_tried(before)) + MORE
    code, text = runs.run((*again, "--trials", str(trials)), folder=tmp_path, env=finished.env)
    assert code == 0, text
    after = Snapshot.of(folder)
    check_nothing_was_lost(before, after)
    assert not after.open
    assert len(_tried(after)) == trials
    expected = {(name, epoch) for name, row in after.rows.items() for epoch in range(1, row["epochs"] + 1)}
    assert set(after.history) == expected
    check_rungs_follow_the_trace(folder)
    assert len(json.loads((folder / "run.json").read_text())["resumed"]) == len(SIGNALS)


def end(command: runs.Command, number: signal.Signals, folder: Path) -> None:
    """End a search by a signal, and check that it ends as that signal asks."""
    if number == signal.SIGKILL:
        command.kill()
        return
    asked = time.time()
    if number == signal.SIGINT:
        command.interrupt()  # a terminal signals the whole group
    else:
        os.kill(command.pid, number)
    code = command.wait()
    assert code == 128 + number, command.text
    assert "Traceback" not in command.text, command.text
    assert f"--resume {folder.relative_to(folder.parents[1])}" in command.text or str(folder) in command.text
    facts = json.loads((folder / "run.json").read_text())
    assert facts["ended_by"] == "interrupted"
    assert (folder / "report.html").stat().st_mtime > asked - 1.0  # file systems count in coarser steps


def _tried(run: Snapshot) -> list[str]:
    """Return the candidates that count as trials."""
    rows = run.rows.items()
    return [name for name, row in rows if row["role"] == "search" and row["status"] != "rejected"]
