"""What a finished trial tells of itself reaches the table."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from search.reporting.progress import Progress
from search.run_folder.kept_weights import Fronts, KeptWeights
from search.stopping.hypervolume import Growth, TeacherBox
from search.stopping.stop_rules import StopRules
from search.stopping.time_used import TimeUsed
from search.tune import tune_callback
from search.tune.tune_callback import RunCallback, Watched
from spaces.sections import StopSection

OBJECTIVES = {"retention": "max", "params": "min"}
FLAT = "metric top1 was 20.04 in all of its 3 measurements: nothing was learned"


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize(("told", "reason"), [({"reason": FLAT}, FLAT), ({}, "")])
def test_a_metric_that_never_moved_is_the_reason_of_a_finished_row(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], reason: str, settled: bool
) -> None:
    gauges = SimpleNamespace(show_epoch=lambda *shown: None)
    monkeypatch.setattr(tune_callback, "Gauges", lambda quality: gauges)
    box = TeacherBox(OBJECTIVES, {"retention": 100.0, "params": 1000.0})
    watched = Watched(
        scheduler=SimpleNamespace(verdict=lambda name: None),  # type: ignore[arg-type]  # nobody is judged
        rules=StopRules(StopSection(), used=TimeUsed({}, lambda: []), growth=Growth(box, OBJECTIVES)),
        progress=Progress(io.StringIO()),
        quality="retention",
        trials=lambda: 1,
        slots=lambda: 1,
        watchdog=None,
        weights=KeptWeights(Path(), Fronts("retention", maximise=True), keep="all", say=print),
        on_end=lambda row: None,
    )
    recorder = SimpleNamespace(record_epoch=lambda row: True, row=lambda name: {"status": "running"})
    callback = RunCallback(recorder, watched)  # type: ignore[arg-type]
    ended: list[tuple[str, str, str]] = []
    monkeypatch.setattr(callback, "_end", lambda *how: ended.append(how))
    trial = SimpleNamespace(config={"candidate_id": "a", "role": "search"})
    callback.on_trial_result(
        1, [trial], trial, {"candidate_id": "a", "epoch": 9, "status": "finished", **told}
    )
    if settled:
        callback.settle()
    else:
        callback.on_trial_complete(1, [trial], trial)
    assert ended == [("a", "finished", reason)]
