"""What ends a training early: a value that is not finite, or a loss that goes on guessing."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.training.job import PATIENCE

MARGIN = 0.005  # around the value of guessing


class Diverged(Exception):
    """A loss is not finite any more."""


class Collapsed(Exception):
    """A loss stood at the value of guessing for too long."""


class Health:
    """Watches the losses of one training; all workers decide alike, or those that go on would wait for ever.

    Attributes:
        stuck: steps in a row that a loss has stood at the value of guessing, by its name.
        patience: steps that it may.
    """

    def __init__(self, guessing: Mapping[str, float], *, world: int) -> None:
        """Watch losses.

        Args:
            guessing: the value of each at which it has learned nothing.
            world: number of workers.
        """
        self._guessing = dict(guessing)
        self._world = world
        self.stuck = dict.fromkeys(self._guessing, 0)
        self.patience = PATIENCE

    def watch(self, step: int, total: Tensor, losses: Mapping[str, Tensor], lr: float) -> None:
        """Look at the values of one step.

        Args:
            step: its number, from 1.
            total: weighted sum.
            losses: by name, unweighted.
            lr: learning rate, for the message.

        Raises:
            Diverged: one is not finite.
            Collapsed: one has stood at the value of guessing for too long.
        """
        finite = torch.isfinite(total.detach()).float()
        watched = {name: losses[name].float().clone() for name in self._guessing if name in losses}
        if self._world > 1:
            torch.distributed.all_reduce(finite, torch.distributed.ReduceOp.MIN)
            for value in watched.values():
                torch.distributed.all_reduce(value, torch.distributed.ReduceOp.SUM)
                value /= self._world
        if not bool(finite):
            raise Diverged(_not_finite(step, total, losses, lr))
        for name, value in watched.items():
            guess = self._guessing[name]
            self.stuck[name] = self.stuck[name] + 1 if abs(float(value) - guess) < MARGIN else 0
            if self.stuck[name] >= self.patience:
                raise Collapsed(
                    f"step {step}: loss '{name}' stood at {guess:.4f} +- {MARGIN} (guessing) for {self.stuck[name]} steps"
                )


def _not_finite(step: int, total: Tensor, losses: Mapping[str, Tensor], lr: float) -> str:
    values = {name: float(value) for name, value in losses.items()}
    broken = [name for name, value in values.items() if not math.isfinite(value)] or ["sum"]
    rest = ", ".join(f"{name} {value:.2f}" for name, value in values.items() if math.isfinite(value))
    got = values.get(broken[0], float(total.detach()))
    return f"step {step}: loss '{broken[0]}' is {got} ({rest or 'no other loss'}); lr {lr:.1e}"
