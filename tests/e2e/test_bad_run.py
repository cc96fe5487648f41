"""Run folders that cannot be used: one clear message, exit code 2, nothing written or lost."""

import importlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from analysis.run_folder import FACTS_FILE
from spaces.commands import command_line
from tests.e2e import runs
from tests.e2e.runs import Refused

SAVED = "Saved so far: "


@pytest.fixture
def copy(finished: runs.Finished, tmp_path: Path) -> Path:
    """Return a copy of a finished run, to be damaged."""
    return Path(shutil.copytree(finished.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("ray")))


def test_out_that_holds_another_run_is_refused(copy: Path, tmp_path: Path, refused: Refused) -> None:
    space = runs.write_space(tmp_path, runs.SPACE.replace("name: tiny", "name: other"))
    told = refused("--space", str(space), "--out", str(copy))
    assert f"--out {copy}: holds a run of the space 'tiny'" in told
    assert f"--resume {copy}" in told


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_out_that_holds_other_files_is_refused(
    more: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    told = refused("--space", str(runs.write_space(tmp_path)), "--out", str(tmp_path / "full"), *more)
    assert "is not empty" in told


def test_out_that_is_a_file_is_refused(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").write_text("")
    told = refused("--space", str(runs.write_space(tmp_path)), "--out", str(tmp_path / "file"))
    assert "is a file" in told


def test_resuming_no_folder_is_refused(refused: Refused) -> None:
    assert "nowhere: no such folder" in refused("--resume", "nowhere")


def test_resuming_a_folder_that_is_no_run_is_refused(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "photos").mkdir()
    assert "is no run" in refused("--resume", str(tmp_path / "photos"))


@pytest.mark.parametrize("name", ["trials.arrow", "run.json", "space.yaml"], ids=["table", "facts", "space"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_resuming_a_damaged_run_says_what_was_saved(
    name: str, damage: str, copy: Path, refused: Refused
) -> None:
    file = copy / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    told = refused("--resume", str(copy))
    assert str(file) in told or name in told
    assert SAVED in told
    epochs = len(runs.history_rows(copy))
    assert f"{SAVED}{epochs} epochs of 4 candidates" in told


def test_resuming_with_damaged_rungs_says_so(copy: Path, refused: Refused) -> None:
    (copy / "rungs.json").write_text("{")
    told = refused("--resume", str(copy), "--trials", "4")
    assert "rungs.json: damaged" in told
    assert "--resume refills the rungs from history/" in told


@pytest.fixture
def old(copy: Path) -> Path:
    """Return the run as an older version would have left it: no formats, and checkpoints of version 1."""
    facts = json.loads((copy / FACTS_FILE).read_text())
    for name in ("format", "tasks", "metrics"):
        del facts[name]
    (copy / FACTS_FILE).write_text(json.dumps({**facts, "git_commit": "0abb843"}))
    for file in copy.glob("checkpoints/*/checkpoint.pt"):
        torch.save({**torch.load(file, weights_only=False), "version": 1}, file)
    for file in copy.glob("checkpoints/*/candidate.json"):
        job = json.loads(file.read_text())
        file.write_text(json.dumps({**job, "itm_patience": job.pop("patience")}))
    return copy


def check_says_what_can_be_done(told: str, run: Path) -> None:
    """Check the message on a run of an older version."""
    assert "got a run of format 1, which an older version of this program wrote, commit 0abb843" in told
    assert command_line("analysis/report.py", run) in told
    assert command_line("search/simulate.py", "--table", run) in told
    assert "use the version that wrote it" in told
    assert command_line("search/run.py", "--space", run / "space.yaml") in told


@pytest.mark.parametrize("arguments", [(), ("--trials", "9")])
def test_resuming_a_run_of_an_older_version_says_what_can_be_done_with_it(
    arguments: tuple[str, ...], old: Path, refused: Refused
) -> None:
    told = refused("--resume", str(old), *arguments)
    assert told.startswith(f"--resume {old}: got a run of format 1")
    check_says_what_can_be_done(told, old)


def test_a_warm_start_from_a_run_of_an_older_version_is_refused(
    old: Path, tmp_path: Path, refused: Refused
) -> None:
    space = runs.write_space(tmp_path)
    check_says_what_can_be_done(refused("--space", str(space), *runs.SMOKE, "--warm-start", str(old)), old)


@pytest.mark.parametrize("command", ["export", "control"])
def test_students_of_an_older_version_are_neither_exported_nor_controlled(
    command: str, old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = importlib.import_module(f"search.{command}").main
    out = ("--out", str(tmp_path / "student")) if command == "export" else ()
    before = sorted(tmp_path.rglob("*"))
    assert main([str(old), "--pick", finished_id_of(old), *out]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {old}: got a run of format 1")
    check_says_what_can_be_done(told, old)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_of_an_older_version_is_still_reported(
    old: Path, finished: runs.Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    from analysis.report import main

    (old / "report.html").unlink()
    assert main([str(old)]) == 0, capsys.readouterr().err
    report = (old / "report.html").read_text()
    for name, row in runs.trial_rows(finished.folder).items():
        assert name in report or row["role"] == "blind"


def test_a_run_of_an_older_version_is_still_simulated(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.simulate import main

    monkeypatch.chdir(tmp_path)
    engines = ("--searcher", "random", "--scheduler", "none", "--seeds", "1")
    assert main(["--table", str(old), *engines]) == 0, capsys.readouterr().err
    assert "student.image.width" in capsys.readouterr().out


def test_a_run_of_a_newer_version_is_refused(copy: Path, refused: Refused) -> None:
    facts = json.loads((copy / FACTS_FILE).read_text())
    (copy / FACTS_FILE).write_text(json.dumps({**facts, "format": 99}))
    told = refused("--resume", str(copy))
    assert "got a run of format 99, which a newer version of this program wrote" in told
    assert "student-search report" not in told


def test_a_checkpoint_of_an_older_version_says_what_can_be_done(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainables.worker import main

    folder = old / "checkpoints" / finished_id_of(old)
    job = json.loads((folder / "candidate.json").read_text())
    job["patience"] = job.pop("itm_patience")
    (tmp_path / "candidate.json").write_text(json.dumps(job))
    before = (folder / "checkpoint.pt").read_bytes()
    assert main([str(tmp_path / "candidate.json"), "--out", str(folder)]) == 2
    told = capsys.readouterr().err
    assert f"{folder / 'checkpoint.pt'}: has version 1, this program reads 2" in told
    assert "in another folder" in told
    assert (folder / "checkpoint.pt").read_bytes() == before


def finished_id_of(run: Path) -> str:
    """Return a candidate that was trained to the end, and whose weights are kept."""
    rows = runs.trial_rows(run).values()
    return str(next(r["candidate_id"] for r in rows if r["on_front_params"]))


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (("--seed", "1"), "--seed"),
        (("--max-epochs", "9"), "--max-epochs"),
        (("--set", "training.lr=1"), "--set training.lr=1"),
        (("--space", "other.yaml"), "--space"),
        (("--smoke",), "--smoke"),
    ],
)
def test_resuming_as_another_run_is_refused(
    arguments: tuple[str, ...], flag: str, copy: Path, refused: Refused
) -> None:
    told = refused("--resume", str(copy), *arguments)
    assert f"got {flag}" in told
    assert "--trials" in told


def test_resuming_with_an_edited_space_is_refused(copy: Path, refused: Refused) -> None:
    space = copy / "space.yaml"
    space.write_text(space.read_text().replace("epochs: 3", "epochs: 2"))
    assert "training.epochs: was 3, is 2. allowed" in refused("--resume", str(copy))


def test_resuming_with_another_teacher_is_refused(copy: Path, refused: Refused) -> None:
    facts = copy / "run.json"
    facts.write_text(facts.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    told = refused("--resume", str(copy))
    assert "the teacher has fingerprint" in told
