"""A node of the cluster that is lost in the middle of a search: what ran there goes on elsewhere, and nothing is lost."""

from pathlib import Path

import pytest

from tests.e2e import runs
from tests.integration import rays
from tests.integration.test_two_nodes import SECRET, SPACE, home

EPOCHS = 40  # about ten seconds of training


def test_its_trials_go_on_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_a_node(tmp_path, monkeypatch, cpus=(1, 1), workers=1)


def test_groups_of_two_workers_go_on_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_a_node(tmp_path, monkeypatch, cpus=(3, 1), workers=2)  # one group has a worker on each node


def lose_a_node(place: Path, monkeypatch: pytest.MonkeyPatch, *, cpus: tuple[int, int], workers: int) -> None:
    """Search with two trials at a time on two nodes of so many CPUs, and kill the second one's raylet under one of them."""
    for name, value in SECRET.items():
        monkeypatch.setenv(name, value)
    space = runs.write_space(place, SPACE)
    arguments = (runs.script("search/run.py"), "--space", str(space), "--workers-per-trial", str(workers))
    arguments += (f"--set=training.epochs={EPOCHS}",)
    title = runs.TRAIN_WORKER if workers > 1 else runs.TRIAL
    with (
        rays.head(num_cpus=cpus[0], **home(place, "one")) as first,
        rays.further_node(first, num_cpus=cpus[1], **home(place, "two")) as second,
    ):
        env = runs.environment(**home(place, "driver"))
        with runs.started((*arguments, "--address", first.address), folder=place, env=env) as command:
            folder = runs.run_folder(command, place)

            def trained_there() -> bool:
                there = runs.processes_called(title, second.process.pid)
                # one may be through before the processes of another have come up
                open_ones = [one for one in runs.ledgers(folder).values() if len(one) < EPOCHS]
                return bool(there) and len(open_ones) == 2 and all(len(one) >= 2 for one in open_ones)

            command.wait_for(trained_there, "trials on both nodes")
            lost = second.kill_raylet()
            before = runs.ledgers(folder)
            assert command.wait() == 0, command.text
        left = rays.leftovers(first.address, patience_s=60)
    assert left["groups"] == []
    assert left["free"] == left["whole"] == float(cpus[0])
    runs.wait_for_end(lost, patience_s=runs.END_S)
    assert not any(map(runs.alive, lost))
    rows = runs.trial_rows(folder)
    assert {row["status"] for row in rows.values()} == {"finished"}, [row["reason"] for row in rows.values()]
    epochs = range(1, EPOCHS + 1)
    assert set(runs.history_rows(folder)) == {(name, epoch) for name in rows for epoch in epochs}
    after = runs.ledgers(folder)
    assert set(after) == set(rows)
    for name, ledger in after.items():
        assert [row["epoch"] for row in ledger] == list(epochs)
        told = before.get(name, [])
        assert ledger[: len(told)] == told  # times too: these epochs were not trained again
    logs = [path.read_text() for path in (folder / "logs").glob("*.log")]
    assert any("continues on" in log or "new workers are started" in log for log in logs), logs
    assert "Traceback" not in command.text
