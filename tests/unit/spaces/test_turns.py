"""What several processes want to make is made by one; the others wait, say so, and take over from one that dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spaces import turns
from spaces.turns import in_turn
from tests.house.tree import ROOT

PATIENCE_S = 60.0
HOLD = """\
import sys
from pathlib import Path
from spaces.turns import in_turn

with in_turn(Path(sys.argv[1]), "scenes", say=print):
    print("fills", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LOOK_EVERY_S", 0.02)


def test_one_fills_and_the_other_waits_and_says_so(tmp_path: Path) -> None:
    target, told, waits = tmp_path / "train.arrow", list[str](), threading.Event()

    def say(line: str) -> None:
        told.append(line)
        waits.set()

    def second() -> str:
        with in_turn(target, "scenes", say=say):
            return target.read_text()

    with ThreadPoolExecutor() as pool:
        with in_turn(target, "scenes", say=print):
            other = pool.submit(second)
            assert waits.wait(PATIENCE_S)
            target.write_text("complete")
        assert other.result(PATIENCE_S) == "complete"
    assert told == [
        f"scenes {target}: another thread of this process fills it; waiting for it, 0 s so far (Ctrl-C ends the wait)"
    ]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_work_of_a_process_that_dies_is_taken_over(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TOLD_EVERY_S", 0.0)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    told: list[str] = []

    def say(line: str) -> None:
        told.append(line)
        if len(told) == 2:
            os.kill(process.pid, number)

    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "fills\n"
        with in_turn(tmp_path, "teacher cache", say=say):
            assert process.wait(PATIENCE_S) == -number
    assert told[0].startswith(
        f"teacher cache {tmp_path}: process {process.pid} on this machine fills it; waiting"
    )
    assert f"process {process.pid} on this machine ended without giving it back" in told[-1]
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(seconds: float) -> None:
        raise KeyboardInterrupt

    with in_turn(tmp_path, "scenes", say=print):
        monkeypatch.setattr(time, "sleep", pressed)
        with pytest.raises(KeyboardInterrupt), in_turn(tmp_path, "scenes", say=print):
            raise AssertionError("two fill it")
    assert list(tmp_path.iterdir()) == []
