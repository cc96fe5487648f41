"""A run folder, written by the run's own classes, as a table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.proposal import Admitted, Proposal, Rejected
from search.run_folder.recorder import Recorder
from search.simulator.goals import Goal
from search.simulator.simulation import Setup, simulate
from search.simulator.sources import load_table
from spaces.candidate import Candidate
from spaces.conditions import Condition
from spaces.domains import Choice, Log
from spaces.errors import RunError, StudentSearchError, TableError

COSTS = {"params": 64.0, "flops": 10, "latency_ms": 2.5, "latency_spread_ms": 0.1, "size_mib": 0.5}
CONFIG: dict[str, Any] = {"student": {}, "losses": {"itc": {"weight": 1.0}}, "training": {"epochs": 3}}
SPACE = """\
name: toy
teacher: embedded
dataset: {kind: scenes}
student:
  kind: blip
  image: {width: 0.5x, depth: 2}
  text: {width: 0.5x, depth: 2}
  fusion:
    layers: {choice: [1, 2], zero: 0.2}
    placement: {choice: [first, last], when: {student.fusion.layers: {not: 0}}}
losses: {itc: {weight: 1}}
training: {epochs: 3, pairs_per_epoch: 64, batch_size: 16, lr: {log: [1e-4, 1e-2]}}
objectives: {retention: max, params: min}
search: {searcher: {kind: random}, scheduler: {kind: moasha, rungs: [1]}, trials: 4}
"""


class Folder:
    """A run folder that is filled candidate by candidate."""

    def __init__(self, folder: Path, *, space: str | None = SPACE) -> None:
        self.path = folder
        facts = {"name": "toy", "objectives": {"retention": "max", "params": "min"}, "rungs": [1, 3]}
        (folder / "run.json").write_text(json.dumps(facts))
        if space:
            (folder / "space.yaml").write_text(space)
        self.recorder = Recorder(folder, metric_names=("retention",), loss_names=("itc",))
        self.count = 0

    def add(self, name: str, status: str, retention: Mapping[int, float], **more: Any) -> None:
        """Add a candidate with one epoch per second of CPU time times `pace`."""
        pace, values = more.get("pace", 1.0), more.get("values", {})
        config = CONFIG | {"blind": more.get("blind", False)}
        wanted = {
            "student.fusion.layers": 1,
            "student.fusion.placement": "last",
            "training.lr": 1e-3,
        } | values
        self.count += 1
        proposal = Proposal(
            candidate=Candidate(name, config, 0), index=self.count, values=more.get("log", wanted)
        )
        costs = COSTS | {"params": 100.0 * self.count}
        if status == "rejected":
            self.recorder.add_rejected(proposal, Rejected(reason="too big", costs=costs))
            return
        self.recorder.add_running(proposal, Admitted(costs=costs))
        for epoch in range(1, more.get("epochs", 3) + 1):
            row = {"candidate_id": name, "epoch": epoch, "status": "running", "loss": 1.0 / epoch}
            row |= {"wall_s": more.get("wall", 10.0) * epoch} | ({"cpu_s": pace * epoch} if pace else {})
            self.recorder.record_epoch(row | ({"retention": retention[epoch]} if epoch in retention else {}))
        self.recorder.finish(name, status)


def filled(folder: Path, **more: Any) -> Folder:
    """Return a run with two candidates trained to the end among others that were not."""
    run = Folder(folder, **more)
    run.add("blind", "finished", {1: 5.0, 3: 6.0}, blind=True)
    run.add("one", "finished", {1: 30.0, 3: 60.0}, pace=2.0)
    run.add("two", "finished", {1: 20.0, 3: 50.0}, values={"student.fusion.layers": 0, "training.lr": 5e-3})
    run.add("early", "stopped", {1: 10.0}, epochs=1)
    run.add("fault", "crashed", {1: 10.0}, epochs=2)
    run.add("huge", "rejected", {})
    run.recorder.close()
    return run


def test_only_what_was_trained_to_the_end_is_in_the_table(tmp_path: Path) -> None:
    filled(tmp_path)
    table = load_table(str(tmp_path))
    assert table.ids == ("one", "two")
    assert table.epochs.tolist() == [1, 2, 3, 1, 2, 3]
    assert table.costs.tolist() == [2.0, 2.0, 2.0, 1.0, 1.0, 1.0]
    np.testing.assert_array_equal(table.column("retention"), [30, np.nan, 60, 20, np.nan, 50])
    assert table.column("params").tolist() == [200.0] * 3 + [300.0] * 3
    assert (table.unit, table.rungs) == ("s of CPU", (1,))
    assert table.goals == (Goal("retention", "max"), Goal("params", "min", log=True))
    assert table.notes == ("left out: 3 of 5 candidates of the run, not trained to the end",)


def test_the_space_of_the_run_is_searched(tmp_path: Path) -> None:
    filled(tmp_path)
    table = load_table(str(tmp_path))
    off = Condition(path="student.fusion.layers", values=(0,), negated=True)
    assert dict(table.fields) == {
        "student.fusion.layers": Choice(options=(1, 2), zero=0.2),
        "student.fusion.placement": Choice(options=("first", "last"), when=(off,)),
        "training.lr": Log(low=1e-4, high=1e-2),
    }
    assert table.conditions == {"student.fusion.placement": (off,)}
    assert table.values[1]["training.lr"] == 5e-3


def test_without_its_space_the_values_tell_the_domains(tmp_path: Path) -> None:
    filled(tmp_path, space=None)
    table = load_table(str(tmp_path))
    assert dict(table.fields) == {
        "student.fusion.layers": Choice(options=(0, 1)),
        "student.fusion.placement": Choice(options=("last",)),
        "training.lr": Choice(options=(1e-3, 5e-3)),
    }


def test_a_space_that_was_changed_since_does_not_count(tmp_path: Path) -> None:
    filled(tmp_path, space=SPACE.replace("lr: {log: [1e-4, 1e-2]}", "lr: {log: [1e-4, 1e-3]}"))
    assert load_table(str(tmp_path)).fields["training.lr"] == Choice(options=(1e-3, 5e-3))


def test_wall_time_counts_where_cpu_time_is_missing(tmp_path: Path) -> None:
    run = Folder(tmp_path)
    for name in ("one", "two"):
        run.add(name, "finished", {1: 1.0, 3: 2.0}, pace=None)
    run.recorder.close()
    table = load_table(str(tmp_path))
    assert (table.unit, table.costs.tolist()) == ("s", [10.0] * 6)


def test_a_candidate_whose_values_or_times_were_lost_is_left_out(tmp_path: Path) -> None:
    run = Folder(tmp_path)
    run.add("one", "finished", {1: 1.0, 3: 2.0})
    run.add("lost", "finished", {1: 1.0, 3: 2.0}, log={})
    run.add("frozen", "finished", {1: 1.0, 3: 2.0}, pace=None, wall=0.0)
    run.recorder.close()
    table = load_table(str(tmp_path))
    assert table.ids == ("one",)
    assert table.notes == ("left out: 2 of 3 finished candidates, without recorded values or times",)


def test_an_epoch_that_was_redone_counts_once(tmp_path: Path) -> None:
    run = Folder(tmp_path)
    run.add("one", "finished", {1: 1.0, 3: 2.0})
    run.recorder.close()
    again = Folder(tmp_path)
    again.recorder = Recorder(tmp_path, metric_names=("retention",), loss_names=("itc",))
    again.add("one", "finished", {1: 1.5, 3: 2.5})
    again.recorder.close()
    table = load_table(str(tmp_path))
    assert table.epochs.tolist() == [1, 2, 3]
    assert table.column("retention")[[0, 2]].tolist() == [1.5, 2.5]


def test_a_run_can_be_searched_again(tmp_path: Path) -> None:
    run = Folder(tmp_path)
    for number in range(9):
        rate = {"training.lr": round(1e-4 * 1.6**number, 7)}
        run.add(f"c{number}", "finished", {1: 10.0 + number, 3: 50.0 + number}, values=rate)
    run.recorder.close()
    table = load_table(str(tmp_path))
    setup = Setup(workers=2, scheduler="moasha")
    trace = simulate(table, table.goals, setup=setup)
    assert sorted(one.candidate_id for one in trace.starts) == list(table.ids)
    assert {(one.rung, one.epoch) for one in trace.decisions} == {(1, 1)}


def test_what_is_no_run_or_has_nothing_to_offer_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run"):
        load_table(str(tmp_path))
    run = Folder(tmp_path)
    run.add("early", "stopped", {1: 10.0}, epochs=1)
    run.recorder.close()
    with pytest.raises(TableError, match="none of its 0 finished candidates"):
        load_table(str(tmp_path))
    run.add("one", "finished", {1: 1.0, 3: 2.0})
    run.recorder.close()
    with pytest.raises(
        TableError, match=r"no measured column is called 'retentoin'.*Did you mean 'retention'"
    ):
        load_table(str(tmp_path), (Goal("retentoin", "max"),))
    (tmp_path / "space.yaml").write_text("name: [")
    with pytest.raises(StudentSearchError, match=r"space\.yaml"):
        load_table(str(tmp_path))
