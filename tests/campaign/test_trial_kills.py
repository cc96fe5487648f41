"""Kills of the processes that train, by every signal, while their search goes on."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e import runs

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ROUNDS = 4  # with each signal, of all trials that run at that moment
TRIALS = 6 * ROUNDS  # a quick machine has ended several by the time that those which were hit are through
EPOCHS = 12


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_killed_trials_go_on_where_they_were(
    number: signal.Signals, finished: runs.Finished, tmp_path: Path
) -> None:
    nobody_is_stopped = ("--set=search.scheduler.rungs=[]", f"--set=training.epochs={EPOCHS}")
    search = (*finished.arguments, *nobody_is_stopped, "--trials", str(TRIALS))
    moments, hit, rounds = random.Random(int(number)), set[str](), 0
    with runs.started(search, folder=tmp_path, env=finished.env) as command:
        folder = runs.run_folder(command, tmp_path)
        command.wait_for(lambda: "prepared in" in command.text, "the first trial")

        def fresh() -> set[str]:
            running = {name for name, row in runs.trial_rows(folder).items() if row["status"] == "running"}
            return running if running and not running & hit else set()

        while rounds < ROUNDS:  # a candidate that loses its process twice is given up, so each is hit once
            if command.process.poll() is not None:
                break
            running = command.wait_for(fresh, "trials that were not hit yet")
            time.sleep(moments.uniform(0.0, 1.0))
            hit |= running | {
                name for name, row in runs.trial_rows(folder).items() if row["status"] == "running"
            }
            for pid in runs.processes_called(runs.TRIAL, command.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            rounds += 1
        assert command.wait() == 0, command.text
    rows = runs.trial_rows(folder)
    trained = {name: row for name, row in rows.items() if row["status"] != "rejected"}
    assert {row["status"] for row in trained.values()} == {"finished"}, [
        row["reason"] for row in rows.values()
    ]
    expected = {(name, epoch) for name, row in trained.items() for epoch in range(1, row["epochs"] + 1)}
    assert set(runs.history_rows(folder)) == expected
    assert rounds == ROUNDS
