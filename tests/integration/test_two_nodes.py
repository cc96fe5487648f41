"""A search on two nodes whose homes differ: nothing that it needs lies in any of them."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import runs
from tests.integration import rays

SPACE = runs.SPACE.replace("trials: 3", "trials: 2").replace("rungs: [1]", "rungs: []")
SPACE = SPACE.replace(
    "epochs: 3", "epochs: 24"
)  # the first trial still runs when the second one has its process
SECRET = {
    "RAY_AUTH_TOKEN": "5" * 64,
    "RAY_AUTH_MODE": "token",
}  # Ray keeps its own in the home of who starts it


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


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory, monkeypatch_module: pytest.MonkeyPatch) -> Visit:
    """Search with two trials at a time, one on each node."""
    place = tmp_path_factory.mktemp("two-nodes")
    for name, value in SECRET.items():
        monkeypatch_module.setenv(name, value)
    with two_nodes(place) as (first, _):
        arguments = (runs.script("search/run.py"), "--space", str(runs.write_space(place, SPACE)))
        env = runs.environment(**home(place, "driver"))
        code, text = runs.run(
            (*arguments, "--address", first.address, "--node-copies", "disk"), folder=place, env=env
        )
    assert code == 0, text
    return Visit(place=place, folder=place / "runs" / "tiny", text=text)


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
