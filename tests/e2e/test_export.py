"""`python search/export.py`: a student as a folder that gives the recorded figures in another process."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.pareto import best, front, knee
from analysis.run_folder import read_run
from search.export import main
from tests.e2e import runs

MEASURE = """\
import json, sys
import torch
from trainables.export import load
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.training.build import shared_split

torch.set_num_threads(1)
student = load(sys.argv[1])
job = json.loads(open(sys.argv[2]).read())
split = shared_split(job["teacher"], "cpu", job["dataset"], "val")
tasks = make_tasks(job["tasks"]).values()
metrics = evaluate(student.model, split, tasks=tasks, size=EvaluationSize(**job["evaluation"]))
assert "ray" not in sys.modules and "pydantic" not in sys.modules
print(json.dumps(metrics))
"""
Export = Callable[..., str]


def finished_id(run: runs.Finished) -> str:
    """Return a candidate that was trained to the end, and whose weights are kept."""
    rows = runs.trial_rows(run.folder).values()
    return str(next(r["candidate_id"] for r in rows if r["on_front_params"]))


@pytest.fixture(scope="module")
def exported(finished: runs.Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one student, written by the command."""
    out = tmp_path_factory.mktemp("export") / "student"
    arguments = (runs.script("search/export.py"), str(finished.folder), "--pick", finished_id(finished))
    code, text = runs.run((*arguments, "--out", str(out)), folder=finished.place, env=finished.env)
    assert code == 0, text
    assert f"trainables.export.load({str(out)!r})" in text
    return out


def test_a_loaded_student_gives_the_recorded_metrics_exactly(finished: runs.Finished, exported: Path) -> None:
    name = finished_id(finished)
    candidate = finished.folder / "checkpoints" / name / "candidate.json"
    code, text = runs.run(("-c", MEASURE, str(exported), str(candidate)), folder=runs.ROOT, env=finished.env)
    assert code == 0, text
    metrics = json.loads(text.splitlines()[-1])
    row = runs.trial_rows(finished.folder)[name]
    assert len(metrics) >= 9
    assert metrics == {metric: row[metric] for metric in metrics}


def test_the_folder_holds_weights_config_tokenizer_preprocessing_and_card(
    finished: runs.Finished, exported: Path
) -> None:
    names = {path.name for path in exported.iterdir()}
    assert {
        "model.safetensors",
        "config.json",
        "preprocessor_config.json",
        "README.md",
        "candidate.json",
    } <= names
    assert {"tokenizer.json", "tokenizer_config.json"} <= names
    row = runs.trial_rows(finished.folder)[finished_id(finished)]
    measured = json.loads((exported / "config.json").read_text())["measured"]
    assert measured["candidate_id"] == row["candidate_id"]
    assert measured["costs"]["params"] == row["params"]
    assert measured["metrics"]["validation"]["retention"] == row["retention"]
    card = (exported / "README.md").read_text()
    assert row["candidate_id"] in card
    assert json.loads((finished.folder / "run.json").read_text())["hardware"]["cpu"] in card


def test_transformers_reads_the_tokenizer(exported: Path) -> None:
    from transformers import AutoTokenizer

    from trainables.export import load

    student = load(exported)
    tokenizer = AutoTokenizer.from_pretrained(exported)
    text = "a small red circle left of a large blue square"
    ours = student.tokenizer.captions([text])[0]
    assert tokenizer(text)["input_ids"] == list(ours)


@pytest.fixture
def exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Return a call of the command inside this process: exit code and what it said."""

    def call(run: Path, *arguments: str) -> tuple[int, str]:
        code = main([str(run), *arguments])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return call


@pytest.mark.parametrize("axis", ["params", "latency_ms"])
@pytest.mark.parametrize("point", ["best", "knee"])
def test_a_point_of_a_front_is_exported(
    point: str, axis: str, finished: runs.Finished, tmp_path: Path, exports: Any
) -> None:
    out = tmp_path / "student"
    code, text = exports(finished.folder, "--pick", point, "--axis", axis, "--out", str(out))
    assert code == 0, text
    run = read_run(finished.folder)
    members = front(run, axis)
    named = best(members, run.quality, maximise=True) if point == "best" else knee(
        members, axis, run.quality, maximise=True
    )  # fmt: skip
    config = json.loads((out / "config.json").read_text())
    assert config["measured"]["candidate_id"] == named.candidate_id


def refuse(exports: Any, out: Path, run: Path, pick: str) -> str:
    """Export what cannot be exported; return the message."""
    before = sorted(out.rglob("*")) if out.exists() else None
    code, text = exports(run, "--pick", pick, "--out", str(out))
    assert code == 2, text
    assert text.count("error: ") == 1
    assert "Traceback" not in text
    assert (sorted(out.rglob("*")) if out.exists() else None) == before
    assert not list(out.parent.glob(".*"))
    return str(text)


def test_an_unknown_id_is_told(finished: runs.Finished, tmp_path: Path, exports: Any) -> None:
    told = refuse(exports, tmp_path / "student", finished.folder, "ffffffff")
    assert "no candidate is called 'ffffffff'" in told
    assert finished_id(finished) in told


def test_a_candidate_that_is_not_finished_is_told(
    finished: runs.Finished, tmp_path: Path, exports: Any
) -> None:
    from analysis.table import metric_names, read_trials, write_trials

    run = Path(shutil.copytree(finished.folder, tmp_path / "run", ignore=shutil.ignore_patterns("ray")))
    rows, name = runs.trial_rows(run), finished_id(finished)
    metrics = metric_names(read_trials(run / "trials.arrow"))
    for status in ("stopped", "running", "crashed"):
        rows[name].update(status=status, epochs=1, reason="place 3 of 3" if status == "stopped" else "")
        write_trials(run / "trials.arrow", rows.values(), metrics)
        told = refuse(exports, tmp_path / "student", run, name)
        assert f"is {status} after 1 epochs" in told


def test_the_blind_student_is_not_exported(finished: runs.Finished, tmp_path: Path, exports: Any) -> None:
    (blind,) = [r for r in runs.trial_rows(finished.folder).values() if r["role"] == "blind"]
    told = refuse(exports, tmp_path / "student", finished.folder, blind["candidate_id"])
    assert "blind baseline" in told


def test_a_missing_checkpoint_is_told(finished: runs.Finished, tmp_path: Path, exports: Any) -> None:
    run = Path(shutil.copytree(finished.folder, tmp_path / "run", ignore=shutil.ignore_patterns("ray")))
    name = finished_id(finished)
    (run / "checkpoints" / name / "checkpoint.pt").unlink()
    told = refuse(exports, tmp_path / "student", run, name)
    assert f"{name}: holds no weights" in told
    assert "trainables.worker" in told  # brings them back


def test_a_damaged_checkpoint_is_told(finished: runs.Finished, tmp_path: Path, exports: Any) -> None:
    run = Path(shutil.copytree(finished.folder, tmp_path / "run", ignore=shutil.ignore_patterns("ray")))
    name = finished_id(finished)
    file = run / "checkpoints" / name / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:1000])
    assert "checkpoint.pt: damaged" in refuse(exports, tmp_path / "student", run, name)


def test_an_existing_folder_is_not_overwritten(finished: runs.Finished, tmp_path: Path, exports: Any) -> None:
    out = tmp_path / "student"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    assert "exists already" in refuse(exports, out, finished.folder, finished_id(finished))
    assert (out / "mine.txt").read_text() == "keep"


def test_a_folder_that_is_no_run_is_told(tmp_path: Path, exports: Any) -> None:
    assert "no run" in refuse(exports, tmp_path / "student", tmp_path, "best")
