"""A node that goes down in the middle of a search: its trials go on elsewhere, from their checkpoints."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import runs
from tests.integration import rays
from tests.integration.test_two_nodes import SECRET


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A search one of whose two nodes was killed.

    Attributes:
        folder: the run folder.
        text: what the command said.
        hit: the candidate that trained there.
        before: what it had told by then.
    """

    folder: Path
    text: str
    hit: str
    before: list[dict[str, Any]]


def drivers(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield each candidate with the process that trained it last."""
    for log in folder.glob("logs/*.log"):
        if found := re.findall(r"process (\d+)$", log.read_text(), re.MULTILINE):
            yield log.stem, int(found[-1])


@pytest.fixture(scope="module")
def loss(finished: runs.Finished, tmp_path_factory: pytest.TempPathFactory) -> Loss:
    """Give the command of the finished search again on two nodes, and kill the raylet of the second."""
    place = tmp_path_factory.mktemp("loss")
    with rays.head(num_cpus=1, **SECRET) as head, rays.further_node(head, **SECRET) as second:
        arguments = (*finished.arguments, "--address", head.address)
        with runs.started(arguments, folder=place, env={**finished.env, **SECRET}) as command:
            folder = runs.run_folder(command, place)

            def trained_there() -> str | None:
                told = runs.ledgers(folder)
                with suppress(OSError):
                    here = (name for name, pid in drivers(folder) if name in told and second.holds(pid))
                    return next((name for name in here if told[name][-1]["status"] == "running"), None)
                return None

            hit = command.wait_for(trained_there, "an epoch on the second node")
            second.kill_raylet()
            before = runs.ledgers(folder)[hit]
            assert command.wait() == 0, command.text
            return Loss(folder=folder, text=command.text, hit=hit, before=before)


def test_the_trial_of_the_lost_node_goes_on_from_its_checkpoint(loss: Loss) -> None:
    log = (loss.folder / "logs" / f"{loss.hit}.log").read_text()
    assert f"candidate {loss.hit} continues" in log, log
    after = runs.ledgers(loss.folder)[loss.hit]
    assert after[: len(loss.before)] == loss.before  # times too: these epochs were not trained again


def test_nothing_is_lost_and_nothing_told_twice(loss: Loss, finished: runs.Finished) -> None:
    rows, history = runs.trial_rows(loss.folder), runs.history_rows(loss.folder)
    assert set(rows) == set(runs.trial_rows(finished.folder))
    assert {row["status"] for row in rows.values()} <= {"finished", "stopped"}, loss.text
    expected = {(name, epoch) for name, row in rows.items() for epoch in range(1, row["epochs"] + 1)}
    assert set(history) == expected
    calm = runs.history_rows(finished.folder)
    for key in history.keys() & calm.keys():
        for metric in ("loss", "retention", "mean_recall"):
            assert runs.same({"": history[key][metric]}, {"": calm[key][metric]}), (key, metric)
