"""Searches on two nodes whose homes differ: nothing that they need lies in any of them; then one of the nodes is lost."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import runs
from tests.integration import rays

SPACE = runs.SPACE.replace("trials: 3", "trials: 2").replace("rungs: [1]", "rungs: []")
HELD_AT = 2
LOST_SPACE = runs.SPACE.replace("trials: 3", "trials: 1").replace("rungs: [1]", "rungs: []")
SECRET = {
    "RAY_AUTH_TOKEN": "5" * 64,
    "RAY_AUTH_MODE": "token",
}  # Ray keeps its own in the home of who starts it

# While a callback has not returned, Ray Tune asks no trial for its next epoch
HELD = """\
import sys, time
from pathlib import Path

from ray.tune import Callback

from search.api import search

space, place, address, node, epoch = sys.argv[1:]


class Hold(Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        if (result["node_ip"], result["epoch"]) == (node, int(epoch)):
            (Path(place) / "held.part").write_text(result["candidate_id"])
            (Path(place) / "held.part").rename(Path(place) / "held")
            while not (Path(place) / "lost").exists():
                time.sleep(0.02)


search(space, address=address, callbacks=[Hold()])
"""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What became of a search on two nodes.

    Attributes:
        place: in which it was started; the homes of both nodes and of the search lie there, too.
        folder: the run folder.
        text: what it said.
    """

    place: Path
    folder: Path
    text: str


@contextmanager
def two_nodes(place: Path, *, num_cpus: int = 1) -> Iterator[tuple[rays.Head, rays.Node]]:
    """Start a head and a further node, each with so many CPUs and a home of its own."""
    with (
        rays.head(num_cpus=num_cpus, **home(place, "one")) as first,
        rays.further_node(first, num_cpus=num_cpus, **home(place, "two")) as second,
    ):
        yield first, second


def home(place: Path, name: str) -> dict[str, str]:
    """Return the environment of somebody whose home is his own."""
    folder = place / "homes" / name
    folder.mkdir(parents=True, exist_ok=True)
    return {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / ".cache"), **SECRET}


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """Two nodes, and a place that both see."""

    place: Path
    first: rays.Head
    second: rays.Node


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch_module: pytest.MonkeyPatch
) -> Iterator[Nodes]:
    """Start them; whoever loses one comes last."""
    place = tmp_path_factory.mktemp("two-nodes")
    for name, value in SECRET.items():
        monkeypatch_module.setenv(name, value)
    with two_nodes(place) as (first, second):
        yield Nodes(place=place, first=first, second=second)


@pytest.fixture(scope="module")
def visit(nodes: Nodes) -> Visit:
    """Search with two trials at a time, one on each node."""
    place = nodes.place
    arguments = (runs.script("search/run.py"), "--space", str(runs.write_space(place, SPACE)))
    env = runs.environment(**home(place, "driver"))
    where = ("--address", nodes.first.address, "--node-copies", "disk")
    with runs.started((*arguments, *where), folder=place, env=env) as command:
        hold_the_first_for_the_second(command)
        code, text = command.wait(), command.text
    assert code == 0, text
    return Visit(place=place, folder=place / "runs" / "tiny", text=text)


