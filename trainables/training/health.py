"""What ends a training early: a value that is not finite, or a training that has learned nothing for too long."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainables.training.job import PATIENCE

MARGIN = 0.005  # below the value of guessing, in nats
LEVEL = (
    0.8  # of the weighted losses at the start: a training that ever learned something was far below it soon
)
FEWEST = 50  # steps, below which a share of a short training says nothing
WINDOWS = 24  # moving averages look back over a training's steps divided by this


FLAT = 3  # measurements that are exactly alike, of a metric whose sisters are not


class Diverged(Exception):
    """A loss is not finite any more."""


class Collapsed(Exception):
    """A training learned nothing for too long."""


class Health:
    """Watches the losses of one training; all workers decide alike, or those that go on would wait for ever.

    A training has collapsed where, by moving averages, its weighted losses stay near where they began and none that has a
    value of guessing is better than that, for a share of all steps. One of the two alone says nothing: a matching loss
    guesses through half of a healthy training, and a training from random weights may take a quarter to get anywhere.
    Where no loss has such a value nothing is concluded: a student that inherits weights may begin close to its best.

    Attributes:
        stuck: steps in a row for which that was so.
        patience: for how many it may be: a share of all steps up to 1 (but `FEWEST`), else their number.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        guessing: Mapping[str, float],
        *,
        world: int,
        steps: int,
        begin: int = 0,
    ) -> None:
        """Watch losses.

        Args:
            weights: of all losses.
            guessing: the value at which a loss has learned nothing, of those that have one.
            world: number of workers.
            steps: of the whole training.
            begin: steps that do not count, since the learning rate is still small there.
        """
        self._weights, self._guessing = dict(weights), dict(guessing)
        self._world, self._steps, self._begin = world, steps, begin
        self._window = max(steps // WINDOWS, 1)
        self._means: dict[str, tuple[int, float]] = {}  # loss -> values seen, moving average
        self._starts: dict[str, float] = {}  # loss -> the first of these averages that is whole
        self.stuck = 0
        self.patience: float = PATIENCE

    @property
    def limit(self) -> int:
        """Steps that a training may learn nothing for."""
        if self.patience > 1:
            return int(self.patience)
        return max(math.ceil(self.patience * self._steps), FEWEST)

    def watch(
        self, step: int, total: Tensor, losses: Mapping[str, Tensor], lr: float, norm: Tensor | None = None
    ) -> None:
        """Look at the values of one step; the device is asked for all of them at once.

        Args:
            step: its number, from 1.
            total: weighted sum.
            losses: by name, unweighted.
            lr: learning rate, for the message.
            norm: of the gradient, where the weights are about to change by it; the same on all workers.

        Raises:
            Diverged: one is not finite.
            Collapsed: nothing was learned for too long.
        """
        finite = torch.isfinite(total.detach()).float()
        values = torch.stack([value.detach().float() for value in losses.values()])
        if self._world > 1:
            torch.distributed.all_reduce(finite, torch.distributed.ReduceOp.MIN)
            torch.distributed.all_reduce(values, torch.distributed.ReduceOp.SUM)
            values /= self._world
        told = [finite[None], values, *([] if norm is None else [norm.detach().float()[None]])]
        all_finite, *seen = torch.cat(told).tolist()
        if not all_finite:
            raise Diverged(
                _not_finite(step, float(total.detach()), dict(zip(losses, seen, strict=False)), lr)
            )
        for name, value in zip(losses, seen, strict=False):
            self._average(name, value)
        self.stuck = self.stuck + 1 if step > self._begin and self._has_learned_nothing() else 0
        if self.stuck >= self.limit:
            raise Collapsed(self._reason(step))
        if norm is not None and not math.isfinite(seen[-1]):
            raise Diverged(f"step {step}: the gradient's norm is {seen[-1]}; lr {lr:.1e}")

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes."""
        return {"stuck": self.stuck, "means": dict(self._means), "starts": dict(self._starts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.stuck, self._starts = state["stuck"], dict(state["starts"])
        self._means = {name: (count, mean) for name, (count, mean) in state["means"].items()}

    def _average(self, name: str, value: float) -> None:
        """Take a value into a moving average, which is the plain mean until it looks back far enough."""
        count, mean = self._means.get(name, (0, 0.0))
        count = min(count + 1, self._window)
        self._means[name] = count, mean + (value - mean) / count
        if count == self._window:
            self._starts.setdefault(name, self._means[name][1])

    def _has_learned_nothing(self) -> bool:
        """Return whether neither the weighted losses nor one with a value of guessing say that something was learned."""
        now, start = self._sums()
        guessed = [
            self._means[name][1] >= guess - MARGIN
            for name, guess in self._guessing.items()
            if name in self._means
        ]
        return bool(self._starts and guessed) and all(guessed) and now >= LEVEL * start

    def _sums(self) -> tuple[float, float]:
        """Return the weighted losses now and at the start, of those that have been seen for long enough."""
        now = sum(self._weights[name] * self._means[name][1] for name in self._starts)
        return now, sum(self._weights[name] * value for name, value in self._starts.items())

    def _reason(self, step: int) -> str:
        guesses = "".join(
            f", {name} {self._means[name][1]:.4f} (guessing {guess:.4f})"
            for name, guess in self._guessing.items()
            if name in self._means
        )
        now, start = self._sums()
        return (
            f"step {step}: nothing was learned for {self.stuck} steps: the sum of losses averages {now:.4g}, "
            f"at the start {start:.4g}{guesses}"
        )


def flat_metrics(rows: Iterable[Mapping[str, Any]], tasks: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """Return a sentence for each task whose metric never moved: its training is dead, though no loss may say so.

    So was a published student, with 0.2004 after 5 and 10 epochs. Two equal figures may be chance where figures are few, so
    that all metrics of the task have to be alike in all measurements, or the one that counts in `FLAT`. At 100 nothing can
    move.

    Args:
        rows: of all epochs.
        tasks: the metric that counts, and all of its metrics, of each.
    """
    rows, found = list(rows), []
    for counts, metrics in tasks:
        values = {name: [row[name] for row in rows if name in row] for name in metrics}
        measured = values.get(counts, [])
        alike = {name for name, seen in values.items() if len(set(seen)) <= 1}
        if len(measured) < 2 or counts not in alike or measured[0] == 100.0:
            continue
        if len(measured) >= FLAT or len(alike) == len(values):
            found.append(
                f"metric {counts} was {measured[0]:.2f} in all of its {len(measured)} measurements: nothing was learned"
            )
    return found


def _not_finite(step: int, total: float, values: Mapping[str, float], lr: float) -> str:
    """Return which loss it is: of several workers the means, which are not finite where one is not."""
    broken = [name for name, value in values.items() if not math.isfinite(value)] or ["sum"]
    rest = ", ".join(f"{name} {value:.2f}" for name, value in values.items() if math.isfinite(value))
    own = total if not math.isfinite(total) else "not finite on another worker"
    return f"step {step}: loss '{broken[0]}' is {values.get(broken[0], own)} ({rest or 'no other loss'}); lr {lr:.1e}"
