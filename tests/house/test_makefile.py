"""What `make search` does with a run folder, with a Python that only says how it was called."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.house.tree import ROOT

FINISHED = {"ended_by": "trials"}


def make_search(place: Path) -> tuple[str, str]:
    """Run it on the folder `place/run`; return what it called, and what it said."""
    python = place / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    key = hashlib.sha256(b"".join([*parts, f"test,png {ROOT} compiled\n".encode()])).hexdigest()
    (place / "venv/.installed").write_text(key + "\n")
    done = subprocess.run(
        [
            "make",
            "-C",
            str(ROOT),
            "--no-print-directory",
            "search",
            f"VENV={place / 'venv'}",
            f"RUN={place / 'run'}",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip(), done.stderr.strip()


def write(place: Path, sessions: list[dict[str, Any]], **facts: Any) -> Path:
    folder = place / "run"
    folder.mkdir()
    (folder / "report.html").touch()
    (folder / "run.json").write_text(json.dumps({**facts, "sessions": sessions}, indent=1))
    return folder


def test_a_new_run_is_begun(tmp_path: Path) -> None:
    called, said = make_search(tmp_path)
    assert (called, said) == (f"search/run.py --space spaces/dlip.yaml --out {tmp_path / 'run'}", "")


def test_a_finished_run_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path, [FINISHED], **FINISHED)
    called, said = make_search(tmp_path)
    assert called == f"report: {folder / 'report.html'}"
    assert said.startswith("this search is finished")


@pytest.mark.parametrize("ended_by", [None, "interrupted"])
def test_an_extended_run_is_not_finished_because_an_earlier_session_was(
    ended_by: str | None, tmp_path: Path
) -> None:
    folder = write(tmp_path, [FINISHED, {"ended_by": ended_by}], ended_by=ended_by)
    called, said = make_search(tmp_path)
    assert called == f"search/run.py --resume {folder}"
    assert said == f"the search in {folder} has not told its end: to be resumed, unless a process works in it"
