"""A trial that finds other inputs than planned: the search ends, and no candidate is through for it."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search.reporting.progress import Progress
from search.run_folder.kept_weights import Fronts, KeptWeights
from search.stopping.hypervolume import Growth, TeacherBox
from search.stopping.stop_rules import StopRules
from search.stopping.time_used import TimeUsed
from search.tune import tune_callback
from search.tune.tune_callback import RunCallback, Watched
from spaces.errors import InputsChanged
from spaces.sections import StopSection
from trainables.trial import HALTED

OBJECTIVES = {"retention": "max", "params": "min"}


class NoRecord:
    """A recorder that nobody may write to."""

    rows: tuple[()] = ()

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name}: nothing of a halted trial is recorded")


@pytest.fixture
def rules() -> StopRules:
    box = TeacherBox(OBJECTIVES, {"retention": 100.0, "params": 1000.0})
    used = TimeUsed({}, lambda: 0.0)
    used.open(workers=1, cpus=1, gpus=0)
    return StopRules(StopSection(), used=used, growth=Growth(box, OBJECTIVES))


def test_a_halted_trial_ends_the_search_and_stays_unfinished(
    rules: StopRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tune_callback, "Gauges", lambda quality: SimpleNamespace(show_epoch=lambda *told: None)
    )
    watched = Watched(
        scheduler=SimpleNamespace(verdict=lambda name: None),  # type: ignore[arg-type]  # nobody is judged
        rules=rules,
        progress=Progress(io.StringIO()),
        quality="retention",
        trials=lambda: 2,
        slots=lambda: 2,
        watchdog=None,
        weights=KeptWeights(Path(), Fronts("retention", maximise=True), keep="all", say=print),
        on_end=lambda row: pytest.fail("it ended"),
    )
    callback = RunCallback(NoRecord(), watched)  # type: ignore[arg-type]
    trials = [
        SimpleNamespace(config={"candidate_id": name, "role": "search"}, get_error=lambda: None)
        for name in "ab"
    ]
    assert rules.ending is None
    row = {"candidate_id": "a", "epoch": 0, "status": "running", HALTED: "data set x: has fingerprint 1"}
    callback.on_trial_result(1, trials, trials[0], row)
    callback.on_trial_result(1, trials, trials[1], {**row, HALTED: "another"})
    for one in trials:
        callback.on_trial_complete(1, trials, one)
    callback.on_trial_error(1, trials, trials[1])
    callback.settle()
    assert rules.over()
    assert isinstance(rules.fault, InputsChanged)  # the session raises it: exit code 2
    assert str(rules.fault) == "data set x: has fingerprint 1"
