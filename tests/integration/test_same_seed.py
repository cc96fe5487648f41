"""The same command with one worker at a time: the same candidates, figures, verdicts and fronts, twice in a row."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import runs

TWICE = """\
import sys

import ray

from search.run import main

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
for folder in sys.argv[1:3]:
    assert main([*sys.argv[3:], "--out", folder]) == 0
ray.shutdown()
"""
TIMED = (
    "time",
    "wall_s",
    "cpu_s",
    "epoch_s",
    "peak_mib",
    "wall_latency_ms",
    "wall_latency_spread_ms",
    "speedup",
)
OPTIONS = (
    "--trials=6",
    "--max-epochs=2",
    "--seed=4",
    "--set=search.searcher={kind: evolution, population: 3}",
    "--set=search.scheduler={kind: moasha, rungs: [1], reduction_factor: 2}",
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a run folder says, times aside."""

    trials: list[dict[str, Any]]
    history: dict[tuple[str, int], dict[str, Any]]
    decisions: list[dict[str, Any]]
    hypervolume: dict[str, Any]

    @classmethod
    def of(cls, folder: Path) -> "Told":
        return cls(
            trials=[_plain(row) for row in runs.trial_rows(folder).values()],
            history={key: _plain(row) for key, row in runs.history_rows(folder).items()},
            decisions=json.loads((folder / "rungs.json").read_text())["decisions"],
            hypervolume=json.loads((folder / "run.json").read_text())["hypervolume"],
        )


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMED and value == value}


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Told]:
    """Search twice, in one process, on one Ray with one CPU for trials."""
    place = tmp_path_factory.mktemp("twice")
    folders = [place / "one", place / "two"]
    space = runs.write_space(place)
    code, text = runs.run(
        ("-c", TWICE, *map(str, folders), "--space", str(space), *OPTIONS),
        folder=runs.ROOT,
        env=runs.environment(),
    )
    assert code == 0, text
    assert text.count("1 trial at a time") == 2
    one, two = (Told.of(folder) for folder in folders)
    return one, two


def test_the_same_candidates_end_alike_with_the_same_figures(twice: tuple[Told, Told]) -> None:
    one, two = twice
    assert one.trials == two.trials
    assert one.history == two.history
    assert {row["status"] for row in one.trials} == {"finished", "stopped"}


def test_the_same_verdicts_are_taken_in_the_same_order(twice: tuple[Told, Told]) -> None:
    one, two = twice
    assert one.decisions == two.decisions
    assert {decision["verdict"] for decision in one.decisions} == {"continue", "stop"}


def test_the_fronts_and_the_hypervolume_are_the_same(twice: tuple[Told, Told]) -> None:
    one, two = twice
    axes = ("params", "flops", "latency_ms")
    members = [
        {(row["candidate_id"], axis) for row in told.trials for axis in axes if row[f"on_front_{axis}"]}
        for told in (one, two)
    ]
    assert members[0] == members[1]
    assert members[0]
    assert one.hypervolume == two.hypervolume
