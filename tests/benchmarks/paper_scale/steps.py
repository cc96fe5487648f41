"""What a training step takes: time, share of the device's most, memory, how busy the device is, how often the host waits."""

import gc
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch

from tests.benchmarks.paper_scale.made import World
from tests.benchmarks.paper_scale.straightforward import Straightforward
from tests.benchmarks.rows.device import busy_share, flops_of

STEPS = 4  # of an epoch
WAITS = "called a synchronizing CUDA operation"


class Training(Protocol):
    """Whatever trains epoch after epoch."""

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch."""


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """How many epochs are measured, after how many: the first ones take their memory, and the first of a kind its kernels."""

    warm_up: int = 2
    counted: int = 5


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One row: a training, and what a step of it takes.

    Attributes:
        name: of the training.
        batch: pairs of a step.
        step_ms: median over epochs of the mean over their steps; `spread` the distance of the quartiles over it.
        pairs_per_s: trained on.
        tflops: 10^12 FLOPs of products, convolutions and attention in a step, forward and backward, the teacher's too.
        mfu: those per second over those of a large bf16 product on this device.
        peak_gib: most that PyTorch allocated, weights of a live teacher included.
        busy: share of the time in which the device computed or copied.
        waits: places where the host waited for the device -> times a step.
        loss: after the last epoch.
    """

    name: str
    batch: int
    step_ms: float
    spread: float
    pairs_per_s: float
    tflops: float
    mfu: float
    peak_gib: float
    busy: float
    waits: dict[str, float]
    loss: float


def measured(
    name: str, make: Callable[[], Training], world: World, *, batch: int, most: float, repeats: Repeats
) -> Measured:
    """Return a row.

    Args:
        name: of the training.
        make: makes it anew, always the same.
        world: with its device.
        batch: pairs of a step.
        most: FLOPs per second of a large product on the device; NaN on a CPU.
        repeats: of its epochs.
    """
    cuda = world.device.type == "cuda"
    _forget(cuda)
    with torch.compiler.set_stance("force_eager"):  # the counter does not see into compiled kernels
        flops = flops_of(partial(make().run_epoch, repeats.warm_up)) / STEPS
    _forget(cuda)
    training = make()
    for epoch in range(repeats.warm_up):
        losses = training.run_epoch(epoch)
    times, after = list[float](), repeats.warm_up + repeats.counted
    for epoch in range(repeats.warm_up, after):
        _settle(cuda)
        start = time.perf_counter()
        losses = training.run_epoch(epoch)
        _settle(cuda)
        times.append((time.perf_counter() - start) / STEPS)
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else float("nan")
    busy = busy_share(lambda: training.run_epoch(after)) if cuda else float("nan")
    waits = waits_of(lambda: training.run_epoch(after + 1)) if cuda else {}
    step = statistics.median(times)
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return Measured(
        name=name, batch=batch, step_ms=1e3 * step, spread=(high - low) / step, pairs_per_s=batch / step,
        tflops=flops / 1e12, mfu=flops / step / most, peak_gib=peak, busy=busy, waits=waits,
        loss=losses.get("loss", sum(losses.values())),
    )  # fmt: skip


def waits_of(run: Callable[[], object]) -> dict[str, float]:
    """Return how often a step waits for the device, by the place in the code that does."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = Counter(
        f"{one.filename.rpartition('/')[2]}:{one.lineno}" for one in caught if WAITS in str(one.message)
    )
    return {place: count / STEPS for place, count in places.most_common()}


def of_ours(world: World, source: str, batch: int) -> Callable[[], Training]:
    """Return what makes a training from a source: `cached`, `live` or `off`."""
    return lambda: world.trainer(source, batch=batch, steps=STEPS)


def of_straightforward(world: World, batch: int) -> Callable[[], Training]:
    """Return what makes the loop that one would write first."""
    return lambda: Straightforward(world, batch=batch, steps=STEPS)


def _settle(cuda: bool) -> None:
    if cuda:
        torch.cuda.synchronize()


def _forget(cuda: bool) -> None:
    """Give back what trainings before have taken, and count the peak anew."""
    gc.collect()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def told(rows: list[Measured]) -> str:
    """Return the rows as a table."""
    heads = ("training", "batch", "step ms", "spread", "pairs/s", "TFLOP", "MFU", "peak GiB", "busy", "waits")
    lines: list[tuple[Any, ...]] = [heads]
    lines += [
        (
            one.name, one.batch, f"{one.step_ms:.1f}", f"{one.spread:.1%}", f"{one.pairs_per_s:,.0f}", f"{one.tflops:.2f}",
            f"{one.mfu:.1%}", f"{one.peak_gib:.1f}", f"{one.busy:.1%}", f"{sum(one.waits.values()):.1f}",
        )
        for one in rows
    ]  # fmt: skip
    widths = [max(len(str(line[column])) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            str(cell).ljust(width) if column == 0 else str(cell).rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
