"""Searches on a cluster that somebody else started, beside a second one on the same machine."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.e2e import runs
from tests.integration import rays

TIMES = ("time", "wall_s", "cpu_s", "epoch_s", "peak_mib")
TWO_WORKERS = runs.SPACE.replace(
    # with this seed the teacher itself comes first; a student that knows nothing is then stopped at the rung
    runs.SPACE[runs.SPACE.index("  image:") : runs.SPACE.index("losses:")],
    "  image: {width: 1x, depth: 1x, init: {choice: [random, inherit]}}\n"
    "  text: {width: 1x, depth: 1x, init: inherit}\n"
    "  fusion: {layers: 1x}\n",
)
for old, new in (
    ("epochs: 3", "epochs: 2"),
    ("factor: 3", "factor: 2"),
    ("trials: 3", "trials: 3\n  seed: 2"),
):
    TWO_WORKERS = TWO_WORKERS.replace(old, new)


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What became of a search with two workers per trial on a foreign cluster.

    Attributes:
        folder: the run folder.
        text: what the command said.
        gauges: lines of the metrics page, seen while it ran.
        leftovers: what the cluster still held afterwards.
    """

    folder: Path
    text: str
    gauges: list[str]
    leftovers: dict[str, Any]


@pytest.fixture(scope="module")
def cluster() -> Iterator[rays.Head]:
    """Start the cluster, and a second one that must not disturb."""
    with rays.head(num_cpus=1), rays.head(num_cpus=4) as ours:
        yield ours


@pytest.fixture(scope="module")
def visit(cluster: rays.Head, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """Search with two gloo workers per trial, watching the metrics page, beside another job, which at first leaves no room."""
    place = tmp_path_factory.mktemp("visit")
    space = runs.write_space(place, TWO_WORKERS)
    arguments = (runs.script("search/run.py"), "--space", str(space), "--workers-per-trial", "2")
    seen: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1.0):
            seen.extend(rays.gauges(cluster.metrics, "ray_student_search_"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    env = runs.environment(
        RAY_ADDRESS=cluster.address, **rays.QUICK_METRICS
    )  # that is where `auto` looks first
    try:
        with rays.foreigner(cluster.address) as other:
            other.hold(3)
            with runs.started((*arguments, "--address", "auto"), folder=place, env=env) as command:
                command.wait_for(lambda: "1 waits: " in command.text, "a wait for resources")
                other.hold(1)
                code, text = command.wait(), command.text
    finally:
        ended.set()
        watcher.join()
    assert code == 0, text
    left = rays.leftovers(cluster.address, patience_s=60)  # usually 1 to 3
    return Visit(folder=place / "runs" / "tiny", text=text, gauges=seen, leftovers=left)


def test_two_workers_per_trial_finish_a_search(visit: Visit) -> None:
    rows = runs.trial_rows(visit.folder)
    assert "1 trial at a time, each 2 workers" in visit.text
    assert {row["status"] for row in rows.values()} == {"finished", "stopped"}, visit.text
    expected = {(name, epoch) for name, row in rows.items() for epoch in range(1, row["epochs"] + 1)}
    assert set(runs.history_rows(visit.folder)) == expected
    assert (visit.folder / "report.html").is_file()


def test_stopped_trials_leave_no_placement_group_and_all_cpus_free(visit: Visit) -> None:
    rows = sorted(runs.trial_rows(visit.folder).values(), key=lambda row: row["proposal"])
    # one was stopped before the last: had it kept its group, that one had never found two CPUs, since another job holds
    # one. What becomes of it is chance, for it knows nothing either
    assert [row["status"] for row in rows[:2]] == ["finished", "stopped"]
    assert len(rows) == 3
    assert all(row["epochs"] >= 1 for row in rows)
    assert visit.leftovers["groups"] == []
    assert visit.leftovers["seen"] >= 2  # there had been some: the actor of the trials, and its workers
    assert visit.leftovers["free"] == visit.leftovers["whole"] == 4.0


def test_another_job_on_the_cluster_is_waited_for_and_disturbs_nothing(visit: Visit) -> None:
    lacks = r"one trial needs 2 CPUs \(2 workers of 1\)[;,] [01] of 4 CPUs are free"
    assert re.search(rf"^{lacks}\. The search waits for that$", visit.text, re.MULTILINE), visit.text
    assert re.search(rf"^1 waits: {lacks}$", visit.text, re.MULTILINE)
    assert "no trial waits for resources any more" in visit.text
    assert "given back" not in visit.text
    assert not any("new workers" in log.read_text() for log in (visit.folder / "logs").glob("*.log"))


def test_gauges_stand_on_the_metrics_page_while_it_runs(visit: Visit) -> None:
    for name in ("epoch", "loss", "quality"):
        lines = [line for line in visit.gauges if line.startswith(f"ray_student_search_{name}{{")]
        told = {found.group(1) for line in lines if (found := re.search(r'place="(\d+)"', line))}
        assert told, name
        assert len(told) < len(runs.trial_rows(visit.folder)), "places, not candidates"
    counted = "\n".join(line for line in visit.gauges if line.startswith("ray_student_search_candidates{"))
    assert {"finished", "running"} <= set(re.findall(r'status="(\w+)"', counted))
    assert not any('candidate="' in line for line in visit.gauges)


def test_one_worker_under_ray_train_gives_what_ray_tune_gives(
    cluster: rays.Head, finished: runs.Finished, tmp_path: Path
) -> None:
    rows = [row for row in runs.trial_rows(finished.folder).values() if row["status"] == "finished"]
    candidate = next(row for row in rows if row["on_front_params"])
    config = json.loads(candidate["config"])
    # a space of this one candidate; a choice without a default has no default candidate and no blind one
    flags = [
        f"student.image.width={{choice: [{config['student']['image']['width']}]}}",
        f"student.image.depth={config['student']['image']['depth']}",
        *(f"losses.{name}.weight={options['weight']!r}" for name, options in config["losses"].items()),
        "search.trials=1",
    ]
    code, text = runs.run(
        (*finished.arguments, *(f"--set={flag}" for flag in flags), "--train=always", "--address", cluster.address),
        folder=tmp_path,
        env=finished.env,
    )  # fmt: skip
    assert code == 0, text
    folder = tmp_path / "runs" / "tiny"
    name = candidate["candidate_id"]
    assert list(runs.trial_rows(folder)) == [name]
    tune, train = runs.history_rows(finished.folder), runs.history_rows(folder)
    assert set(train) == {(name, epoch) for epoch in range(1, runs.EPOCHS + 1)}
    for key, row in train.items():
        values = {column: value for column, value in row.items() if column not in TIMES and value == value}
        assert values == {column: tune[key][column] for column in values}
    weights = [
        torch.load(one / "checkpoints" / name / "checkpoint.pt", weights_only=False)["trainer"]["step"]
        for one in (finished.folder, folder)
    ]
    assert weights[0].keys() == weights[1].keys()
    for parameter, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][parameter]), parameter
