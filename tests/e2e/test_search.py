"""`python search/run.py`: what a search leaves behind, and what it prints without searching."""

import json
import math
import re
from pathlib import Path

import pytest

from analysis.table import STATUSES, metric_names, read_trials
from spaces.objectives import FRONT_COSTS
from tests.e2e import runs


def test_the_smoke_search_ends_with_the_path_of_its_report(finished: runs.Finished) -> None:
    told = finished.text.splitlines()[-1]
    assert told.startswith("report: ")
    assert finished.place / told.removeprefix("report: ") == finished.folder / "report.html"
    assert re.search(r"^\d+ s in all$", finished.text, re.MULTILINE)


def test_the_run_folder_holds_all_of_its_files(finished: runs.Finished) -> None:
    names = {path.name for path in finished.folder.iterdir()}
    assert {"space.yaml", "run.json", "trials.arrow", "rungs.json", "history", "checkpoints", "logs"} <= names
    assert "report.html" in names
    assert not [name for name in names if name.startswith(".")]  # no draft is left


def test_every_candidate_has_a_row_and_at_least_one_is_finished(finished: runs.Finished) -> None:
    rows = runs.trial_rows(finished.folder)
    assert {row["status"] for row in rows.values()} <= set(STATUSES) - {"running"}
    searched = [row for row in rows.values() if row["role"] == "search" and row["status"] != "rejected"]
    assert len(searched) == 3
    best = [row for row in searched if row["status"] == "finished"]
    assert best
    metrics = metric_names(read_trials(finished.folder / "trials.arrow"))
    assert {"retention", "retention_above_blind", "mean_recall", "vqa_accuracy"} <= set(metrics)
    for row in best:
        assert row["epochs"] == runs.EPOCHS
        assert min(row["params"], row["flops"], row["latency_ms"], row["size_mib"], row["wall_s"]) > 0
        assert all(math.isfinite(row[name]) for name in metrics)
    assert any(row["on_front_params"] for row in best)
    for (
        row
    ) in rows.values():  # the run keeps the weights of its fronts, of the blind student and of baselines
        kept = row["role"] != "search" or any(row[f"on_front_{cost}"] for cost in FRONT_COSTS)
        folder = finished.folder / "checkpoints" / row["candidate_id"]
        assert row["checkpoint"] == (f"checkpoints/{row['candidate_id']}" if kept else "")
        assert sorted(path.name for path in folder.glob("*.pt")) == ["best.pt", "checkpoint.pt"] * kept
        assert (folder / "candidate.json").is_file() == (row["status"] != "rejected")
    for row in best:
        if row["on_front_params"]:
            assert math.isfinite(row["test_retention"])
            assert row["speedup"] > 1
            assert row["wall_latency_ms"] > 0


def test_one_student_is_blind_and_on_no_front(finished: runs.Finished) -> None:
    (blind,) = [row for row in runs.trial_rows(finished.folder).values() if row["role"] == "blind"]
    assert blind["status"] == "finished"
    assert json.loads(blind["config"])["blind"] is True
    assert not any(blind[f"on_front_{cost}"] for cost in ("params", "flops", "latency_ms"))
    facts = json.loads((finished.folder / "run.json").read_text())
    assert facts["blind"]["mean_recall"] == blind["mean_recall"]
    assert {"retention", "mean_recall"} <= set(facts["metrics"])


def test_the_history_has_a_row_for_every_epoch_that_was_trained(finished: runs.Finished) -> None:
    history, rows = runs.history_rows(finished.folder), runs.trial_rows(finished.folder)
    expected = {(name, epoch) for name, row in rows.items() for epoch in range(1, row["epochs"] + 1)}
    assert set(history) == expected
    for (name, epoch), row in history.items():
        assert math.isfinite(row["loss"])
        assert math.isfinite(row["loss_itc"])
        last = rows[name]["status"] == "finished" and epoch == runs.EPOCHS
        assert row["status"] == ("finished" if last else "running")
        assert math.isfinite(row["retention"]) == (epoch in (1, runs.EPOCHS))


def test_the_tables_name_the_version_of_their_schema(finished: runs.Finished) -> None:
    assert read_trials(finished.folder / "trials.arrow").schema.metadata[b"schema_version"] == b"2"


