"""What `make search` does with a run folder, and other targets with ARGS, with a Python that only says how it was called."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.house.tree import ROOT

FINISHED = {"ended_by": "trials"}


def make_search(place: Path) -> tuple[str, str]:
    """Run it on the folder `place/run`; return what it called, and what it said."""
    done = make(place, "search", f"RUN={place / 'run'}", python='echo "$@"')
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr.strip()


def make(place: Path, *words: str, python: str) -> subprocess.CompletedProcess[str]:
    """Run make with an environment whose Python is a line of shell."""
    program = place / "venv/bin/python"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{python}\n")
    program.chmod(0o755)
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    key = hashlib.sha256(b"".join([*parts, f"test,png,onnx,caption {ROOT} compiled\n".encode()])).hexdigest()
    (place / "venv/.installed").write_text(key + "\n")
    return subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory", *words, f"VENV={place / 'venv'}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={
            name: value
            for name, value in os.environ.items()
            if name not in ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES")
        },
    )


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


def test_the_campaign_gets_the_words_of_args_whole_and_keeps_its_exit_code(tmp_path: Path) -> None:
    tell = """printf '<%s>' "$@"; echo " $CAMPAIGN"; exit 5"""
    done = make(tmp_path, "campaign", "ARGS=-k 'disk or clock' -k \"a b\"", python=tell)
    parts = "<-m><pytest><-n><2><-m><properties or campaign><tests/campaign><tests/unit>"
    assert (done.returncode, done.stdout) == (2, f"{parts}<-k><disk or clock><-k><a b> 1\n")


def test_the_benchmark_gets_the_words_of_args_and_keeps_its_exit_code(tmp_path: Path) -> None:
    done = make(tmp_path, "bench", "ARGS=--only '1, 4' --quick", python="""printf '<%s>' "$@"; exit 1""")
    assert (done.returncode, done.stdout) == (2, "<tests/benchmarks/bench.py><--only><1, 4><--quick>")
