"""Runs of the real commands on a space so small that a whole search takes seconds."""

import fcntl
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.table import read_history, read_trials

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 600.0  # for one command; the longest, a search of two workers a trial, took 71 beside other work
END_S = 60.0  # for processes to end whose parent was killed
EPOCHS = 3

Refused = Callable[..., str]
"""A call of `search/run.py` that must fail cleanly; it returns the message."""

SPACE = """\
name: tiny
teacher: embedded
dataset: {kind: scenes, train_images: 96, val_images: 64, test_images: 64, mismatched: 0.4}
student:
  kind: blip
  image: {width: {choice: [0.25x, 0.5x], default: 0.25x}, depth: {choice: [1, 2], default: 1}, init: inherit}
  text: {width: 0.25x, depth: 1, init: inherit}
  fusion: {layers: 1}
losses:
  itc: {weight: {log: [0.5, 2], default: 1}}
  lm: {weight: 1}
  vqa: {weight: 1}
  image_embedding: {weight: {log: [5, 60], default: 20}}
  text_embedding: {weight: 20}
training: {epochs: 3, pairs_per_epoch: 64, batch_size: 16, lr: 1e-3, warmup_steps: 2}
objectives: {retention: max, params: min, flops: min, latency_ms: min}
search:
  searcher: {kind: random}
  scheduler: {kind: moasha, rungs: [1], reduction_factor: 3}
  trials: 3
resources: {gpus_per_worker: 0}
evaluation: {images: 64}
latency: {samples: 4}
"""

LESS_THAN_SMOKE = {
    "training.epochs": EPOCHS,
    "training.pairs_per_epoch": 64,
    "evaluation.images": 64,
    "dataset.train_images": 96,
    "dataset.val_images": 64,
    "dataset.test_images": 64,
}
SMOKE = ("--smoke", *(f"--set={path}={value}" for path, value in LESS_THAN_SMOKE.items()))


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a command: that of the tests, without a browser."""
    ours = {
        "BROWSER_PATH": os.devnull,  # pictures take seconds and have tests of their own
        "PYTHONUNBUFFERED": "1",  # output is read while it comes
    }
    return {**os.environ, **ours, **more}


def write_space(folder: Path, text: str = SPACE) -> Path:
    """Write a space file and return its path."""
    path = folder / "tiny.yaml"
    path.write_text(text)
    return path


@dataclass(kw_only=True)
class Command:
    """A command that is running, and what it has said so far on either stream."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """Its process id; it leads a process group of its own, as under a shell."""
        return self.process.pid

    @property
    def text(self) -> str:
        """All output so far."""
        return "".join(self.lines)

    def read(self) -> None:
        """Collect output until it ends; a full pipe would stop the command."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    def wait_for(self, found: Callable[[], Any], what: str) -> Any:
        """Return what `found` returns as soon as it is true.

        Raises:
            AssertionError: the command ended before, or patience did.
        """
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if answer := found():
                return answer
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{what}: did not come.\n{self.text}")

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Return the exit code, all output collected."""
        try:
            code = self.process.wait(patience_s)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"it did not end in {patience_s:.0f} s:\n{self.text}") from error
        assert self.reader is not None
        self.reader.join(10)
        return code

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        """Press Ctrl-C: every process of the terminal's foreground group gets the signal; `timeout` does so with SIGTERM."""
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """Send kill -9 to the command itself, wait until what it had training has ended by itself, and end the rest.

        Ray's own processes notice much later, and hold nothing that a search needs.
        """
        family = descendants(self.pid)
        training = [pid for title in (TRIAL, TRAIN_WORKER) for pid in processes_called(title, self.pid)]
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(10)
        wait_for_end(training, patience_s=END_S)
        outlived = any(map(alive, training))
        end_processes(family)
        assert not outlived, f"a trial outlived its search by {END_S:.0f} s"


