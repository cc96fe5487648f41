"""Counts, the best small students and causes, against sums worked by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.run_folder import read_run
from analysis.summary import causes, summarise

Make = Callable[..., Path]


def row(name: str, status: str, epochs: int, **more: Any) -> dict[str, Any]:
    config = '{"training": {"epochs": 9}}'
    return {
        "candidate_id": name,
        "status": status,
        "epochs": epochs,
        "role": "search",
        "config": config,
    } | more


def test_stopping_saves_the_epochs_that_stopped_trials_did_not_train(make_run: Make) -> None:
    rows = [
        row("a", "finished", 9, retention=80.0, params=1_000_000),
        row("b", "stopped", 1),
        row("c", "stopped", 3),
        row("d", "rejected", 0),
        row("e", "crashed", 2),  # a failure saves nothing
    ]
    result = summarise(read_run(make_run(rows, with_control=False)))
    assert (result.tried, result.epochs_trained, result.epochs_saved) == (5, 15, 14)
    assert result.saved_share == 14 / 29
    assert result.by_status == {"finished": 1, "stopped": 2, "rejected": 1, "crashed": 1}


def test_the_best_small_students_are_found_by_share_of_the_teacher(make_run: Make) -> None:
    rows = [
        row("a", "finished", 9, retention=90.0, params=2_400_000),
        row("b", "finished", 9, retention=85.0, params=1_500_000),
        row("c", "finished", 9, retention=70.0, params=400_000),
        row("d", "stopped", 3, retention=99.0, params=300_000),
    ]
    result = summarise(read_run(make_run(rows, with_control=False)))
    assert {share: trial.candidate_id for share, trial in result.smaller.items()} == {
        0.75: "a",
        0.5: "b",
        0.25: "c",
        0.15: "c",
    }


def test_the_blind_baseline_is_not_counted(make_run: Make) -> None:
    rows = [row("b11db11d", "finished", 9, retention=30.0, params=1, role="blind")]
    result = summarise(read_run(make_run(rows, with_control=False)))
    assert (result.tried, result.smaller, result.front_sizes["params"]) == (0, {}, 0)
    assert result.saved_share == 0.0


def test_reasons_that_differ_only_in_numbers_are_one_cause(make_run: Make) -> None:
    rows = [
        row("0000aaaa", "rejected", 0, reason="params 4.80 M over the limit 2.49 M"),
        row("0000bbbb", "rejected", 0, reason="params 5.1e+7 over the limit 2.49 M"),
        row("0000cccc", "rejected", 0, reason="candidate 0000cccc: heads 3 do not divide width 64"),
        row("0000dddd", "rejected", 0, reason="params 5.20 M over the limit 2.49 M"),
    ]
    rows[1]["reason"] = "params 51 M over the limit 2.49 M"
    found = causes(read_run(make_run(rows, with_control=False)).candidates)
    assert [[trial.candidate_id for trial in cause.trials] for cause in found] == [
        ["0000aaaa", "0000bbbb", "0000dddd"],
        ["0000cccc"],
    ]
    assert found[0].example == "params 4.80 M over the limit 2.49 M"


def test_stopped_trials_are_grouped_by_rung(make_run: Make) -> None:
    rows = [row("a", "stopped", 1, reason="rung 1: rank 3"), row("b", "stopped", 3, reason="rung 3: rank 5")]
    assert len(causes(read_run(make_run(rows, with_control=False)).candidates)) == 2