def hold_the_first_for_the_second(command: runs.Command) -> None:
    """Let the first trial go on when the second one has a process, too: else Tune may give it that of the first."""

    def trials() -> list[int]:
        return runs.processes_called(runs.TRIAL, os.getpid())  # both nodes are ours

    with runs.held(command.wait_for(trials, "a trial")):
        command.wait_for(lambda: len(trials()) >= 2, "a trial on the other node")


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    """Return a monkeypatch for the whole module."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_trials_on_both_nodes_come_to_their_end(visit: Visit) -> None:
    rows = runs.trial_rows(visit.folder)
    assert {row["status"] for row in rows.values()} <= {"finished", "stopped"}, visit.text
    logs = [path.read_text() for path in (visit.folder / "logs").glob("*.log")]
    assert len(logs) == len(rows)
    assert len({found[1] for log in logs if (found := re.search(r"starts on (\S+):", log))}) == 2, logs


def test_all_that_is_derived_lies_beside_the_run(visit: Visit) -> None:
    storage = visit.place / "runs" / ".storage"
    assert f"storage: {storage} (beside the run" in visit.text
    assert json.loads((visit.folder / "run.json").read_text())["storage"] == str(storage)
    assert {path.name for path in storage.iterdir()} >= {"costs", "scenes", "teacher-outputs", "teachers"}
    (copy,) = (visit.place / "disk" / "teacher-outputs").iterdir()  # both nodes have the same disks here
    (shared,) = [one for one in (storage / "teacher-outputs").iterdir() if copy.name.startswith(one.name)]
    names = {path.name for path in shared.glob("*.safetensors")}
    assert names
    assert {path.name for path in copy.glob("*.safetensors")} == names
    logs = "".join(path.read_text() for path in (visit.folder / "logs").glob("*.log"))
    assert logs.count(f"node copy of the teacher cache {copy}: complete") == 1
    left = [path for path in (visit.place / "homes").rglob("*") if "student-search" in str(path)]
    assert left == []


def test_the_finalists_are_measured_on_the_cluster(visit: Visit) -> None:
    rows = [row for row in runs.trial_rows(visit.folder).values() if row["on_front_params"]]
    assert rows
    assert all(row["test_mean_recall"] >= 0 and row["speedup"] > 0 for row in rows)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What became of a search under whose trial a node was lost.

    Attributes:
        folder: the run folder.
        hit: the candidate that was in the middle of its training there.
        before: the rows of its epochs by then.
        processes: of the lost node.
        text: what the search said.
        left: what the cluster still held afterwards.
    """

    folder: Path
    hit: str
    before: list[dict[str, Any]]
    processes: list[int]
    text: str
    left: dict[str, Any]


@pytest.fixture(scope="module")
def loss(nodes: Nodes, visit: Visit) -> Loss:
    """Search with room on the second node alone; kill its raylet while a trial is held there, then make room on the first."""
    place, second = nodes.place, nodes.second
    space = str(runs.write_space(place, LOST_SPACE))
    script = ("-c", HELD, space, str(place), nodes.first.address, second.address, str(HELD_AT))
    env = runs.environment(**home(place, "driver"), PYTHONPATH=str(runs.ROOT))
    with rays.foreigner(nodes.first.address, rays.HEAD) as other:
        other.hold(1)
        with runs.started(script, folder=place, env=env) as command:
            folder = runs.run_folder(command, place)
            command.wait_for((place / "held").exists, "an epoch on the second node")
            hit = (place / "held").read_text()
            before = runs.ledgers(folder)[hit]
            processes = second.kill_raylet()
            (place / "lost").touch()
            other.leave()
            assert command.wait() == 0, command.text
    left = rays.leftovers(nodes.first.address, patience_s=60)
    return Loss(folder=folder, hit=hit, before=before, processes=processes, text=command.text, left=left)


def test_a_trial_of_a_lost_node_goes_on_elsewhere_from_its_checkpoint(loss: Loss) -> None:
    log = (loss.folder / "logs" / f"{loss.hit}.log").read_text()
    assert re.findall(rf"candidate {loss.hit} (starts|continues) on", log) == ["starts", "continues"], log
    assert [row["epoch"] for row in loss.before] == list(range(1, HELD_AT + 1))
    after = runs.ledgers(loss.folder)[loss.hit]
    assert after[:HELD_AT] == loss.before  # times too: these epochs were not trained again
    assert [row["epoch"] for row in after] == list(range(1, runs.EPOCHS + 1))


def test_with_a_node_no_epoch_is_lost_and_none_told_twice(loss: Loss) -> None:
    rows = runs.trial_rows(loss.folder)
    assert {row["status"] for row in rows.values()} == {"finished"}, loss.text
    expected = {(name, epoch) for name in rows for epoch in range(1, runs.EPOCHS + 1)}
    assert set(runs.history_rows(loss.folder)) == expected
    told = re.findall(r"^trial (\w+): .+ It goes on from its checkpoint \(1 of 3\)$", loss.text, re.MULTILINE)
    assert told == [loss.hit]
    assert "Traceback" not in loss.text


def test_of_a_lost_node_nothing_stays(loss: Loss) -> None:
    assert loss.left["groups"] == []
    assert loss.left["free"] == loss.left["whole"] == 1.0
    runs.wait_for_end(loss.processes, patience_s=runs.END_S)
    assert not any(map(runs.alive, loss.processes))