def test_run_json_tells_what_decides_the_results(finished: runs.Finished) -> None:
    facts = json.loads((finished.folder / "run.json").read_text())
    assert facts["name"] == "tiny"
    assert facts["seed"] == 0
    assert facts["ended_by"] == "trials"
    assert facts["ended"] >= facts["started"]
    assert facts["rungs"] == [1, runs.EPOCHS]
    assert facts["objectives"]["retention"] == "max"
    assert {"torch", "ray", "python"} <= set(facts["versions"])
    assert facts["hardware"]["cores"] > 0
    assert len(facts["teacher"]["fingerprint"]) == len(facts["dataset"]["fingerprint"]) == 16
    assert facts["teacher"]["params"] > 1_000_000
    assert facts["teacher"]["metrics"]["mean_recall"] > 0
    assert "--smoke" in facts["command"]


def test_the_rungs_hold_every_candidate_that_reached_them(finished: runs.Finished) -> None:
    book = json.loads((finished.folder / "rungs.json").read_text())
    rows = runs.trial_rows(finished.folder)
    assert book["scheduler"] == "moasha"
    assert set(book["rungs"]["1"]) == {name for name, row in rows.items() if row["role"] == "search"}
    stopped = {one["candidate_id"] for one in book["decisions"] if one["verdict"] == "stop"}
    assert stopped == {name for name, row in rows.items() if row["status"] == "stopped"}


def test_every_trial_has_a_log(finished: runs.Finished) -> None:
    for name, row in runs.trial_rows(finished.folder).items():
        log = (finished.folder / "logs" / f"{name}.log").read_text()
        assert f"epoch {row['epochs']}: " in log


def test_the_report_shows_all_candidates_and_loads_nothing(finished: runs.Finished) -> None:
    report = (finished.folder / "report.html").read_text()
    for name, row in runs.trial_rows(finished.folder).items():
        assert name in report or row["role"] == "blind"
    markup = re.sub(r"<script\b[^>]*>.*?</script>", "<script></script>", report, flags=re.DOTALL)
    assert not re.findall(r"""\s(?:src|href)\s*=\s*["']?(?:https?:)?//""", markup)
    assert not re.findall(r"<script\b[^>]*\ssrc", report)
    assert not re.findall(r"@import|url\(\s*[\"']?(?:https?:)?//", markup)


def test_without_a_browser_one_line_says_why_there_are_no_pictures(finished: runs.Finished) -> None:
    told = [line for line in finished.text.splitlines() if "front_*.png" in line]
    assert len(told) == 1
    assert "No front_*.png: " in told[0]
    assert not list(finished.folder.glob("*.png"))


def test_a_dry_run_prints_the_plan_and_makes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.run import main

    monkeypatch.chdir(tmp_path)
    space = runs.write_space(tmp_path)
    assert main(["--space", str(space), "--dry-run"]) == 0
    plan = capsys.readouterr().out
    for told in ("student.image.width", "admitted:", "params:", "flops:", "trials: 3", "estimated time"):
        assert told in plan
    assert list(tmp_path.iterdir()) == [space]


def test_students_that_do_only_some_of_the_tasks_are_planned_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.run import main

    monkeypatch.chdir(tmp_path)
    dual = runs.SPACE.replace("layers: 1", "layers: {choice: [0, 1], default: 0}") + "allow_partial: true\n"
    assert main(["--space", str(runs.write_space(tmp_path, dual)), "--dry-run"]) == 0
    told = capsys.readouterr()
    found = re.search(r"^admitted: (\d+) of (\d+) ", told.out, re.MULTILINE)
    assert found, told.out
    assert found.group(1) == found.group(2)
    assert "tasks: retrieval, vqa, captioning" in told.err + told.out


@pytest.mark.parametrize(
    ("room", "known"),
    [
        ("losses", ("itc", "answer_logit", "image_embedding", "weight = 1.0")),
        ("families", ("blip", "fusion")),
        ("tasks", ("captioning", "matching", "retrieval", "vqa")),
        ("teachers", ("embedded", "hub id")),
        ("datasets", ("scenes", "jsonl", "mismatched = 0.4")),
        ("searchers", ("random", "hyperopt")),
        ("schedulers", ("moasha", "asha", "reduction_factor = 3")),
    ],
)
def test_the_plug_ins_of_a_room_are_listed(
    room: str, known: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    from search.run import main

    assert main(["--list", room]) == 0
    listed = capsys.readouterr().out
    for word in known:
        assert word in listed
