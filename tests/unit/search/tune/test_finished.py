"""What a finished trial tells of itself reaches the table."""

import io
from collections.abc import Callable
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


def watching(monkeypatch: pytest.MonkeyPatch, say: Callable[[str], None], packed: int = 1) -> RunCallback:
    """Return a callback whose recorder keeps nothing."""
    gauges = SimpleNamespace(show_epoch=lambda *shown: None)
    monkeypatch.setattr(tune_callback, "Gauges", lambda quality: gauges)
    box = TeacherBox(OBJECTIVES, {"retention": 100.0, "params": 1000.0})
    watched = Watched(
        scheduler=SimpleNamespace(verdict=lambda name: None),  # type: ignore[arg-type]  # nobody is judged
        rules=StopRules(StopSection(), used=TimeUsed({}, lambda: 0.0), growth=Growth(box, OBJECTIVES)),
        progress=Progress(io.StringIO()),
        quality="retention",
        trials=lambda: 1,
        slots=lambda: 1,
        watchdog=None,
        weights=KeptWeights(Path(), Fronts("retention", maximise=True), keep="all", say=print),
        on_end=lambda row: None,
        packed=packed,
        say=say,
    )
    recorder = SimpleNamespace(record_epoch=lambda row: True, row=lambda name: {"status": "running"})
    return RunCallback(recorder, watched)  # type: ignore[arg-type]


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize(("told", "reason"), [({"reason": FLAT}, FLAT), ({}, "")])
def test_a_metric_that_never_moved_is_the_reason_of_a_finished_row(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], reason: str, settled: bool
) -> None:
    callback = watching(monkeypatch, print)
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


@pytest.mark.parametrize("packed", [1, 4])
def test_a_share_of_a_gpu_that_is_too_small_is_told_once(
    monkeypatch: pytest.MonkeyPatch, packed: int
) -> None:
    said: list[str] = []
    callback = watching(monkeypatch, said.append, packed)
    rows = [
        {"candidate_id": "a", "epoch": 1, "status": "running"},
        {"candidate_id": "a", "epoch": 2, "status": "running", "micro_batches": 2},
        {"candidate_id": "a", "epoch": 3, "status": "running", "micro_batches": 4},
        {"candidate_id": "b", "epoch": 1, "status": "oom"},
    ]
    for row in rows:
        trial = SimpleNamespace(config={"candidate_id": row["candidate_id"], "role": "search"})
        callback.on_trial_result(1, [trial], trial, row)
    assert [line.partition(":")[0] for line in said] == (["candidate a", "candidate b"] if packed > 1 else [])
    if packed > 1:
        assert said[0] == "candidate a: has 1/4 of a GPU, where a batch does not fit: it is taken in 2 parts"
        assert "--gpus-per-worker 1" in said[1]
