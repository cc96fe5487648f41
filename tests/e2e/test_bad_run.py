"""Run folders that cannot be used: one clear message, exit code 2, nothing written or lost."""

import shutil
from pathlib import Path

import pytest

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


def test_out_that_holds_other_files_is_refused(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    told = refused("--space", str(runs.write_space(tmp_path)), "--out", str(tmp_path / "full"))
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
    assert "refilled from history/" in told


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


def test_resuming_with_another_teacher_is_refused(copy: Path, refused: Refused) -> None:
    facts = copy / "run.json"
    facts.write_text(facts.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    told = refused("--resume", str(copy))
    assert "the teacher has fingerprint" in told
