"""A finished run that is extended until its device-hours are over, and then until its hypervolume stands still."""

import itertools
import json
import shutil
import signal
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e import runs
from tests.e2e.snapshots import Snapshot, check_nothing_was_lost

MORE_S = 0.5  # of training, so that the search ends among its first candidates
TRIALS = 40


@dataclass(frozen=True, kw_only=True)
class Session:
    """How one session of the run ended."""

    code: int
    text: str
    facts: dict[str, Any]
    folder: Snapshot


@pytest.fixture(scope="module")
def sessions(finished: runs.Finished, tmp_path_factory: pytest.TempPathFactory) -> list[Session]:
    """Extend a copy of the finished run twice, each time until another rule ends the search."""
    place = tmp_path_factory.mktemp("rules")
    folder = place / "extended"
    shutil.copytree(finished.folder, folder)
    facts = json.loads((folder / "run.json").read_text())
    ended = [Session(code=0, text=finished.text, facts=facts, folder=Snapshot.of(folder))]
    hours = (facts["device_s"] + MORE_S) / 3600
    still = ("device_hours=null", "plateau.trials=2", "plateau.gain_percent=1000")
    for flags in (
        (
            "--trials",
            str(TRIALS),
            "--device-hours",
            str(hours),
            "--set=latency.samples=100",
        ),  # long enough to be cut off
        tuple(f"--set=search.stop.{rule}" for rule in still),
    ):
        arguments = (runs.script("search/run.py"), "--resume", str(folder), *flags)
        with runs.started(arguments, folder=place, env=finished.env) as command:
            if "--device-hours" in flags:
                command.wait_for(lambda: "test set: student 1" in command.text, "the conclusion")
                command.interrupt(signal.SIGTERM)
            code, text = command.wait(), command.text
        facts = json.loads((folder / "run.json").read_text())
        ended.append(Session(code=code, text=text, facts=facts, folder=Snapshot.of(folder)))
    return ended


def test_a_signal_in_the_conclusion_cuts_the_measuring_off_and_nothing_else(sessions: list[Session]) -> None:
    _, limited, still = sessions
    told = "SIGTERM cut off the measuring of the finalists"
    assert limited.code == 143, limited.text
    assert limited.facts["conclusion_cut"] == told
    assert f"\n{told}; measure them with: student-search run --resume " in limited.text
    assert "Traceback" not in limited.text
    assert still.facts["conclusion_cut"] is None


def test_device_hours_end_the_search_and_say_how_to_go_on(sessions: list[Session]) -> None:
    _, limited, _ = sessions
    assert limited.facts["ended_by"] == "device_hours"
    assert f"the search ended (device hours): {limited.facts['ended_reason']}\n" in limited.text
    assert "CPU-hours are used, search.stop.device_hours is " in limited.facts["ended_reason"]
    assert "go on with: student-search run --resume " in limited.text
    assert any(line.startswith("report: ") for line in limited.text.splitlines())


def test_device_hours_are_counted_over_the_sessions(sessions: list[Session]) -> None:
    for before, after in itertools.pairwise(sessions):
        trained = sum(row["wall_s"] for row in after.folder.rows.values() if row["wall_s"] == row["wall_s"])
        assert after.facts["device_s"] == pytest.approx(trained)  # one worker with one CPU each
        assert after.facts["wall_s"] > before.facts["wall_s"]
    assert sessions[1].facts["device_s"] >= sessions[0].facts["device_s"] + MORE_S


def test_running_candidates_are_cut_off_and_can_be_resumed(sessions: list[Session]) -> None:
    first, limited, _ = sessions
    assert limited.folder.open
    check_nothing_was_lost(first.folder, limited.folder)


def test_a_plateau_lets_the_running_candidates_end_and_begins_no_other(sessions: list[Session]) -> None:
    _, limited, still = sessions
    assert still.code == 0, still.text
    assert still.facts["ended_by"] == "plateau"
    assert f"the search ended (plateau): {still.facts['ended_reason']}\n" in still.text
    check_nothing_was_lost(limited.folder, still.folder)
    assert set(still.folder.rows) == set(limited.folder.rows)
    assert not still.folder.open


def test_the_hypervolume_has_grown_with_every_finished_candidate(sessions: list[Session]) -> None:
    for session in sessions:
        finished = [
            row
            for row in session.folder.rows.values()
            if row["status"] == "finished" and row["role"] == "search"
        ]
        told = session.facts["hypervolume"]
        assert [count for count, _ in told["series"]] == list(range(1, len(finished) + 1))
        assert 0 < told["percent"] == max(percent for _, percent in told["series"]) < 100
        assert f"hypervolume {told['percent']:.1f} % | best of each: retention " in session.text
    assert sessions[2].facts["hypervolume"]["series"][:1] == sessions[0].facts["hypervolume"]["series"][:1]
