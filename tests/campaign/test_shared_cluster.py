"""A cluster that others use, that loses nodes and gets new ones: the search waits where it must, and loses nothing."""

import re
import time
from pathlib import Path

from tests.e2e import runs
from tests.integration import rays
from tests.integration.test_cluster import TWO_WORKERS
from tests.integration.test_two_nodes import SECRET

HELD_S = 180.0


def check_nothing_lost(folder: Path, text: str, *, cut: bool = False) -> None:
    """Check that each epoch of each candidate is told once, and that none has failed."""
    rows = runs.trial_rows(folder)
    allowed = {"finished", "stopped", "running"} if cut else {"finished", "stopped"}
    assert {row["status"] for row in rows.values()} <= allowed, text
    expected = {(name, epoch) for name, row in rows.items() for epoch in range(1, row["epochs"] + 1)}
    assert set(runs.history_rows(folder)) == expected


def two_workers(place: Path, *flags: str) -> tuple[str, ...]:
    """Return the command of a search with two workers a trial."""
    space = runs.write_space(place, TWO_WORKERS)
    return (runs.script("search/run.py"), "--space", str(space), "--workers-per-trial", "2", *flags)


def test_a_foreign_group_held_for_three_minutes_disturbs_nothing(tmp_path: Path) -> None:
    with rays.head(num_cpus=4) as ours, rays.foreigner(ours.address) as other:
        other.hold(2)
        arguments = two_workers(tmp_path, "--address", ours.address, "--trials=500", "--wall-hours=0.2")
        with runs.started(arguments, folder=tmp_path, env=runs.environment()) as command:
            folder = runs.run_folder(command, tmp_path)
            command.wait_for(lambda: runs.ledgers(folder), "the first epoch")
            time.sleep(HELD_S)
            told = len(runs.ledgers(folder))
            command.wait_for(lambda: len(runs.ledgers(folder)) > told, "another candidate")
            command.interrupt()
            assert command.wait() == 130, command.text
        assert rays.leftovers(ours.address, patience_s=60)["free"] == 2.0  # the other job's are still its own
    assert "given back" not in command.text
    check_nothing_lost(folder, command.text, cut=True)


def test_drivers_of_workers_spread_over_the_nodes(tmp_path: Path) -> None:
    space = str(runs.write_space(tmp_path))
    with rays.head(num_cpus=1, **SECRET) as ours, rays.further_node(ours, **SECRET):
        arguments = (
            runs.script("search/run.py"),
            "--space",
            space,
            "--address",
            ours.address,
            "--train=always",
        )
        code, text = runs.run(arguments, folder=tmp_path, env=runs.environment(**SECRET))
    assert code == 0, text
    folder = tmp_path / "runs" / "tiny"
    logs = [log.read_text() for log in (folder / "logs").glob("*.log")]
    assert len({found for log in logs for found in re.findall(r"starts on (\S+): ", log)}) == 2, logs
    check_nothing_lost(folder, text)


def test_workers_whose_node_is_killed_wait_for_another_one_and_go_on(tmp_path: Path) -> None:
    with rays.head(num_cpus=1, **SECRET) as ours, rays.further_node(ours, **SECRET) as second:
        arguments = two_workers(tmp_path, "--address", ours.address)
        with runs.started(arguments, folder=tmp_path, env=runs.environment(**SECRET)) as command:
            folder = runs.run_folder(command, tmp_path)
            command.wait_for(lambda: runs.ledgers(folder), "the first epoch")
            second.kill_raylet()
            lacks = "1 waits: one trial needs 2 CPUs (2 workers of 1), "
            command.wait_for(lambda: lacks in command.text, "a wait for resources")
            with rays.further_node(ours, **SECRET):
                assert command.wait() == 0, command.text
    assert "a node has gone or is still to come" in command.text
    assert "no trial waits for resources any more" in command.text
    check_nothing_lost(folder, command.text)


def test_a_cluster_that_begins_with_nothing_grows_as_the_search_needs_it(tmp_path: Path) -> None:
    space = str(runs.write_space(tmp_path))
    with rays.growing_head(workers=2) as ours:
        arguments = (runs.script("search/run.py"), "--space", space, "--address", ours.address)
        with runs.started(arguments, folder=tmp_path, env=runs.environment()) as command:
            folder = runs.run_folder(command, tmp_path)
            assert command.wait() == 0, command.text
    # the first to need a CPU is the measuring of the teacher; it is there when the trials begin
    assert "2 trials at a time" in command.text or "1 trial at a time" in command.text
    assert re.search(r"^4/4 done|^3/3 done", command.text, re.MULTILINE), command.text
    check_nothing_lost(folder, command.text)
