"""What every scheduler of the table must do."""

import dataclasses
import inspect
import math
from pathlib import Path

import pytest
from ray.tune.schedulers import TrialScheduler

from search.schedulers import SCHEDULERS, config_class
from spaces.options import check_options
from spaces.plugins import resolve

OBJECTIVES = {"retention": "max", "params": "min", "latency_ms": "min"}


@pytest.fixture(params=sorted(SCHEDULERS))
def plugin(request: pytest.FixtureRequest) -> type:
    return resolve(SCHEDULERS, request.param, "schedulers")


def make(plugin: type, folder: Path):
    return plugin(plugin.Config(), OBJECTIVES, folder=folder)


def row(number: int, epoch: int = 1) -> dict[str, object]:
    return {
        "epoch": epoch,
        "retention": 50.0 + number,
        "params": 10 - number,
        "latency_ms": 1.0,
        "role": "search",
    }


def test_table_is_sorted_and_says_its_names() -> None:
    assert list(SCHEDULERS) == sorted(SCHEDULERS)
    assert {name: resolve(SCHEDULERS, name, "schedulers").name for name in SCHEDULERS} == {
        n: n for n in SCHEDULERS
    }


def test_is_final_names_its_source_and_nests_a_frozen_config(plugin: type) -> None:
    assert issubclass(plugin, TrialScheduler)
    assert getattr(plugin, "__final__", False)
    assert "et al." in inspect.getdoc(plugin)
    assert plugin.Config.__dataclass_params__.frozen
    with pytest.raises(dataclasses.FrozenInstanceError):
        plugin.Config().rungs = ()


def test_options_are_checked_at_the_door(plugin: type) -> None:
    assert check_options(plugin.Config, {"rungs": [1, 3], "reduction_factor": 3}, str) == []
    assert check_options(plugin.Config, {"rungs": [3, 1]}, str) != []
    assert check_options(plugin.Config, {"rung": [1]}, str) != []


def test_its_config_is_found_without_it(plugin: type) -> None:
    assert config_class(plugin.name) is plugin.Config


def test_a_candidate_that_lacks_an_objective_is_left_alone(plugin: type, tmp_path: Path) -> None:
    judge = plugin(plugin.Config(), {**OBJECTIVES, "vqa_accuracy": "max"}, folder=tmp_path)
    for number in range(9):
        judge.judge(str(number), row(number) | {"vqa_accuracy": 1.0})
    lacking = row(99) | {"vqa_accuracy": None}
    if "vqa_accuracy" in judge.objectives:
        assert judge.judge("dual", lacking) is None
        assert not judge.book.holds(1, "dual")
    else:
        assert judge.judge("dual", lacking).verdict == "continue"


def test_needs_nothing_of_tunes_metric_and_mode(plugin: type, tmp_path: Path) -> None:
    assert make(plugin, tmp_path).set_search_properties(None, None)


def test_better_and_better_candidates_all_go_on(plugin: type, tmp_path: Path) -> None:
    judge = make(plugin, tmp_path)
    assert {judge.judge(str(n), row(n)).verdict for n in range(9)} == {"continue"}


def test_the_worst_of_a_full_rung_is_stopped_and_remembered(plugin: type, tmp_path: Path) -> None:
    judge = make(plugin, tmp_path)
    for number in range(1, 7):
        judge.judge(str(number), row(number))
    assert judge.judge("worst", row(0)).verdict == "stop"
    assert make(plugin, tmp_path).verdict("worst").reason == judge.verdict("worst").reason


def test_needs_no_folder(plugin: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    judge = plugin(plugin.Config(), OBJECTIVES, folder=None)
    for number in range(20):
        judge.judge(str(number), row(number))
    assert len(judge.book.decisions) == 20
    assert not list(tmp_path.iterdir())


def test_nan_stops_and_blind_is_never_judged(plugin: type, tmp_path: Path) -> None:
    judge = make(plugin, tmp_path)
    assert judge.judge("bad", row(0) | {"retention": math.nan}).verdict == "stop"
    assert judge.judge("blind", row(0) | {"role": "blind"}) is None
    assert "blind" not in judge.book.rungs[1]
