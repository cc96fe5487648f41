"""Measured time of one forward pass per mode, batch 1, one CPU thread or a GPU.

On CPU the figure is the time of the measuring thread, not of the clock on the wall: other work on the machine
then disturbs it little. Wall time stands beside it, for measurements made while nothing else runs.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.costs.flops import meta_inputs, modes, run_mode
from trainables.costs.hardware import device_name
from trainables.costs.subject import Subject
from trainables.models.blip import Blip
from trainables.models.config import BlipConfig

REPEATS = 25
WARM_UP = 3
THREADS = 1
DISTURBED = 1.5  # wall / CPU time above which the core was shared


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Median time of one image-text pair through every mode; the decoder makes one pass over all tokens.

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

    @property
    def disturbed(self) -> bool:
        """Whether other work took the core so often that the wall time means little."""
        return self.wall_ms > DISTURBED * self.latency_ms

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
    return measure_latency(subject.config).latency_ms


def measure_latency(
    config: BlipConfig,
    *,
    repeats: int = REPEATS,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Latency:
    """Return the latency of a model of these sizes with random weights.

    The number of torch threads and the random state are left as they were.

    Args:
        config: sizes.
        repeats: timed runs, at least 25 for a figure that is reported.
        device: `cpu` or a CUDA device.
        dtype: of weights and pictures.
    """
    place = torch.device(device)
    model = _random_model(config).to(device=place, dtype=dtype)
    inputs = _random_inputs(config, place, dtype)
    names = modes(config)
    clock = _cuda_clock if place.type == "cuda" else _cpu_clock
    spent, wall = np.zeros((repeats, len(names))), np.zeros((repeats, len(names)))
    with _one_thread(), torch.inference_mode():
        for repeat in range(-WARM_UP, repeats):
            for column, mode in enumerate(names):
                times = clock(partial(run_mode, model, mode, inputs))
                if repeat >= 0:
                    spent[repeat, column], wall[repeat, column] = times
    return Latency(
        latency_ms=float(np.median(spent.sum(axis=1))),
        spread_ms=_interquartile(spent.sum(axis=1)),
        wall_ms=float(np.median(wall.sum(axis=1))),
        wall_spread_ms=_interquartile(wall.sum(axis=1)),
        modes=dict(zip(names, np.median(spent, axis=0).tolist(), strict=True)),
        device=device_name(place),
        dtype=str(dtype).removeprefix("torch."),
        threads=THREADS,
        batch=1,
        repeats=repeats,
    )


def _random_model(config: BlipConfig) -> Blip:
    with torch.random.fork_rng(devices=[]):
        return Blip(config).eval()


def _random_inputs(config: BlipConfig, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return inputs of true shapes: noise for a picture, ids within the vocabulary, no padding."""
    shapes = {name: tensor.shape for name, tensor in meta_inputs(config).items()}
    source = torch.Generator().manual_seed(0)
    ids = torch.randint(0, config.vocabulary.size, shapes["ids"], generator=source)
    return {
        "images": torch.randn(shapes["images"], generator=source).to(device, dtype),
        "ids": ids.to(device),
        "mask": torch.ones(shapes["mask"], dtype=torch.bool, device=device),
        "tokens": torch.randn(shapes["tokens"], generator=source).to(device, dtype),
    }


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
