"""Trials that lose their process or break: the search goes on, and a lost one continues where it was."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import runs

TIMES = ("time", "wall_s", "cpu_s", "epoch_s", "peak_mib", "status")


@dataclass(frozen=True, kw_only=True)
class Faults:
    """A search that met both faults.

    Attributes:
        folder: its run folder.
        broken: the candidate whose checkpoint cannot be read.
        before: what workers had written down when their processes were killed.
        text: what the command said.
    """

    folder: Path
    broken: str
    before: dict[str, list[dict[str, Any]]]
    text: str


@pytest.fixture(scope="module")
def faults(finished: runs.Finished) -> Faults:
    """Give the command of the finished search again; break one trial and kill the processes of all others."""
    searched = [row for row in runs.trial_rows(finished.folder).values() if row["role"] == "search"]
    broken = str(max(searched, key=lambda row: row["proposal"])["candidate_id"])
    with runs.started(finished.arguments, folder=finished.place, env=finished.env) as command:
        folder = runs.run_folder(command, finished.place)
        (folder / "checkpoints" / broken / "checkpoint.pt").mkdir(parents=True)
        command.wait_for(lambda: runs.ledgers(folder), "the first epoch of a trial")
        killed = runs.processes_called(runs.TRIAL, command.pid)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        before = runs.ledgers(folder)
        assert killed
        assert command.wait() == 0, command.text
        return Faults(folder=folder, broken=broken, before=before, text=command.text)


def test_the_same_command_again_makes_a_second_folder(finished: runs.Finished, faults: Faults) -> None:
    assert finished.folder.name == "tiny"
    assert faults.folder == finished.folder.with_name("tiny-2")
    assert set(runs.trial_rows(faults.folder)) == set(runs.trial_rows(finished.folder))
    facts = [json.loads((one / "run.json").read_text()) for one in (finished.folder, faults.folder)]
    assert facts[0]["started"] < facts[1]["started"]


def test_a_killed_trial_goes_on_from_its_checkpoint(faults: Faults) -> None:
    after = runs.ledgers(faults.folder)
    assert faults.before
    for name, ledger in faults.before.items():
        assert after[name][: len(ledger)] == ledger  # times too: these epochs were not trained again
        unfinished = ledger[-1]["status"] != "finished"
        assert not unfinished or "continues" in (faults.folder / "logs" / f"{name}.log").read_text()


def test_a_killed_trial_ends_as_if_it_had_never_been_killed(finished: runs.Finished, faults: Faults) -> None:
    calm, troubled = runs.history_rows(finished.folder), runs.history_rows(faults.folder)
    common = calm.keys() & troubled.keys()
    assert {name for name, _ in common} >= set(faults.before)
    for key in common:
        for column, value in calm[key].items():
            if column not in TIMES and value == value:
                assert troubled[key][column] == value, (key, column)


def test_no_epoch_is_missing_or_double(faults: Faults) -> None:
    rows = runs.trial_rows(faults.folder)
    expected = {(name, epoch) for name, row in rows.items() for epoch in range(1, row["epochs"] + 1)}
    assert set(runs.history_rows(faults.folder)) == expected
    for name, row in rows.items():
        assert name == faults.broken or row["status"] in ("finished", "stopped"), row["reason"]


def test_a_broken_trial_is_crashed_with_the_path_of_its_log(faults: Faults) -> None:
    row = runs.trial_rows(faults.folder)[faults.broken]
    assert row["status"] == "crashed"
    assert "checkpoint.pt" in row["reason"]
    assert f"logs/{faults.broken}.log" in row["reason"]
    assert "Traceback" in (faults.folder / "logs" / f"{faults.broken}.log").read_text()
    assert row["checkpoint"] == ""
    assert row["epochs"] == 0


def test_the_report_tells_the_broken_trial_and_why(faults: Faults) -> None:
    report = (faults.folder / "report.html").read_text()
    assert faults.broken in report
    assert "crashed" in report


@dataclass(frozen=True, kw_only=True)
class Retry:
    """The run of the faults, gone on with by `--retry-failed`, what broke one candidate mended.

    Attributes:
        folder: a copy of its run folder.
        events: what the command told on standard output.
        log: what it kept in a file.
    """

    folder: Path
    events: list[dict[str, Any]]
    log: str


@pytest.fixture(scope="module")
def retry(faults: Faults, finished: runs.Finished, tmp_path_factory: pytest.TempPathFactory) -> Retry:
    """Go on with a copy of the run, told by a cluster that is dead that it is to be joined."""
    place = tmp_path_factory.mktemp("retry")
    folder = Path(shutil.copytree(faults.folder, place / "again"))
    (folder / "checkpoints" / faults.broken / "checkpoint.pt").rmdir()
    arguments = (runs.script("search/run.py"), "--resume", str(folder), "--retry-failed", "--json")
    done = subprocess.run(
        [sys.executable, *arguments, "--log", str(place / "search.log"), "--max-concurrent", "1"],
        cwd=place,
        env={**finished.env, "RAY_ADDRESS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=runs.PATIENCE_S,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return Retry(folder=folder, events=events, log=(place / "search.log").read_text())


def test_a_failed_candidate_is_trained_when_that_is_asked_for(faults: Faults, retry: Retry) -> None:
    before, after = runs.trial_rows(faults.folder), runs.trial_rows(retry.folder)
    assert set(after) == set(before)
    assert after[faults.broken]["status"] in ("finished", "stopped")
    assert after[faults.broken]["reason"] != before[faults.broken]["reason"]
    assert f"1 that had crashed or run out of memory go on: {faults.broken}" in retry.log
    history = runs.history_rows(retry.folder)  # no epoch twice
    for key, row in runs.history_rows(faults.folder).items():
        assert runs.same(history[key], row)
    assert {epoch for name, epoch in history if name == faults.broken} == set(
        range(1, after[faults.broken]["epochs"] + 1)
    )


def test_a_program_reads_events_on_standard_output_and_nothing_else(retry: Retry) -> None:
    first, *between, last = retry.events
    assert (first["event"], first["resumed"], first["folder"]) == ("run", True, str(retry.folder))
    assert {event["event"] for event in between} == {"progress"}
    assert between[-1]["done"] == between[-1]["trials"] == runs.EPOCHS
    assert (last["event"], last["exit_code"], last["ended_by"]) == ("end", 0, "trials")
    rows = runs.trial_rows(retry.folder)
    searched = [row["status"] for row in rows.values() if row["role"] == "search"]
    assert last["statuses"] == {name: searched.count(name) for name in set(searched)}
    for axis in ("params", "flops", "latency_ms"):
        assert set(last["fronts"][axis]) == {name for name, row in rows.items() if row[f"on_front_{axis}"]}
    assert Path(last["report"]).is_file()


def test_a_dead_cluster_in_the_environment_disturbs_no_search_of_its_own(retry: Retry) -> None:
    assert re.search(r"UTC 1 trial at a time, each 1 worker of 1 CPU", retry.log), retry.log
    (told,) = [line for line in retry.log.splitlines() if "127.0.0.1:1" in line]
    assert "RAY_ADDRESS=127.0.0.1:1 is set, but no --address: trials run on this machine alone" in told


def test_auto_names_the_dead_cluster_in_one_line(tmp_path: Path, finished: runs.Finished) -> None:
    env = {**finished.env, "RAY_ADDRESS": "127.0.0.1:1"}
    arguments = (*finished.arguments, "--address", "auto")
    code, text = runs.run(arguments, folder=tmp_path, env=env)
    assert code == 2, text
    said = [line for line in text.splitlines() if "--address" in line]
    assert len(said) == 1, text
    assert re.match(
        r"(error: )?--address auto \(RAY_ADDRESS=127.0.0.1:1\): no Ray cluster answers \(", said[0]
    )
    assert "Traceback" not in text
    assert not list(tmp_path.glob("runs/*/run.json"))
