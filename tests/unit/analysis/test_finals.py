"""What the finals have shown: retention, intervals and gains against numbers worked by hand."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.page.finals import finals_section
from analysis.run_folder import read_run
from analysis.seeds.finals import PLAIN, RANDOM, STUDENT, summarised
from analysis.seeds.finals_file import FINALS_FILE, read_finals
from analysis.seeds.finals_text import finals_lines, verdict
from analysis.seeds.forms import forms_rows
from spaces.errors import RunError

ID = "0badcafe"


def row(method: str, seed: int, recall: float, vqa: float, **changes: Any) -> dict[str, Any]:
    fields = {
        "candidate_id": ID,
        "method": method,
        "seed": seed,
        "stage": "longer",
        "domain": "",
        "epochs": 5,
    }
    return {**fields, "metrics": {"mean_recall": recall, "vqa_accuracy": vqa}, **changes}


def finals(**changes: Any) -> dict[str, Any]:
    rows = [
        row("teacher", 0, 80.0, 50.0, candidate_id="", stage="embedded", epochs=0),
        row(STUDENT, 0, 76.0, 45.0),  # 95 and 90 %: 92.5
        row(STUDENT, 1, 80.0, 47.0),  # 100 and 94 %: 97
        row(PLAIN, 0, 40.0, 25.0),  # 50 and 50 %
        row(PLAIN, 1, 44.0, 25.0),  # 55 and 50 %: 52.5
        row(RANDOM, 0, 40.0, 25.0),
        row(STUDENT, 0, 1.0, 48.0, stage="vqa", metrics={"vqa_accuracy": 48.0}),
        row(STUDENT, 0, 40.0, 30.0, domain="jsonl:far"),
        row("teacher", 0, 50.0, 40.0, candidate_id="", stage="embedded", domain="jsonl:far", epochs=0),
    ]
    costs = {"params": 400, "flops": 1000, "size_mib": 2.0, "latency_ms": 8.0, "latency_spread_ms": 0.1}
    mine = {"params": 100, "flops": 200, "size_mib": 0.5, "latency_ms": 2.0, "latency_spread_ms": 0.1}
    models = [
        {"candidate_id": "", "teacher": "embedded", "form": "float32", "costs": costs},
        {"candidate_id": ID, "teacher": "embedded", "form": "float32", "costs": mine},
    ]
    found = {
        "key": "k",
        "epochs": 5,
        "fine_tune": 2,
        "seeds": 2,
        "tasks": {"retrieval": {}, "vqa": {}},
        "counts": {"retrieval": "mean_recall", "vqa": "vqa_accuracy"},
        "split": "test",
        "candidates": [ID],
        "teachers": {ID: "embedded"},
        "domains": ["jsonl:far"],
        "notes": ["seeds differ in the order of pairs"],
        "command": "python search/finalise.py runs/dlip",
        "rows": rows,
        "models": models,
        "forms": [],
    }
    return {**found, **changes}


def test_retention_is_the_mean_over_tasks_of_shares_of_the_teacher() -> None:
    joint, tuned, far = summarised(finals())
    assert joint.means(STUDENT) == pytest.approx({0: 92.5, 1: 97.0})
    assert joint.means(PLAIN) == pytest.approx({0: 50.0, 1: 52.5})
    kept = joint.kept(STUDENT)
    half = (
        12.706 * 2.25
    )  # t of one degree of freedom; the mean's standard error is half of the difference of two values
    assert (kept.estimate, kept.low, kept.high) == pytest.approx(
        (94.75, 94.75 - half, 94.75 + half), rel=1e-4
    )
    assert joint.gain(PLAIN).estimate == pytest.approx(94.75 - 51.25)
    assert joint.gain(RANDOM).estimate == pytest.approx(44.75)
    assert not joint.gain(RANDOM).known, "one seed has no interval"
    assert (joint.share("params"), joint.share("flops"), joint.speedup) == pytest.approx((0.25, 0.2, 4.0))
    models = [*finals()["models"]]
    mine = next(one for one in models if one["candidate_id"])
    mine["costs"] = {**mine["costs"], "teacher_latency_ms": 6 * mine["costs"]["latency_ms"]}
    assert summarised(finals(models=models))[0].speedup == pytest.approx(6.0), (
        "its teacher was timed beside it"
    )
    assert tuned.tuned
    assert tuned.tasks[1].shares(STUDENT) == pytest.approx({0: 96.0})
    assert tuned.means(STUDENT) == {}, "not every task had a training of its own"
    assert far.domain == "jsonl:far"
    assert far.means(STUDENT) == pytest.approx({0: (80.0 + 75.0) / 2})


def test_a_figure_that_is_missing_counts_0_for_a_student_and_nothing_without_its_teacher() -> None:
    lacking = finals(rows=[row(STUDENT, 0, 0.0, 0.0, metrics={"mean_recall": 76.0}), *finals()["rows"][:1]])
    (joint,) = summarised(lacking)
    assert joint.means(STUDENT) == pytest.approx({0: 47.5})
    (alone,) = summarised(finals(rows=[row(STUDENT, 0, 76.0, 45.0)]))
    assert math.isnan(alone.kept(STUDENT).estimate)


def test_forms_are_rows_of_one_table_relative_to_the_teacher_in_float32() -> None:
    assert forms_rows(finals()) == []
    whole = {"mean_recall": 80.0, "vqa_accuracy": 50.0}
    forms = [
        {**finals()["models"][0], "metrics": whole},
        {**finals()["models"][0], "form": "int8", "metrics": {"mean_recall": 76.0, "vqa_accuracy": 45.0}},
    ]
    told = forms_rows(finals(forms=forms))
    assert [one[:3] for one in told] == [("teacher", "float32", "100.0"), ("teacher", "int8", "92.5")]
    told = forms_rows(finals(forms=[*forms, {**forms[0], "teacher": "other"}]))
    assert [one[0] for one in told] == ["teacher embedded", "teacher embedded", "teacher other"]


def test_terminal_and_report_tell_the_same(make_run: Callable[..., Path]) -> None:
    run_folder = make_run()
    assert "finalise.py" in finals_section(read_run(run_folder))
    (run_folder / FINALS_FILE).write_text(json.dumps({"version": 1, "finals": [finals()]}))
    told = "\n".join(finals_lines(read_run(run_folder)))
    shown = finals_section(read_run(run_folder))
    for words in ("0.25x parameters", "4.00 times faster", "mean recall", "gain over no distillation: +43.5"):
        assert words in told
        assert words in shown
    assert "gain over no distillation: +43.5 [" in told


def test_a_clear_loss_is_told_as_one(make_run: Callable[..., Path]) -> None:
    """A retention of 50 to 52 % beside 95 to 97 % of no distillation: the whole interval lies below 0."""
    worse = [row(STUDENT, seed, 40.0 + seed, 25.0 + seed / 2) for seed in range(3)]
    plain = [row(PLAIN, seed, 76.0 + seed, 48.0) for seed in range(3)]
    (found,) = summarised(finals(rows=[*finals()["rows"][:1], *worse, *plain]))
    told = verdict(found)
    assert "gain over no distillation: -4" in told
    assert "points, a clear loss" in told
    assert "not clear" not in told


def test_a_task_that_the_teacher_cannot_do_is_no_part_of_the_mean() -> None:
    """Its words for answers are others, say: with it, nothing at all would be told of the other tasks."""
    told = [row("teacher", 0, 80.0, 0.0, candidate_id="", stage="embedded", epochs=0)]
    students = [row(STUDENT, seed, 76.0 + seed, 10.0) for seed in range(2)]
    (found,) = summarised(
        finals(rows=[*told, *students, row(PLAIN, 0, 40.0, 10.0), row(PLAIN, 1, 40.0, 10.0)])
    )
    assert found.means(STUDENT) == pytest.approx({0: 95.0, 1: 96.25})
    assert found.beyond == ("vqa",)
    assert verdict(found).startswith("kept over all tasks but vqa (the teacher has 0): 95.6 [")
    assert "gain over no distillation: +45.6 [" in verdict(found)


def test_a_request_that_has_no_figures_yet_does_not_hide_those_of_the_one_before(
    make_run: Callable[..., Path],
) -> None:
    folder = make_run()
    begun = finals(
        key="later", epochs=9, command="python search/finalise.py later", rows=finals()["rows"][:1]
    )
    for told, words in (
        ([finals(), begun], "A later request has no figures yet: python search/finalise.py later"),
        ([begun, finals()], "1 earlier request stand"),
    ):
        (folder / FINALS_FILE).write_text(json.dumps({"version": 1, "finals": told}))
        shown = finals_section(read_run(folder))
        assert "gain over no distillation: +43.5" in shown
        assert "Trained 5 epochs longer" in shown
        assert words in shown
    (folder / FINALS_FILE).write_text(json.dumps({"version": 1, "finals": [begun]}))
    assert "Trained 9 epochs longer" in finals_section(read_run(folder))


@pytest.mark.parametrize(
    "spoilt",
    [
        {"rows": [{"candidate_id": 3}]},
        {"rows": "none"},
        {"counts": {"vqa": 3}},
        {"models": [{"candidate_id": ID, "form": "int8", "costs": {"params": "many"}}]},
        {"epochs": -1},
        {"domains": 3},
        {"teachers": [ID]},
        {"notes": "none"},
    ],
)
def test_a_damaged_file_is_told_by_its_place(spoilt: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / FINALS_FILE).write_text(json.dumps({"version": 1, "finals": [finals(**spoilt)]}))
    with pytest.raises(RunError, match=r"finals\[0\]\.\w+.*damaged"):
        read_finals(tmp_path)
    (tmp_path / FINALS_FILE).write_text("{")
    with pytest.raises(RunError, match="damaged"):
        read_finals(tmp_path)
