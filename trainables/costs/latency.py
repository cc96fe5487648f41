"""Measured time of what a deployed model does for one example, batch 1, one CPU thread or a GPU.

On CPU the figure is the time of the measuring thread, not of the clock on the wall: other work on the machine
then disturbs it little. Wall time stands beside it, for measurements made while nothing else runs.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.costs.hardware import device_name
from trainables.costs.subject import Subject
from trainables.families.base import Family
from trainables.signals import Serving

REPEATS = 25
WARM_UP = 3
THREADS = 1


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Median time of all passes that serve one example, each as often as it is repeated.

    Attributes:
        latency_ms: median over the repeats; thread-CPU time on CPU, event time on CUDA.
        spread_ms: interquartile range of the same.
        wall_ms, wall_spread_ms: median and interquartile range by the wall clock.
        modes: median of each mode, in ms; their sum need not equal the median of the sums.
        device: name of the CPU or GPU.
        dtype, threads, batch, repeats: how it was measured. The warm-up is not among the repeats.
    """

    latency_ms: float
    spread_ms: float
    wall_ms: float
    wall_spread_ms: float
    modes: Mapping[str, float]
    device: str
    dtype: str
    threads: int
    batch: int
    repeats: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Latency":
        """Return the latency that `to_dict` wrote.

        Raises:
            TypeError: a field is missing or unknown.
        """
        return cls(**fields)


def latency_ms(subject: Subject) -> float:
    """Return the median latency on this machine's CPU, in ms."""
    return measure_latency(subject).latency_ms


def measure_latency(
    subject: Subject,
    *,
    repeats: int = REPEATS,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Latency:
    """Return the latency of such a model with random weights, the part of its teacher that it reads included.

    Each pass is timed once per repeat and counted as often as it is run for one example; those of the teacher stand as
    `teacher.<mode>`. The number of torch threads and the random state are left as they were.

    Args:
        subject: the deployed model, and what it serves.
        repeats: timed runs, at least 25 for a figure that is reported.
        device: `cpu` or a CUDA device.
        dtype: of weights and pictures.
    """
    place = torch.device(device)
    passes = [
        _Pass(f"{owner}{one.mode}", one, model, model.pass_inputs(one.mode, one.tokens))
        for owner, part in subject.parts.items()
        for model in [_random_model(part).to(device=place, dtype=dtype)]
        for one in part.servings
    ]
    clock = _cuda_clock if place.type == "cuda" else _cpu_clock
    spent, wall = np.zeros((repeats, len(passes))), np.zeros((repeats, len(passes)))
    with _one_thread(), torch.inference_mode():
        for repeat in range(-WARM_UP, repeats):
            for column, one in enumerate(passes):
                times = clock(one.run)
                if repeat >= 0:
                    spent[repeat, column], wall[repeat, column] = (
                        one.serving.repeats * time for time in times
                    )
    by_mode: dict[str, float] = {}
    for one, median in zip(passes, np.median(spent, axis=0).tolist(), strict=True):
        by_mode[one.name] = by_mode.get(one.name, 0.0) + median
    return Latency(
        latency_ms=float(np.median(spent.sum(axis=1))),
        spread_ms=_interquartile(spent.sum(axis=1)),
        wall_ms=float(np.median(wall.sum(axis=1))),
        wall_spread_ms=_interquartile(wall.sum(axis=1)),
        modes=by_mode,
        device=device_name(place),
        dtype=str(dtype).removeprefix("torch."),
        threads=THREADS,
        batch=1,
        repeats=repeats,
    )


@dataclass(frozen=True)
class _Pass:
    """One pass of one model, with its inputs."""

    name: str
    serving: Serving
    model: Family
    inputs: Mapping[str, Tensor]

    def run(self) -> object:
        """Run it once."""
        return self.model.run_pass(self.serving.mode, self.inputs)


def joined(parts: Mapping[str, Latency]) -> Latency:
    """Return the latency of models that run one after the other, each measured for itself.

    Medians add up; spreads of what varies independently do so as squares.

    Args:
        parts: by what the modes of each are told with, see `Subject.parts`; all measured alike.
    """
    one, *_ = ones = list(parts.values())
    return replace(
        one,
        latency_ms=sum(each.latency_ms for each in ones),
        spread_ms=math.hypot(*(each.spread_ms for each in ones)),
        wall_ms=sum(each.wall_ms for each in ones),
        wall_spread_ms=math.hypot(*(each.wall_spread_ms for each in ones)),
        modes={f"{owner}{mode}": time for owner, each in parts.items() for mode, time in each.modes.items()},
    )


def _random_model(subject: Subject) -> Family:
    with torch.random.fork_rng(devices=[]):
        return subject.blueprint.build().eval()


def _interquartile(times: np.ndarray) -> float:
    low, high = np.percentile(times, (25, 75))
    return float(high - low)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cpu_clock(run: Callable[[], object]) -> tuple[float, float]:
    """Return thread-CPU and wall time of one run, in ms."""
    wall, spent = time.perf_counter(), time.thread_time()
    run()
    return 1e3 * (time.thread_time() - spent), 1e3 * (time.perf_counter() - wall)


def _cuda_clock(run: Callable[[], object]) -> tuple[float, float]:
    """Return time between two events on the GPU, and wall time until it was idle again, in ms."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    wall = time.perf_counter()
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end), 1e3 * (time.perf_counter() - wall)