def descendants(pid: int) -> list[int]:
    """Return all processes below one."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and was not asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_end(pids: Sequence[int], *, patience_s: float) -> None:
    """Wait until processes have ended, or patience has."""
    deadline = time.monotonic() + patience_s
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)


def end_processes(pids: Sequence[int]) -> None:
    """Send kill -9 to those that run, and wait until they have ended."""
    for pid in filter(alive, pids):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for_end(pids, patience_s=10.0)


@contextmanager
def held(pids: Sequence[int]) -> Iterator[None]:
    """Let processes stand still as long as the block lasts."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def processes_called(title: bytes, pid: int) -> list[int]:
    """Return the processes below one whose command line holds a piece of text."""
    found = []
    for child in descendants(pid):
        try:
            if title in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
        except OSError:
            continue  # it has just ended
    return found


@contextmanager
def started(arguments: Sequence[str], *, folder: Path, env: dict[str, str]) -> Iterator[Command]:
    """Start `python ARGUMENTS` in `folder`; nothing of it is left when the block ends."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    command = Command(process=process)
    command.reader = threading.Thread(target=command.read, daemon=True)
    command.reader.start()
    try:
        yield command
    finally:
        if process.poll() is None:
            command.kill()


def run(
    arguments: Sequence[str], *, folder: Path, env: dict[str, str], patience_s: float = PATIENCE_S
) -> tuple[int, str]:
    """Run `python ARGUMENTS` in `folder`; return exit code and output."""
    with started(arguments, folder=folder, env=env) as command:
        return command.wait(patience_s), command.text


def run_unheard(arguments: Sequence[str], *, folder: Path, env: dict[str, str]) -> int:
    """Run `python ARGUMENTS`, and go away after its first line, as `2>&1 | head -1` does; return its exit code."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        process.stdout.close()
        return process.wait(PATIENCE_S)
    finally:
        if process.poll() is None:
            end_processes([process.pid, *descendants(process.pid)])


TRIAL = b"ImplicitFunc"  # Tune's actor, in which a trial of one worker trains
TRAIN_WORKER = b"RayTrainWorker"  # one of several workers of a trial


def script(name: str) -> str:
    """Return the path of a command of the project, such as `search/run.py`."""
    return str(ROOT / name)


def run_folder(command: Command, folder: Path) -> Path:
    """Wait until a search has told its run folder, and return it."""
    told = command.wait_for(
        lambda: re.search(r"^run folder: (.+)$", command.text, re.MULTILINE), "run folder"
    )
    return folder / told.group(1)


def trial_rows(run_path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of `trials.arrow` by candidate id."""
    return {row["candidate_id"]: row for row in read_trials(run_path / "trials.arrow").to_pylist()}


def history_rows(run_path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the rows of `history/` by candidate id and epoch; a repeated one is an error."""
    rows = read_history(run_path).table.to_pylist()
    found = {(row["candidate_id"], row["epoch"]): row for row in rows}
    assert len(found) == len(rows), "an epoch stands in the history twice"
    return found


def ledgers(run_path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what each candidate's worker wrote beside its checkpoint."""
    return {path.parent.name: ledger_of(path.parent) for path in run_path.glob("checkpoints/*/rows.jsonl")}


def ledger_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows that a worker wrote, one per epoch; a torn line is none, nor is a missing file."""
    path = folder / "rows.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two rows are equal, where not measured equals not measured."""
    return {k: v for k, v in one.items() if v == v} == {k: v for k, v in other.items() if v == v}


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A search that has ended well, shared by many tests: nobody changes it.

    Attributes:
        place: the folder in which the command was given.
        folder: the run folder.
        arguments: of the command.
        env: of the command.
        text: what it said.
    """

    place: Path
    folder: Path
    arguments: tuple[str, ...]
    env: dict[str, str]
    text: str


@functools.cache
def finished_run(base: Path) -> Finished:
    """Return the one smoke search of a test session: the first that asks makes it, another process of xdist waits for it.

    Args:
        base: the temporary folder of this process.
    """
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    place.mkdir(exist_ok=True)
    arguments = (script("search/run.py"), "--space", str(place / "tiny.yaml"), *SMOKE)
    env = environment()
    told = place / "told.txt"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():  # it is written last, and under the lock
            write_space(place)
            shutil.rmtree(place / "runs", ignore_errors=True)  # of somebody who failed
            code, text = run(arguments, folder=place, env=env)
            assert code == 0, text
            told.write_text(text)
    return Finished(
        place=place, folder=place / "runs" / "tiny", arguments=arguments, env=env, text=told.read_text()
    )
