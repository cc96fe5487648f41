"""Rows 1 and 2: a training step beside one whose teacher signals lie ready as tensors.

All of a step but the signals is the same: pixels, student, losses, optimiser. On a CPU it is CPU time that is compared, which
others on the machine disturb least; on a GPU wall-clock time, with the share of it in which the device was busy and the share of
what the device can do at most.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import fill_teacher_caches
from spaces.candidate import Candidate
from tests.benchmarks.rows.device import busy_share, flops_of, most_flops
from tests.benchmarks.rows.row import Asked, Row, again, row_of, steady
from tests.benchmarks.rows.students import FEW_PICTURES, WIDTHS, prepared, student_of_width
from trainables.signals import Batch, Signals, Source, Wants
from trainables.teachers.cache.read import TeacherCache
from trainables.training.build import build_step
from trainables.training.trainer import Placement, Trainer, TrainingConfig

REPEATS, STEPS, QUICK_STEPS, BATCH = 9, 8, 4, 64
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Recorded:
    """Asks a source, and keeps what it said, batch after batch."""

    def __init__(self, source: Source) -> None:
        self.source, self.said = source, list[Signals]()

    def signals(self, batch: Batch, wants: Wants) -> Signals:
        """Return what the source says."""
        self.said.append(self.source.signals(batch, wants))
        return self.said[-1]

    def fields(self, split: str, wants: Wants) -> frozenset[str]:
        """Return what the source looks at."""
        return self.source.fields(split, wants)


class Constant:
    """Says what was kept, in the same order, and computes nothing."""

    def __init__(self, said: list[Signals]) -> None:
        self.left = iter(said)

    def signals(self, batch: Batch, wants: Wants) -> Signals:
        """Return the next ones."""
        return next(self.left)

    def fields(self, split: str, wants: Wants) -> frozenset[str]:
        """Look at nothing."""
        return frozenset()


class Steps:
    """The first steps of the training of one student, from any source."""

    def __init__(self, inputs: Inputs, student: Candidate, steps: int) -> None:
        self.inputs, self.student = inputs, student
        self.config = TrainingConfig(
            epochs=1, pairs_per_epoch=steps * BATCH, batch_size=BATCH, warmup_steps=1
        )
        self.losses: dict[str, float] = {}

    def trainer(self, source: Source) -> Trainer:
        """Return a new training of the same seed."""
        step, _ = build_step(self.student.config, self.inputs.teacher, seed=0)
        place = Placement(device=DEVICE)
        return Trainer(
            step.to(DEVICE), self.inputs.splits["train"], source, self.config, seed=0, placement=place
        )

    def seconds(self, source: Source) -> float:
        """Return the time of the steps; they have to end where those before them did.

        Raises:
            AssertionError: other losses: it is not the same work that is compared.
        """
        trainer = self.trainer(source)
        start = now()
        losses = trainer.run_epoch(0)
        spent = now() - start
        self.losses = self.losses or losses
        for name, value in losses.items():  # cached signals are rounded once, whoever replays them
            assert abs(value - self.losses[name]) <= 1e-4 * max(1.0, abs(self.losses[name])), (
                name,
                value,
                self.losses,
            )
        return spent


def now() -> float:
    """Return CPU seconds of this process; on a GPU seconds of a clock, once the device has done all it was given."""
    if DEVICE.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def from_cache(asked: Asked) -> list[Row]:
    """Return row 1 of three students."""
    inputs = _inputs(asked)
    folder = Path(fill_teacher_caches(inputs)[inputs.space.teachers[0]])
    return _against_constants(
        asked, inputs, 1, "from the cache", lambda: TeacherCache(folder, inputs.teacher.offers)
    )


def with_live_teacher(asked: Asked) -> list[Row]:
    """Return row 2 of three students."""
    inputs = _inputs(asked)
    inputs.teacher.to(DEVICE)
    return _against_constants(asked, inputs, 2, "with the live teacher", lambda: inputs.teacher)


def _inputs(asked: Asked) -> Inputs:
    return prepared(*FEW_PICTURES if asked.quick else ())


def _against_constants(
    asked: Asked, inputs: Inputs, number: int, how: str, made: Callable[[], Source]
) -> list[Row]:
    """Return the rows of one kind of source: ratio to constant tensors, in turn."""
    rows, repeats = list[Row](), asked.repeats(REPEATS)
    count = QUICK_STEPS if asked.quick else STEPS
    for width in WIDTHS:
        steps = Steps(inputs, student_of_width(inputs, width), count)
        recorded = Recorded(made())
        steps.seconds(recorded)  # also warms up

        def ratio(steps: Steps = steps, said: list[Signals] = recorded.said) -> float:
            base = steps.seconds(Constant(said))
            return steps.seconds(made()) / base

        ratios = steady(ratio, min(3, repeats), repeats)
        name = f"step {how} / constant tensors, student {width}"
        rows.append(row_of(name, ratios, again(number, asked)))
        if DEVICE.type == "cuda":
            rows += _of_device(steps, made, f"{how}, student {width}", again(number, asked))
    return rows


def _of_device(steps: Steps, made: Callable[[], Source], what: str, command: str) -> list[Row]:
    """Return how busy the device is in these steps, and what share of its most it does."""
    trainings = [steps.trainer(made()) for _ in range(3)]
    busy = [busy_share(partial(one.run_epoch, 0)) for one in trainings]
    flops, most = flops_of(lambda: steps.trainer(made()).run_epoch(0)), most_flops()
    used = [flops / steps.seconds(made()) / most for _ in range(3)]
    assert statistics.median(used) <= 1
    return [
        row_of(f"device busy, step {what}", busy, command),
        row_of(f"FLOPs / a large bf16 product's (MFU), step {what}", used, command),
    ]
