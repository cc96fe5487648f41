"""A node that does not see run folder and storage: told before work begins; or once, when it joins later. Takes root."""

from pathlib import Path

import pytest

from tests.campaign import faults
from tests.e2e import runs
from tests.integration import rays
from tests.integration.test_two_nodes import SECRET, SPACE, home


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Return the command of a search below `runs`, which the second node does not see, less its address."""
    assert faults.may_mount(tmp_path / "probe"), "this campaign hides a folder from a node: run it as root"
    for name, value in SECRET.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "runs").mkdir()
    return (runs.script("search/run.py"), "--space", str(runs.write_space(tmp_path, SPACE)))


def test_a_node_that_does_not_see_the_storage_is_named_before_anything_is_prepared(
    search: tuple[str, ...], tmp_path: Path
) -> None:
    with (
        rays.head(num_cpus=1, **home(tmp_path, "one")) as first,
        rays.further_node(first, hidden=tmp_path / "runs", **home(tmp_path, "two")) as second,
    ):
        env = runs.environment(**home(tmp_path, "driver"))
        code, text = runs.run((*search, "--address", first.address), folder=tmp_path, env=env)
        assert code == 2, text
        storage = tmp_path / "runs" / ".storage"
        assert f"error: --storage {storage}: the nodes {second.address} do not see it." in text
        assert "Traceback" not in text
        assert "measuring the teacher" not in text
        seen = tmp_path / "storage"  # by both
        arguments = (*search, "--address", first.address, "--storage", str(seen))
        code, text = runs.run(arguments, folder=tmp_path, env=env)
        assert code == 2, text
        assert f"error: --out {tmp_path / 'runs' / 'tiny'}: the nodes {second.address} do not see it." in text
        assert not (tmp_path / "runs" / "tiny").exists()


def test_a_node_that_joins_later_ends_the_search_once_and_is_named(
    search: tuple[str, ...], tmp_path: Path
) -> None:
    with rays.head(num_cpus=1, **home(tmp_path, "one")) as first:
        env = runs.environment(**home(tmp_path, "driver"))
        arguments = (*search, "--address", first.address, "--set=training.epochs=400", "--trials", "6")
        with runs.started(arguments, folder=tmp_path, env=env) as command:
            folder = runs.run_folder(command, tmp_path)
            command.wait_for(lambda: list((folder / "history").glob("*")), "an epoch")
            with rays.further_node(first, hidden=tmp_path / "runs", **home(tmp_path, "two")):
                assert command.wait() == 2, command.text
    assert "does not see this folder" in command.text
    assert f"run folder {folder}" in command.text
    assert "(nothing is lost)" in command.text
    assert "process lost" not in command.text
    rows = runs.trial_rows(folder).values()
    assert {row["status"] for row in rows} <= {"running", "finished", "stopped"}, [
        row["reason"] for row in rows
    ]
