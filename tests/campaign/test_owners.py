"""Two owners, a clock that is set back, and data that change, each at moments that nobody chose."""

import json
import random
import time
from pathlib import Path

import pytest

from tests.campaign import faults
from tests.e2e import runs
from tests.e2e.snapshots import Snapshot, check_nothing_was_lost, check_rungs_follow_the_trace
from tests.e2e.test_bad_data import make_rows, write_rows

SECOND = 2


def test_a_second_owner_is_refused_at_any_moment_and_the_first_goes_on(
    finished: runs.Finished, tmp_path: Path
) -> None:
    moments = random.Random(0)
    with runs.started(
        (*finished.arguments, "--trials", "60"),
        folder=tmp_path,
        env=finished.env,
    ) as command:
        folder = runs.run_folder(command, tmp_path)
        for command_line in (
            ("search/run.py", "--resume", str(folder)),
            ("search/control.py", str(folder)),
            ("search/run.py", "--resume", str(folder), "--trials", "80"),
        ):
            time.sleep(moments.uniform(0.0, 8.0))
            assert command.process.poll() is None, command.text
            code, text = runs.run(
                (runs.script(command_line[0]), *command_line[1:]), folder=tmp_path, env=finished.env
            )
            assert code == 2, text
            assert text.count("error: ") == 1, text
            assert str(command.pid) in text, text
            assert "Traceback" not in text, text
        before = Snapshot.of(folder)
        command.kill()
    trials = len([row for row in runs.trial_rows(folder).values() if row["status"] != "rejected"])
    again = (runs.script("search/run.py"), "--resume", str(folder), "--trials", str(trials))
    code, text = runs.run(again, folder=tmp_path, env=finished.env)  # at once: the dead owner owns nothing
    assert code == 0, text
    check_nothing_was_lost(before, Snapshot.of(folder))
    check_rungs_follow_the_trace(folder)


def test_a_clock_that_is_set_back_changes_no_result(finished: runs.Finished, tmp_path: Path) -> None:
    more, flag = faults.clock_environment(tmp_path)
    env = {**finished.env, **more}
    with runs.started(finished.arguments, folder=tmp_path, env=env) as command:
        folder = runs.run_folder(command, tmp_path)
        command.wait_for(lambda: runs.ledgers(folder), "the first epoch")
        flag.touch()
        assert command.wait() == 0, command.text
    calm, shifted = runs.history_rows(finished.folder), runs.history_rows(folder)
    times = [row["time"] for row in shifted.values()]
    assert max(times) - min(times) > 1800, "the clock was not set back"
    for key in calm.keys() & shifted.keys():
        same = {
            name: value
            for name, value in calm[key].items()
            if name not in ("time", "wall_s", "cpu_s", "epoch_s", "peak_mib", "status")
        }
        assert runs.same({name: shifted[key][name] for name in same}, same)
    assert {row["status"] for row in runs.trial_rows(folder).values()} <= {"finished", "stopped", "rejected"}
    assert all(row["wall_s"] >= 0 for row in shifted.values())
    before = Snapshot.of(folder)
    again = (runs.script("search/run.py"), "--resume", str(folder), "--trials", "5")
    code, text = runs.run(again, folder=tmp_path, env=finished.env)
    assert code == 0, text
    check_nothing_was_lost(before, Snapshot.of(folder))


@pytest.mark.parametrize("seed", range(SECOND))
def test_data_that_change_under_a_search_end_it_and_it_goes_on_when_they_are_back(
    seed: int, finished: runs.Finished, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    rows = make_rows(tmp_path)
    flag = write_rows(tmp_path, rows)
    data = tmp_path / "pairs.jsonl"
    truth = data.read_text()
    search = (
        runs.script("search/run.py"), "--space", str(runs.write_space(tmp_path)), "--dataset", flag, "--trials", "6",
        "--set=evaluation.images=2", "--set=search.scheduler.rungs=[]", "--set=training.epochs=12",
        "--set=losses.vqa.weight=0",
    )  # fmt: skip
    with runs.started(search, folder=tmp_path, env=finished.env) as command:
        folder = runs.run_folder(command, tmp_path)
        command.wait_for(lambda: runs.ledgers(folder), "the first epoch")
        time.sleep(chance.uniform(0.0, 3.0))
        data.write_text(json.dumps({**rows[0], "caption": "a blue square"}) + "\n" + truth)
        code = command.wait()
    assert code == 2, command.text
    assert command.text.count("error: ") == 1, command.text
    assert "pairs.jsonl" in command.text
    assert "Traceback" not in command.text
    before = Snapshot.of(folder)
    assert {row["status"] for row in before.rows.values()} <= {"finished", "stopped", "rejected", "running"}
    again = (runs.script("search/run.py"), "--resume", str(folder))
    code, text = runs.run(again, folder=tmp_path, env=finished.env)
    assert code == 2, text  # the data are still others
    data.write_text(truth)
    code, text = runs.run(again, folder=tmp_path, env=finished.env)
    assert code == 0, text
    after = Snapshot.of(folder)
    check_nothing_was_lost(before, after)
    assert {row["status"] for row in after.rows.values()} <= {"finished", "stopped", "rejected"}
