"""Whether several trainings on one device, each a process of its own, do more together than one alone."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from tests.benchmarks.paper_scale.made import made_world

BATCH, STEPS = 64, 10
SCRIPT = Path(__file__).parents[1] / "device_step.py"


def train_beside(scale: str, device: str, folder: Path, seconds: float) -> None:
    """Train for some time whenever standard input says so, and print the pairs a second: one process of several."""
    torch.set_num_threads(1)
    world = made_world(scale, torch.device(device), folder)
    batch = min(BATCH, world.scale.pictures // 4)
    trainer = world.trainer("cached", batch=batch, steps=STEPS)
    trainer.run_epoch(0)
    epoch = 1
    print("ready", flush=True)
    while sys.stdin.readline():
        first, start = epoch, time.monotonic()
        while time.monotonic() - start < seconds:
            trainer.run_epoch(epoch)  # ends with a look at its losses: the device has done all of it
            epoch += 1
        print((epoch - first) * STEPS * batch / (time.monotonic() - start), flush=True)


def together(scale: str, device: str, counts: tuple[int, ...], seconds: float) -> dict[int, dict[str, Any]]:
    """Return number of processes -> pairs a second of each, of all, and of all over one alone; the others idle meanwhile."""
    found: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "cache"
        made_world(scale, torch.device(device), folder).cache()
        words = ["--part", "train", "--scale", scale, "--device", device]
        words += ["--folder", str(folder), "--seconds", str(seconds)]
        with _started(words, max(counts)) as processes:
            for count in counts:
                for one in processes[:count]:
                    _stream(one.stdin).write("go\n")
                    _stream(one.stdin).flush()
                each = [float(_stream(one.stdout).readline()) for one in processes[:count]]
                found[count] = {"each": each, "all": sum(each)}
    for one in found.values():
        one["over_one"] = one["all"] / found[counts[0]]["all"]
    return found


@contextmanager
def _started(words: list[str], count: int) -> Iterator[list["subprocess.Popen[str]"]]:
    """Yield processes that are ready to train."""
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    try:
        for one in started:
            while (line := _stream(one.stdout).readline()).strip() != "ready":
                if not line:
                    raise RuntimeError(f"a training ended with exit code {one.wait()} before it began")
        yield started
    finally:
        for one in started:
            one.kill()
            one.wait()


def _stream(pipe: "IO[str] | None") -> "IO[str]":
    assert pipe is not None  # it was asked for
    return pipe
