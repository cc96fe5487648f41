"""Time of what a deployed model does for one example: what is told of it, and how passes are timed."""

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from trainables.costs.blocks import Counted, TimedPass, different, whole_passes
from trainables.costs.hardware import device_name
from trainables.costs.runtimes import Clock, Run, Runs, as_target, own_clock, wall_clock
from trainables.costs.subject import Subject
from trainables.costs.target import Target

LOW = 3
"""The value is this percentile of the times: other work can only add to a time, so that low ones are those of the pass itself,
and the very lowest are luck."""
WARM_UP = 3
BURST, BURST_MS = 8, 10.0
"""Runs one after another of which the fastest is a sample: so many, as long as they take no longer than this. At first what ran
before has the caches."""
ROUNDS, FEWEST = 100, 25
"""Samples of a pass for a figure, and how few are enough where it is slow."""
SETTLED = 0.02
"""A whole pass needs half of its samples where its value of every second one, and of the others, differ by this share at most."""
BUILDS = 4
"""How often the models of eager PyTorch are built anew on the way: where in memory the weights of one lie decides how well caches
hold them, which is worth up to a third of a pass whose weights just fill the second-level cache."""
CACHED_BYTES = 64 * 2**20  # weights of more than that lie in no cache anyway: they are built once
PATIENCE_S = 30.0
"""After this long no round is begun once there are `FEWEST`."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time of all passes that serve one example on a target, each as often as it is run.

    Attributes:
        latency_ms: of one example; at a batch of several the batch over their number.
        spread_ms: interquartile range of the same.
        modes: part of each mode; those of the teacher stand as `teacher.<mode>`.
        composed: whether it is added up from the times of blocks, by the clock that other work disturbs least; else whole passes
            were timed by the clock on the wall.
        samples: times behind each figure, at least.
        device: name of the CPU or GPU.
        runtime, dtype, batch, threads: of the target.
    """

    latency_ms: float
    spread_ms: float
    modes: Mapping[str, float]
    composed: bool
    samples: int
    device: str
    runtime: str
    dtype: str
    batch: int
    threads: int

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


def measure_whole(subject: Subject, target: Target | None = None, *, rounds: int = ROUNDS) -> Latency:
    """Return the latency of whole models by the clock on the wall: of finalists, one at a time while nothing else runs.

    Args:
        subject: the deployed model, and what it serves.
        target: by default this CPU, one thread.
        rounds: repeats, fewer where they take longer than `PATIENCE_S`, and half where that settles the value.

    Raises:
        ResourceError: the target does not exist here.
    """
    target = target or Target()
    passes = whole_passes(subject)
    found = timed(different(passes), target, clock=wall_clock(target), rounds=rounds, halve=True)
    return added_up(passes, found, target, composed=False)


def latency_ms(subject: Subject) -> float:
    """Return the latency on this machine's CPU, in ms."""
    return measure_whole(subject).latency_ms


def timed(
    passes: Sequence[TimedPass],
    target: Target,
    *,
    clock: Clock | None = None,
    rounds: int = ROUNDS,
    halve: bool = False,
) -> dict[str, list[float]]:
    """Return samples of each pass in ms by its digest, taken in turns and in an order that is drawn anew for each round.

    What disturbs the machine for a while then disturbs a part of the samples of every pass, and all samples of none.
    Threads, gradients and the random state are left as they were.

    Args:
        passes: all different.
        target: where.
        clock: by default that which other work disturbs least.
        rounds: samples of each pass, fewer where they take longer than `PATIENCE_S`.
        halve: end after half of them, of as many builds, where that is enough by `SETTLED`; never below `FEWEST`.

    Raises:
        ResourceError: the target does not exist here.
    """
    target.check_here()
    read, order = clock or own_clock(target), random.Random(0)
    found: dict[str, list[float]] = {one.digest: [] for one in passes}
    until = time.monotonic() + PATIENCE_S
    with as_target(target):
        runs, ready = _made_ready(passes, target, read)
        builds = 1 if target.runtime != "eager" or runs.weights_bytes > CACHED_BYTES else min(BUILDS, rounds)
        each = math.ceil(rounds / (2 * builds if halve else builds))  # rounds of a build
        for number in range(rounds):
            if number >= FEWEST and time.monotonic() > until:
                break
            if halve and number == max(each * builds, FEWEST) and _settled(found):
                break
            if number and number % each == 0 and (builds > 1 or not halve):
                # the last models are there until then: the new ones lie in other places of memory
                runs, ready = _made_ready(passes, target, read)
            for one in order.sample(ready, len(ready)):
                found[one.digest].append(min(read(one.run) for _ in range(one.burst)))
    return found


def _settled(times: Mapping[str, Sequence[float]]) -> bool:
    """Return whether the value of every pass is the same, by `SETTLED`, of its even and of its odd samples."""
    halves = [[float(np.percentile(ones[first::2], LOW)) for first in (0, 1)] for ones in times.values()]
    return all(abs(one - other) <= SETTLED * min(one, other) for one, other in halves)


class _Ready(NamedTuple):
    """A pass that can be run, and how often for one sample."""

    digest: str
    run: Run
    burst: int


def _made_ready(passes: Sequence[TimedPass], target: Target, read: Clock) -> tuple[Runs, list[_Ready]]:
    """Return passes built anew, and warm, with their models."""
    runs, found = Runs(target), []
    for one in passes:
        run = runs.of(one)
        first = min(read(run) for _ in range(WARM_UP))
        found.append(_Ready(one.digest, run, max(1, min(BURST, int(BURST_MS / max(first, 1e-6))))))
    return runs, found


def added_up(
    passes: Sequence[Counted], times: Mapping[str, Sequence[float]], target: Target, *, composed: bool
) -> Latency:
    """Return the latency that counted passes have together; spreads of what varies independently add up as squares.

    Args:
        passes: blocks, or whole passes.
        times: samples of each in ms, by its digest.
        target: where they were taken.
        composed: whether the passes are blocks.
    """
    low = {digest: float(np.percentile(ones, LOW)) for digest, ones in times.items()}
    range_ms = {digest: _interquartile(ones) for digest, ones in times.items()}
    weights: dict[str, int] = {}
    modes: dict[str, float] = {}
    for one in passes:
        digest = one.timed.digest
        weights[digest] = weights.get(digest, 0) + one.runs
        modes[one.mode] = modes.get(one.mode, 0.0) + one.runs * low[digest] / target.batch
    return Latency(
        latency_ms=sum(modes.values()),
        spread_ms=math.hypot(*(count * range_ms[digest] for digest, count in weights.items())) / target.batch,
        modes=modes,
        composed=composed,
        samples=min(len(times[digest]) for digest in weights),
        device=device_name(torch.device(target.device)),
        runtime=target.runtime,
        dtype=target.dtype,
        batch=target.batch,
        threads=target.threads,
    )


def _interquartile(times: Sequence[float]) -> float:
    low, high = np.percentile(times, (25, 75))
    return float(high - low)
