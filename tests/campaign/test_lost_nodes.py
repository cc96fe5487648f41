"""A node of the cluster that is lost in the middle of a search: what ran there goes on elsewhere, and nothing is lost."""

import re
from pathlib import Path

import pytest

from tests.e2e import runs
from tests.integration.test_two_nodes import SECRET, SPACE, home, two_nodes

EPOCHS = 120  # about half a minute of training


def test_its_trials_go_on_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRET.items():
        monkeypatch.setenv(name, value)
    space = runs.write_space(tmp_path, SPACE.replace("epochs: 24", f"epochs: {EPOCHS}"))
    with two_nodes(tmp_path) as (first, second):
        arguments = (runs.script("search/run.py"), "--space", str(space), "--address", first.address)
        env = runs.environment(**home(tmp_path, "driver"))
        with runs.started(arguments, folder=tmp_path, env=env) as command:
            folder = runs.run_folder(command, tmp_path)

            def trained_there() -> bool:
                logs = [path.read_text() for path in (folder / "logs").glob("*.log")]
                return any(
                    re.search(rf"starts on {second.address}:", log)
                    and "epoch 2:" in log
                    and f"epoch {EPOCHS}:" not in log
                    for log in logs
                )

            command.wait_for(trained_there, "a trial on the second node")
            second.kill()
            code = command.wait()
    rows = runs.trial_rows(folder)
    assert {row["status"] for row in rows.values()} == {"finished"}, [row["reason"] for row in rows.values()]
    assert code == 0, command.text
    expected = {(name, epoch) for name in rows for epoch in range(1, EPOCHS + 1)}
    assert set(runs.history_rows(folder)) == expected
    assert any("continues on" in path.read_text() for path in (folder / "logs").glob("*.log"))
