"""Row 5: filling the teacher cache beside the same passes of the teacher whose results nobody keeps; one filler and two."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from search.inputs.teacher_cache import teacher_wants
from tests.benchmarks.rows.row import Asked, Row, again, row_of
from tests.benchmarks.rows.students import FEW_PICTURES, prepared
from trainables.datasets.encoded import EncodedSplit
from trainables.share import one_thread
from trainables.signals import Signals, Wants
from trainables.teachers.cache.fill import Filling, fill_cache
from trainables.teachers.cache.passes import _Passes
from trainables.teachers.cache.plan import Kept, plan_fill
from trainables.teachers.teacher import Teacher

REPEATS = 5


class Dropped:
    """Takes what a cache would be written from, and keeps nothing."""

    def write(self, name: str, place: int, values: np.ndarray) -> None:
        """Take values."""

    def number(self, kind: str, place: int, rows: np.ndarray) -> None:
        """Take numbers of rows."""


class BarePasses(_Passes):
    """The passes of the teacher over a part, and nothing else."""

    def _write(self, kind: str, rows: np.ndarray, found: Signals) -> None:
        """Drop what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Seconds of a clock, and of the CPU in this process and those that it started."""

    wall: float
    cpu: float


def filling(asked: Asked) -> list[Row]:
    """Return throughput of fillers over that of the bare forward, in turn."""
    inputs = prepared(*FEW_PICTURES, *(["dataset.train_images=256"] if asked.quick else []))
    name = inputs.space.teachers[0]
    teacher, split, wants = inputs.teachers[name], inputs.split("train", name), teacher_wants(inputs, name)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher.to(device)
    bare, one, two = list[Spent](), list[Spent](), list[Spent]()
    _bare(teacher, split, wants)  # warms up
    for _ in range(asked.repeats(REPEATS)):
        bare.append(_bare(teacher, split, wants))
        one.append(_filled(teacher, split, wants, 1))
        if device.type == "cpu":
            two.append(_filled(teacher, split, wants, 2))
    clock = "cpu" if device.type == "cpu" else "wall"
    command, rows = again(5, asked), list[Row]()
    first = [getattr(a, clock) / getattr(b, clock) for a, b in zip(bare, one, strict=True)]
    rows.append(row_of("throughput of one filler / bare teacher forward", first, command))
    if two:
        walls = [a.wall / b.wall for a, b in zip(one, two, strict=True)]
        rows.append(row_of("throughput of two fillers / of one (clock)", walls, command))
        cpus = [b.cpu / a.cpu for a, b in zip(one, two, strict=True)]
        rows.append(row_of("CPU time of two fillers / of one", cpus, command))
    return rows


def _bare(teacher: Teacher, split: EncodedSplit, wants: Wants) -> Spent:
    with tempfile.TemporaryDirectory() as folder:
        parts, _ = plan_fill(Path(folder) / "cache", teacher, split, wants, Kept(precision="float16"))

        def run() -> None:
            with one_thread():
                for part in parts:
                    BarePasses(part, teacher, split, Dropped(), lambda count: None).run()  # type: ignore[arg-type]
            if teacher.model.device.type == "cuda":
                torch.cuda.synchronize()

        return _timed(run)


def _filled(teacher: Teacher, split: EncodedSplit, wants: Wants, workers: int) -> Spent:
    with tempfile.TemporaryDirectory() as folder:
        how = Filling(say=lambda text: None, workers=workers)
        place = Path(folder) / "cache"
        return _timed(lambda: fill_cache(place, teacher, split, wants, Kept(precision="float16"), how))


def _timed(run: Callable[[], None]) -> Spent:
    before, start = os.times(), time.perf_counter()
    run()
    wall, after = time.perf_counter() - start, os.times()
    return Spent(wall=wall, cpu=sum(after[:4]) - sum(before[:4]))
