"""What becomes of a command whose output goes nowhere: it works on, and its exit code is true."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spaces import console
from spaces.console import Tolerant, say, tolerant
from tests.house.tree import ROOT

SPEAKER = """\
import sys, time
from pathlib import Path
from spaces.console import command, say

@command
def main(arguments=None):
    for number in range(2000):
        print("a line on standard output that fills a buffer")
        say("and one on standard error")
    with open(sys.argv[1], "w") as data:  # the next file that is opened
        print("noise")
        say("noise")
        sys.stderr.flush()
        data.write("data")
    return 3

sys.exit(main())
"""
WAITER = """\
import sys, time
from spaces.console import command

@command
def main(arguments=None):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("tidied up", flush=True)
    return 0

sys.exit(main())
"""
COUNTER = """\
import sys
from spaces.console import command

@command
def main(arguments=None):
    import torch
    from trainables.share import usable_cores
    print(usable_cores())
    return 0

sys.exit(main())
"""


@pytest.mark.parametrize(
    "redirection",
    [
        "| true",
        "2>&1 | head -1",
        ">&-",
        "2>&-",
        ">&- 2>&- <&-",
        ">/dev/full",
        "2>/dev/full",
        ">/dev/full 2>&1",
    ],
)
def test_a_command_works_on_and_its_exit_code_is_true(redirection: str, tmp_path: Path) -> None:
    program, data = tmp_path / "speaker.py", tmp_path / "data"
    program.write_text(SPEAKER)
    line = f'"$0" "$1" "$2" {redirection}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", line, sys.executable, program, data],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3, done.stderr
    assert data.read_text() == "data"
    for complaint in ("Traceback", "BrokenPipe", "Exception ignored"):
        assert complaint not in done.stderr


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_every_signal_ends_it_tidily_with_its_own_exit_code(number: str, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITER],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # a suite under nohup ignores it
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.Signals[number])
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, "tidied up\n", "interrupted\n")


class Broken(io.StringIO):
    """A stream of which every use fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error

    def isatty(self) -> bool:
        raise self.error if isinstance(self.error, ValueError) else ValueError


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(),
        OSError(28, "No space left on device"),
        OSError(5, "I/O error"),
        ValueError("closed"),
    ],
)
def test_no_failure_of_a_stream_reaches_who_speaks(error: Exception) -> None:
    stream = tolerant(Broken(error))
    print("hello", file=stream, flush=True)
    assert not stream.isatty()


def test_letters_that_a_stream_does_not_have_are_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    print("5 ± 1, a\udcff", file=tolerant(stream), flush=True)
    assert raw.getvalue() == b"5 \\xb1 1, a\\udcff\n"


def test_a_process_without_streams_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    say("hello")
    nowhere = Tolerant(None)
    assert nowhere.write("hello") == 5
    assert nowhere.encoding == "utf-8"
    assert not nowhere.isatty()


def test_a_tolerant_stream_is_not_wrapped_again() -> None:
    once = tolerant(io.StringIO())
    assert tolerant(once) is once


@pytest.mark.parametrize("setting", ["OMP_PROC_BIND=true", "OMP_PLACES=cores", "GOMP_CPU_AFFINITY=0-1"])
def test_a_command_is_bound_to_no_core(setting: str) -> None:
    name, _, value = setting.partition("=")
    clean = {key: kept for key, kept in os.environ.items() if key not in console.BINDING}
    plain, bound = (
        subprocess.run(
            [sys.executable, "-c", COUNTER],
            env={**clean, **extra, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=240,
        )
        for extra in ({}, {name: value})
    )
    assert plain.stderr == ""
    assert (
        bound.stderr
        == f"{setting} would bind this process, and all that it starts, to one core: not used here\n"
    )
    assert bound.stdout == plain.stdout


def test_a_process_that_torch_has_bound_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in console.BINDING:
        monkeypatch.delenv(name, raising=False)
    assert console.leave_unbound() == ""
    monkeypatch.setenv("OMP_PROC_BIND", "spread")
    monkeypatch.setitem(sys.modules, "torch", object())
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert console.leave_unbound().startswith("OMP_PROC_BIND=spread has bound this process to 1 of 8 cores")
    assert os.environ["OMP_PROC_BIND"] == "false"
    assert console.leave_unbound() == ""
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert console.leave_unbound() == "", "one place that has them all"
