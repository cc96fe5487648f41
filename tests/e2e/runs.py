"""Runs of the real commands on a space so small that a whole search takes seconds."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.table import read_history, read_trials

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240.0  # for one command, on a machine that others use too
EPOCHS = 3

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
"""

SMOKE = ("--smoke", *(f"--set={path}={value}" for path, value in {
    "training.epochs": EPOCHS,
    "training.pairs_per_epoch": 64,
    "evaluation.images": 64,
    "dataset.train_images": 96,
    "dataset.val_images": 64,
    "dataset.test_images": 64,
}.items()))  # fmt: skip
"""The smoke search, on still less data."""


def environment(cache: Path, **more: str) -> dict[str, str]:
    """Return the environment of a command: its own cache folder, no browser (pictures have their own test)."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "COLUMNS")}
    # not a terminal's COLUMNS: messages are compared; PYTHONUNBUFFERED: they are read while they come
    return {
        **inherited,
        "XDG_CACHE_HOME": str(cache),
        "BROWSER_PATH": str(cache / "no-browser"),
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def cache_home(base: Path) -> Path:
    """Return the cache folder that all tests of a session share, so that teachers are measured once."""
    folder = base / "student-search-cache"
    folder.mkdir(exist_ok=True)
    return folder


def write_space(folder: Path, text: str = SPACE) -> Path:
    """Write a space file and return its path."""
    path = folder / "tiny.yaml"
    path.write_text(text)
    return path


@dataclass(kw_only=True)
class Command:
    """A command that is running, with everything it has said so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All output so far."""
        return "".join(self.lines)

    def wait_for(self, found: Callable[[], Any], what: str) -> Any:
        """Return what `found` returns as soon as it is true."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if answer := found():
                return answer
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{what}: did not come. Output:\n{self.text}")

    def wait(self) -> int:
        """Return the exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(10)
        return code

    def start_reading(self) -> None:
        """Collect output in the background: a full pipe would stop the command."""

        def read() -> None:
            assert self.process.stdout is not None
            self.lines.extend(iter(self.process.stdout.readline, ""))

        def read_line_by_line() -> None:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                self.lines.append(line)

        self._reader = threading.Thread(target=read_line_by_line, daemon=True)
        self._reader.start()
