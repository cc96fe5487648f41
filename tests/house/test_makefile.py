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
    stub(place / "venv/bin/python", f'[ "$1" = -c ] && exit\n{python}')
    stamp(place)
    return called(place, *words)


def stub(program: Path, python: str) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{python}\n")
    program.chmod(0o755)


def stamp(place: Path) -> None:
    """Say that everything is installed in the environment."""
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    key = hashlib.sha256(b"".join([*parts, f"test,png,onnx,caption {ROOT} compiled\n".encode()])).hexdigest()
    (place / "venv/.installed").write_text(key + "\n")


def called(place: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run make in a plain environment and some settings."""
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
        }
        | settings,
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


PYTHON = """\
echo "$@" >> "$LOG"
case "$*" in
*version_info*) echo "3.11 1" ;;
"-m venv "*) # the true one fails over a link that leads nowhere, and leaves a Python that is there
    [ ! -L "$3/bin/python3" ] && [ ! -e "$3/bin/python" ] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
*--target*) exit 1 ;; # uv is left out
"-m pip"*) # a set-up that is cut off is not complete
    [ ! -e "$(dirname "$0")/../.installed" ] || exit 1
    echo "$PIP_USER ${PIP_TARGET-} ${PIP_PREFIX-}" >> "$LOG.pip" ;;
esac
"""


@pytest.mark.parametrize(
    "broken", ["a link that leads nowhere", "a newer Python, which has no pip", "nothing"]
)
def test_an_environment_is_made_anew_where_its_python_has_gone(broken: str, tmp_path: Path) -> None:
    bin_, log = tmp_path / "venv/bin", tmp_path / "log"
    bin_.mkdir(parents=True)
    stub(tmp_path / "python", PYTHON)
    if broken.startswith("a link"):
        (bin_ / "python3").symlink_to(tmp_path / "removed")
        (bin_ / "python").symlink_to("python3")
    elif broken.startswith("a newer"):
        stub(bin_ / "python", "exit 1")
    stamp(tmp_path)
    settings = {"LOG": str(log), "PIP_USER": "1", "PIP_TARGET": "/no/such", "PIP_PREFIX": "/no/such"}
    words = ("setup", f"PYTHON={tmp_path / 'python'}", "NEEDED_GB=0")
    done = called(tmp_path, *words, **settings)
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert f"-m venv {tmp_path / 'venv'}" in lines
    assert lines[-1].startswith("-m compileall")
    assert {line.strip() for line in Path(f"{log}.pip").read_text().splitlines()} == {"0"}
    log.unlink()
    assert called(tmp_path, *words, **settings).returncode == 0
    assert log.read_text() == "-c import pip\n"  # the second time
