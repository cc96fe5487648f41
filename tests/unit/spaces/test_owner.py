"""One process works in a run folder: told with real processes, and with files as other machines leave them."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spaces import owner
from spaces.errors import ResourceError, RunError
from spaces.owner import OWNER_FILE, SILENT_S, check_free, owned, started_at
from tests.house.tree import ROOT

PATIENCE_S = 60.0
HOLD = """\
import subprocess, sys, time
from pathlib import Path
from spaces import owner
from spaces.errors import RunError

folder, start, child, every_s = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "child", float(sys.argv[4])
owner.SIGN_EVERY_S = every_s
print("ready", flush=True)
while not start.exists():
    time.sleep(0.001)
try:
    with owner.owned(folder, say=print):
        if child:
            print("child", subprocess.Popen(["sleep", "60"], close_fds=False, stdout=subprocess.DEVNULL).pid, flush=True)
        print("owns", flush=True)
        sys.stdin.read()
except RunError as error:
    print("refused:", error, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a run folder that nobody works in."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@contextmanager
def holders(
    count: int, folder: Path, *, child: str = "alone", every_s: float = 20.0
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start processes that try to own a folder at the same instant, and hold it until their input ends."""
    start = folder.with_name("start")
    arguments = [sys.executable, "-c", HOLD, str(folder), str(start), child, str(every_s)]
    made = [
        subprocess.Popen(
            arguments,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        assert all(line_of(one) == "ready" for one in made)
        start.touch()
        yield made
    finally:
        for one in made:
            one.kill()
            one.communicate(timeout=PATIENCE_S)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def mark(folder: Path, **changes: Any) -> Path:
    """Write the file of a process of this machine that has ended, with changes; return it."""
    path = folder / OWNER_FILE
    path.touch()
    ended = subprocess.Popen(["true"])
    ended.wait()
    fields = {
        **owner._here(),
        "pid": ended.pid,
        "process_start": "1",
        "command": "python search/run.py",
        "since": "2026-01-01 00:00:00 UTC",
        "inode": path.stat().st_ino,
        "token": "theirs",
    }
    path.write_text(json.dumps({**fields, **changes}))
    return path


def taken(folder: Path) -> list[str]:
    """Own a folder for a moment; return what was told."""
    told: list[str] = []
    with owned(folder, say=told.append):
        assert json.loads((folder / OWNER_FILE).read_text())["pid"] == os.getpid()
    return told


def test_of_processes_that_start_at_once_one_wins_and_the_others_are_told_which(folder: Path) -> None:
    with holders(4, folder) as processes:
        said = [line_of(one) for one in processes]
        (winner,) = [one for one, line in zip(processes, said, strict=True) if line == "owns"]
        refused = [line for line in said if line != "owns"]
        assert len(refused) == 3
        for line in refused:
            assert f"process {winner.pid} on this machine works in it" in line
            assert "since 20" in line
            assert f"kill -INT {winner.pid}" in line
            assert f"python analysis/report.py {folder}" in line
        with pytest.raises(RunError, match=f"process {winner.pid} on this machine"):
            check_free(folder, say=print)


def test_nothing_is_left_by_a_process_that_ends_well(folder: Path) -> None:
    assert taken(folder) == []
    assert list(folder.iterdir()) == []
    check_free(folder, say=print)


def test_a_killed_process_is_followed_at_once_though_its_child_lives_on(folder: Path) -> None:
    with holders(1, folder, child="child") as (process,):
        child = int(line_of(process).removeprefix("child "))
        assert line_of(process) == "owns"
        process.kill()
        process.wait(PATIENCE_S)
        try:
            assert started_at(child)
            (told,) = taken(folder)
        finally:
            os.kill(child, signal.SIGKILL)
    assert told.startswith(
        f"run folder {folder}: process {process.pid} on this machine ended without giving it back"
    )
    assert told.endswith("this process takes it over")


def test_two_threads_do_not_own_one_folder(folder: Path) -> None:
    def refusal() -> str:
        with pytest.raises(RunError) as error:
            taken(folder)
        return str(error.value)

    with owned(folder, say=print), ThreadPoolExecutor() as pool:
        assert "this process works in it already" in pool.submit(refusal).result()
    assert taken(folder) == []


def test_a_process_number_that_was_given_again_is_not_its_owner(folder: Path) -> None:
    mark(folder, pid=os.getppid(), process_start="12345")
    assert started_at(os.getppid()) not in ("", "12345")
    assert len(taken(folder)) == 1


def test_a_process_that_lives_is_not_pushed_out_where_locks_do_not_hold(folder: Path) -> None:
    mark(folder, pid=os.getppid(), process_start=started_at(os.getppid()))
    with pytest.raises(RunError, match=f"process {os.getppid()} on this machine"):
        taken(folder)


def test_a_process_of_another_machine_is_left_alone_until_it_is_silent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mark(folder, host="far.example", boot="other")
    with pytest.raises(RunError) as error:
        taken(folder)
    told = str(error.value)
    assert "on far.example works in it (python search/run.py, since 2026-01-01 00:00:00 UTC)" in told
    assert f"if you are sure that it is gone: rm {path}" in told
    before = time.time() - SILENT_S - 1
    os.utime(path, (before, before))
    monkeypatch.setattr(owner, "WATCHED_S", 0.1)
    watched, over = taken(folder)
    assert "gave its last sign of life 301 s ago by this machine's clock" in watched
    assert watched.endswith("watching it for 0 s")
    assert "on far.example ended without giving it back" in over


def test_a_process_is_not_taken_for_dead_because_our_clock_was_set_forward(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mark(folder, host="far.example", boot="other")
    there, over = time.time(), threading.Event()

    def live() -> None:
        for number in range(10_000):
            os.utime(path, (there + number, there + number))
            if over.wait(0.05):
                return

    monkeypatch.setattr(owner, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(time, "time", lambda: there + 5 * 3600)
    alive = threading.Thread(target=live)
    alive.start()
    told: list[str] = []
    try:
        with pytest.raises(RunError, match=r"on far\.example works in it"):
            check_free(folder, say=told.append)
        with pytest.raises(RunError, match=r"on far\.example works in it"), owned(folder, say=told.append):
            pass
    finally:
        over.set()
        alive.join(PATIENCE_S)
    assert len(told) == 2
    assert all("watching it" in line for line in told)


def test_a_clock_that_is_behind_is_told(folder: Path) -> None:
    path = mark(folder, host="far.example", boot="other")
    ahead = time.time() + 7200.5
    os.utime(path, (ahead, ahead))
    with pytest.raises(RunError, match=r"sign of life lies 7,200 s ahead of this machine's clock"):
        taken(folder)


def test_a_place_that_is_given_back_while_it_is_watched_is_free(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mark(folder, host="far.example", boot="other")
    os.utime(path, (0, 0))
    monkeypatch.setattr(time, "sleep", lambda seconds: path.unlink())
    (told,) = taken(folder)
    assert "watching it" in told
    assert list(folder.iterdir()) == []


def test_a_process_that_was_watched_in_vain_is_not_watched_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(mark(folder, host="far.example", boot="other", token="gone"), (0, 0))
    monkeypatch.setattr(owner, "WATCHED_S", 0.1)
    told: list[str] = []
    check_free(folder, say=told.append)
    check_free(folder, say=told.append)
    assert len(told) == 1


@pytest.mark.parametrize(
    "changes",
    [{"boot": "before the machine was started anew"}, {"numbers": "pid:[1]"}],
    ids=["reboot", "container"],
)
def test_a_machine_that_was_started_anew_needs_no_hand(changes: dict[str, str], folder: Path) -> None:
    mark(folder, pid=os.getppid(), process_start=started_at(os.getppid()), **changes)
    assert len(taken(folder)) == 1


def test_the_copy_of_a_folder_in_use_is_free(folder: Path) -> None:
    with owned(folder, say=print):
        assert taken(shutil.copytree(folder, folder.with_name("copy"))) == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"pid": 1}', pytest.param("[" * 100_000, id="deep")]
)
def test_a_file_that_says_nothing_is_no_owner(content: str, folder: Path) -> None:
    (folder / OWNER_FILE).write_text(content)
    assert taken(folder) == []


@pytest.mark.parametrize("changes", [{"pid": "x"}, {"pid": None}, {"token": [1]}, {"host": 3}], ids=str)
def test_a_file_of_another_form_is_no_owner(changes: dict[str, Any], folder: Path) -> None:
    mark(folder, **changes)
    check_free(folder, say=print)
    assert taken(folder) == []


def test_without_locks_the_file_alone_decides(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(owner, "WRITING_S", 0.2)
    inside, over = threading.Event(), threading.Event()
    results: list[str] = []

    def take() -> None:
        try:
            with owned(folder, say=lambda line: None):  # what one that gave up had written may be told
                results.append("owns")
                inside.set()
                over.wait(PATIENCE_S)
        except RunError as error:
            results.append(str(error))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for one in threads:
        one.start()
    assert inside.wait(PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while len(results) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    over.set()
    for one in threads:
        one.join(PATIENCE_S)
    assert results.count("owns") == 1
    assert len(results) == 4
    mark(folder)
    assert len(taken(folder)) == 1


def test_a_process_that_was_pushed_out_ends_at_once(folder: Path) -> None:
    with holders(1, folder, every_s=0.05) as (process,):
        assert line_of(process) == "owns"
        fields = json.loads((folder / OWNER_FILE).read_text())
        other = folder / "other"
        other.write_text(json.dumps({**fields, "token": "another"}))
        other.replace(folder / OWNER_FILE)
        assert process.wait(PATIENCE_S) == 2
        assert process.stderr is not None
        assert "another process has taken it over" in process.stderr.read()


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_told(
    code: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual: Callable[..., int] = os.open

    def read_only(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if Path(path).name == OWNER_FILE:
            raise OSError(code, os.strerror(code))
        return usual(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(ResourceError, match=f"{OWNER_FILE}: cannot be written: "):
        taken(folder)
