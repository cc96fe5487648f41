"""A run folder is read whole, and what is no run says so."""

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.run_folder import read_run
from analysis.rungs import Rungs
from spaces.errors import RunError

Make = Callable[..., Path]


def test_a_run_has_its_trials_in_order_of_proposal(make_run: Make) -> None:
    run = read_run(make_run())
    assert [trial.proposal for trial in run.trials] == list(range(33))
    assert len(run.candidates) == 32
    assert len(run.finished) == 11
    assert run.trials[-1].role == "blind"
    assert run.trials[0].config["student"]["kind"] == "blip"
    assert run.quality == "retention"
    assert run.maximise


def test_what_was_not_measured_is_nan(make_run: Make) -> None:
    run = read_run(make_run())
    rejected = next(trial for trial in run.trials if trial.status == "rejected")
    assert math.isnan(rejected.costs["latency_ms"])
    assert math.isnan(rejected.value("retention"))
    assert math.isnan(rejected.value("no_such_metric"))


def test_shares_refer_to_the_teacher(make_run: Make) -> None:
    run = read_run(make_run())
    trial = run.finished[0]
    assert run.share(trial, "params") == pytest.approx(trial.costs["params"] / 3_321_000)
    assert run.teacher("retention") == 100.0
    assert math.isnan(run.teacher("no_such_metric"))


def test_a_missing_folder_and_a_folder_without_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"no run \(run.json is missing\)"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "rungs.json", "control.json"])
@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}garbage'])
def test_a_damaged_json_file_is_named(make_run: Make, name: str, text: str) -> None:
    folder = make_run()
    (folder / name).write_text(text)
    with pytest.raises(RunError, match=f"{name}: damaged") as caught:
        read_run(folder)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_run_cut_off_before_its_first_table_has_no_trials(make_run: Make) -> None:
    folder = make_run([])
    (folder / "trials.arrow").unlink()
    (folder / "rungs.json").unlink()
    (folder / "control.json").unlink()
    run = read_run(folder)
    assert (run.trials, run.rungs, run.control, run.quality) == ((), Rungs(), None, "retention")


def test_a_lost_table_beside_a_history_is_damage(make_run: Make) -> None:
    folder = make_run()
    (folder / "trials.arrow").unlink()
    with pytest.raises(RunError, match=r"missing, although history/ has rows.*epochs of 28 candidates"):
        read_run(folder)


@pytest.mark.parametrize(
    ("objectives", "quality", "maximise"),
    [
        ({"params": "min", "retention": "max"}, "retention", True),
        ({"mean_recall": "min", "retention": "max"}, "retention", True),
        ({"mean_recall": "min", "params": "min"}, "mean_recall", False),
    ],
)
def test_the_quality_objective_is_the_first_metric(
    make_run: Make, objectives: dict[str, str], quality: str, maximise: bool
) -> None:
    run = read_run(make_run(objectives=objectives))
    assert (run.quality, run.maximise) == (quality, maximise)


def test_objectives_without_a_metric_are_refused(make_run: Make) -> None:
    run = read_run(make_run(objectives={"params": "min"}))
    with pytest.raises(RunError, match=r"objectives: got \['params'\].*Known metrics.*retention"):
        _ = run.quality


def test_a_moved_run_reads_the_same(make_run: Make, tmp_path: Path) -> None:
    folder = make_run()
    before = read_run(folder)
    after = read_run(folder.rename(tmp_path / "elsewhere"))
    assert json.dumps(before.facts) == json.dumps(after.facts)
    assert [t.checkpoint for t in before.trials] == [t.checkpoint for t in after.trials]
