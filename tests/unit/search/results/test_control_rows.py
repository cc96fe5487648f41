"""A control keeps what is through: trainings that raise, diverge or were done before."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis import gains, report
from analysis.run_folder import Run, Trial
from search.results import undistilled
from search.results.control_rows import ControlRows, finished_before, note_finished
from search.results.orders import Order
from search.run_folder import facts
from search.tune import cluster
from spaces.errors import CheckpointError, RunError
from tests.unit.trainables.small import make_job

NAN = float("nan")


def trial(candidate_id: str = "aaaaaaaa") -> Trial:
    numbers: dict[str, Any] = dict.fromkeys(
        ("latency_spread_ms", "wall_latency_ms", "speedup", "wall_s", "cpu_s"), 0.0
    )
    return Trial(
        candidate_id=candidate_id,
        status="finished",
        reason="",
        role="search",
        seed=0,
        proposal=0,
        epochs=2,
        costs={},
        metrics={"retention": 80.0, "vqa_accuracy": NAN},
        test_metrics={},
        checkpoint="",
        config={},
        **numbers,
    )


def order(folder: Path, seed: int = 0, candidate_id: str = "aaaaaaaa") -> Order:
    job = make_job(folder, folder, seed=7 + seed)
    return Order(trial=trial(candidate_id), data="noisy", seed=seed, distilled=False, job=job)


def finished(retention: float) -> Mapping[str, Any]:
    return {"status": "finished", "retention": retention, "vqa_accuracy": None, "epoch": 2}


def broken() -> Mapping[str, Any]:
    raise CheckpointError("somewhere: torn")


def written(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / "control.json").read_text())["rows"]
    return rows


def test_a_training_that_raises_costs_its_own_row_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ControlRows(tmp_path, [trial()])
    rows.add(order(tmp_path, 0), broken)
    rows.add(order(tmp_path, 1), lambda: {"status": "diverged", "reason": "step 3: loss 'lm' is nan"})
    rows.add(order(tmp_path, 2), lambda: finished(70.0))
    assert rows.failures == [
        "aaaaaaaa-noisy-plain-0: CheckpointError: somewhere: torn",
        "aaaaaaaa-noisy-plain-1: diverged: step 3: loss 'lm' is nan",
    ]
    said = capsys.readouterr().err
    assert all(f"failed: {line}" in said for line in rows.failures)
    known = {"candidate_id": "aaaaaaaa", "data": "noisy"}
    assert written(tmp_path) == [
        {**known, "seed": 0, "distilled": True, "retention": 80.0},  # the searched student itself
        {**known, "seed": 2, "distilled": False, "retention": 70.0},
    ]


def test_what_a_ray_task_raised_is_told_by_its_cause(tmp_path: Path) -> None:
    class TaskError(Exception):
        cause = RunError("no loss teaches it")

    def raises() -> Mapping[str, Any]:
        raise TaskError("Traceback (most recent call last)\n ...")

    rows = ControlRows(tmp_path, [])
    rows.add(order(tmp_path), raises)
    assert rows.failures == ["aaaaaaaa-noisy-plain-0: RunError: no loss teaches it"]


def test_each_row_is_on_disk_before_the_next_comes_and_ctrl_c_keeps_it(tmp_path: Path) -> None:
    rows = ControlRows(tmp_path, [])
    rows.add(order(tmp_path, 0), lambda: finished(70.0))

    def interrupted() -> Mapping[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rows.add(order(tmp_path, 1), interrupted)
    assert [row["retention"] for row in written(tmp_path)] == [70.0]


def test_rows_of_earlier_controls_stay(tmp_path: Path) -> None:
    first = ControlRows(tmp_path, [trial()])
    for seed in range(2):
        first.add(order(tmp_path, seed), lambda: finished(70.0))
    first.add(order(tmp_path, 0, "bbbbbbbb"), lambda: finished(60.0))
    second = ControlRows(tmp_path, [trial()])
    second.add(order(tmp_path, 1), lambda: finished(71.0))
    found = {
        (row["candidate_id"], row["seed"], row["distilled"]): row["retention"] for row in written(tmp_path)
    }
    assert found == {
        ("aaaaaaaa", 0, True): 80.0,
        ("aaaaaaaa", 0, False): 70.0,
        ("aaaaaaaa", 1, False): 71.0,
        ("bbbbbbbb", 0, False): 60.0,
    }
    assert json.loads((tmp_path / "control.json").read_text())["seeds"] == [0, 1]


def test_rows_of_another_number_of_workers_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = ControlRows(tmp_path, [trial()])  # as of an earlier version, which had one for each
    for name in ("aaaaaaaa", "bbbbbbbb"):
        first.add(order(tmp_path, 1, name), lambda: finished(70.0))
    second = ControlRows(tmp_path, [trial()], workers=2)
    second.add(order(tmp_path, 0), lambda: finished(71.0))
    assert "3 rows of control.json go" in capsys.readouterr().err
    assert [(row["seed"], row["distilled"], row["workers"]) for row in written(tmp_path)] == [
        (0, True, 2),
        (0, False, 2),
    ]
    third = ControlRows(tmp_path, [trial()], workers=2)
    third.add(order(tmp_path, 1), lambda: finished(72.0))
    assert [row["retention"] for row in written(tmp_path)] == [80.0, 71.0, 72.0]
    assert not capsys.readouterr().err


def test_what_is_through_is_known_again_and_what_differs_is_not(tmp_path: Path) -> None:
    one = order(tmp_path)
    assert finished_before(one, tmp_path) is None
    note_finished(one.job, tmp_path, finished(70.0))
    assert finished_before(one, tmp_path) == finished(70.0)
    moved = replace(one, job=replace(one.job, dataset={**one.job.dataset, "file": "/elsewhere"}, threads=3))
    assert finished_before(moved, tmp_path) == finished(70.0)
    for changes in ({"seed": 9}, {"tasks": {"retrieval": {}}}, {"config": {**one.job.config, "losses": {}}}):
        other = replace(one, job=replace(one.job, **changes))  # type: ignore[arg-type]
        assert finished_before(other, tmp_path) is None
    (tmp_path / "done.json").write_text('{"job"')
    assert finished_before(one, tmp_path) is None


def test_a_student_without_control_is_told_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(run: Run, trials: list[Trial], seeds: int) -> list[Order]:
        if trials[0].candidate_id == "bbbbbbbb":
            raise RunError("candidate bbbbbbbb: no loss teaches it")
        return [order(tmp_path)]

    monkeypatch.setattr(undistilled, "orders", made)
    run: Any = None
    found, failures = undistilled._orders(run, [trial(), trial("bbbbbbbb")], 1)
    assert (len(found), failures) == (1, ["bbbbbbbb: candidate bbbbbbbb: no loss teaches it"])
    with pytest.raises(RunError, match="bbbbbbbb"):
        undistilled._orders(run, [trial("bbbbbbbb")], 1)


def test_one_seed_has_a_gain_and_no_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers: dict[str, Any] = {"distilled": 80.0, "plain": 70.5, "gain": 9.5, "spread": NAN, "seeds": 1}
    one = gains.Gain(candidate_id="aaaaaaaa", data="noisy", metric="retention", **numbers)
    monkeypatch.setattr(gains, "gains", lambda run, quality: [one])
    monkeypatch.setattr(report, "draw_report", lambda folder: folder)
    monkeypatch.setattr(undistilled, "read_run", lambda folder: None)
    undistilled._tell_gains(tmp_path, "retention", [])
    told = "80.0 with distillation, 70.5 without: gain +9.5, one seed, no spread"
    assert capsys.readouterr().out == f"aaaaaaaa, noisy data: retention {told}\n"


@pytest.mark.parametrize(
    ("packs", "gpus", "told"), [(True, 1.0, True), (True, 0.0, False), (False, 1.0, False)]
)
def test_trainings_that_do_not_share_a_gpu_as_trials_did_say_so(
    packs: bool,
    gpus: float,
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = SimpleNamespace(
        workers_per_trial=1, cpus_per_worker=1, gpus=None, packs=packs, max_concurrent=None
    )
    monkeypatch.setattr(facts, "read_space", lambda folder, changes: SimpleNamespace(resources=asked))
    monkeypatch.setattr(cluster, "resources", lambda **takes: SimpleNamespace(gpus=gpus))
    undistilled._takes(SimpleNamespace(folder=Path()))  # type: ignore[arg-type]
    assert ("takes a whole GPU" in capsys.readouterr().err) is told
