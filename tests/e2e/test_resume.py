"""One run through everything that may happen to it: finished, extended, Ctrl-C, SIGTERM, kill -9, and finished unheard.

Whatever happens, no epoch that was recorded is lost, no finished trial is trained again, and no decision of the
scheduler is forgotten.
"""

import json
import shutil
import signal
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import runs
from tests.e2e.snapshots import Snapshot, check_nothing_was_lost, check_rungs_follow_the_trace

TRIALS = 14  # more than a quick machine tries before the last of the signals comes


@dataclass(frozen=True, kw_only=True)
class Story:
    """The run folder after each session, and how each ended; `killed` after kill -9, and after SIGTERM."""

    finished: Snapshot
    interrupted: Snapshot
    interrupt_code: int
    interrupt_text: str
    second_code: int
    second_text: str
    interrupt_facts: dict[str, Any]
    report_drawn: bool
    killed: list[Snapshot]
    resumed: Snapshot
    resume_code: int
    terminate_code: int
    terminate_text: str
    terminate_facts: dict[str, Any]
    facts: dict[str, Any]
    folder: Path


@pytest.fixture(scope="module")
def story(finished: runs.Finished, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Take a copy of a finished run through three more sessions."""
    place = tmp_path_factory.mktemp("story")
    folder = place / "moved"  # a run can be copied and moved
    shutil.copytree(finished.folder, folder)
    search = (runs.script("search/run.py"), "--resume", str(folder))
    first = Snapshot.of(folder)

    def new_epochs(before: Snapshot) -> bool:
        return sum(map(len, runs.ledgers(folder).values())) > sum(map(len, before.ledgers.values()))

    with runs.started((*search, "--trials", str(TRIALS)), folder=place, env=finished.env) as command:
        command.wait_for(lambda: new_epochs(first), "an epoch of the extended run")
        with runs.held(runs.processes_called(runs.TRIAL, command.pid)):
            second_code, second_text = runs.run(search, folder=place, env=finished.env)
        second_text = second_text.replace(f" {command.pid} ", " PID ")
        interrupted_at = time.time()
        command.interrupt()
        interrupt_code, interrupt_text = command.wait(), command.text
    second = Snapshot.of(folder)
    facts = json.loads((folder / "run.json").read_text())
    report_drawn = (folder / "report.html").stat().st_mtime > interrupted_at

    killed = [second]
    with runs.started(search, folder=place, env=finished.env) as command:
        command.wait_for(lambda: new_epochs(killed[-1]), "an epoch of the resumed run")
        command.kill()
    killed.append(Snapshot.of(folder))
    with runs.started(search, folder=place, env=finished.env) as command:
        command.wait_for(lambda: new_epochs(killed[-1]), "an epoch of the run that is resumed once more")
        command.interrupt(signal.SIGTERM)  # Ray has set handlers of its own by now
        terminate_code, terminate_text = command.wait(), command.text
    killed.append(Snapshot.of(folder))
    terminate_facts = json.loads((folder / "run.json").read_text())

    resume_code = runs.run_unheard(search, folder=place, env=finished.env)
    return Story(
        finished=first,
        interrupted=second,
        interrupt_code=interrupt_code,
        interrupt_text=interrupt_text,
        second_code=second_code,
        second_text=second_text,
        interrupt_facts=facts,
        report_drawn=report_drawn,
        killed=killed[1:],
        resumed=Snapshot.of(folder),
        resume_code=resume_code,
        terminate_code=terminate_code,
        terminate_text=terminate_text,
        terminate_facts=terminate_facts,
        facts=json.loads((folder / "run.json").read_text()),
        folder=folder,
    )


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(story: Story) -> None:
    assert story.interrupt_code == 130, story.interrupt_text
    assert "results are kept" in story.interrupt_text
    assert "--resume" in story.interrupt_text.splitlines()[-1]
    assert "Traceback" not in story.interrupt_text


def test_a_second_process_is_told_who_works_in_the_folder(story: Story) -> None:
    assert story.second_code == 2
    told = story.second_text
    assert told.startswith(
        f"error: run folder {story.folder}: process PID on this machine works in it (python "
    )
    assert f"--resume {story.folder} --trials {TRIALS}, since 20" in told
    assert "allowed: one at a time. Wait for its end, or end it: kill -INT PID (what it has is kept)" in told
    assert told.count("\n") == 1


def test_a_killed_process_leaves_its_place_to_the_next(story: Story) -> None:
    assert story.terminate_text.count("ended without giving it back") == 1
    assert not (story.folder / "owner.json").exists()


def test_each_session_is_kept_with_its_command_and_code(story: Story) -> None:
    sessions = story.facts["sessions"]
    assert [one["ended_by"] for one in sessions] == ["trials", "interrupted", None, "interrupted", "trials"]
    assert len({one["code"] for one in sessions}) == 1
    assert f"--trials {TRIALS}" in sessions[1]["command"]
    assert "WARNING: the code" not in story.terminate_text


def test_ctrl_c_keeps_every_result_and_draws_the_report(story: Story) -> None:
    check_nothing_was_lost(story.finished, story.interrupted)
    assert story.interrupt_facts["ended_by"] == "interrupted"
    assert any(line.startswith("report: ") for line in story.interrupt_text.splitlines())
    assert story.report_drawn
    assert story.interrupted.open  # it came in the middle of the search


def test_sigterm_ends_like_ctrl_c_with_143(story: Story) -> None:
    assert story.terminate_code == 143, story.terminate_text
    assert story.terminate_facts["ended_by"] == "interrupted"
    assert any(line.startswith("report: ") for line in story.terminate_text.splitlines())
    assert "--resume" in story.terminate_text.splitlines()[-1]
    for complaint in ("Traceback", "SIGTERM received"):  # the second is of Ray's handler, which aborts
        assert complaint not in story.terminate_text


def test_a_finished_run_is_extended_without_training_anything_twice(story: Story) -> None:
    searched = [row for row in story.resumed.rows.values() if row["role"] == "search"]
    assert len([row for row in searched if row["status"] != "rejected"]) == TRIALS
    check_nothing_was_lost(story.finished, story.resumed)


def test_no_signal_loses_an_epoch_and_the_run_is_finished_after_them_though_nobody_listens(
    story: Story,
) -> None:
    assert all(one.open for one in story.killed)  # they came in the middle of the search
    assert story.resume_code == 0
    for before, after in pairwise([story.interrupted, *story.killed, story.resumed]):
        check_nothing_was_lost(before, after)
    assert not story.resumed.open


def test_the_rungs_are_those_of_the_trace(story: Story) -> None:
    check_rungs_follow_the_trace(story.folder)


def test_every_epoch_of_the_whole_story_stands_in_the_history_once(story: Story) -> None:
    expected = {
        (name, epoch) for name, row in story.resumed.rows.items() for epoch in range(1, row["epochs"] + 1)
    }
    assert set(story.resumed.history) == expected
    for name, row in story.resumed.rows.items():
        assert row["epochs"] == runs.EPOCHS or row["status"] != "finished", name


def test_proposals_go_on_where_they_were(story: Story) -> None:
    numbers = [row["proposal"] for row in story.resumed.rows.values() if row["proposal"] >= 0]
    assert len(set(numbers)) == len(numbers)
    for name, row in story.finished.rows.items():
        assert story.resumed.rows[name]["proposal"] == row["proposal"]


def test_the_run_tells_how_often_it_was_resumed(story: Story) -> None:
    assert len(story.facts["resumed"]) == 4
    assert story.facts["ended_by"] == "trials"
