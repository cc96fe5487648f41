"""How workers that train together share an evaluation, so that every one has what one alone would have, to the bit.

Chunks of a pool stay what they are, and each is computed by one worker: the numbers of a matrix product may depend on how many
rows it has.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """This worker among those that evaluate together; by default it is alone.

    All of them ask the same questions in the same order: each call below waits for the others.

    Attributes:
        rank: number of this worker.
        world: number of workers.
    """

    rank: int = 0
    world: int = 1

    def parts(self, count: int) -> list[range]:
        """Return which of `count` chunks each worker computes; one part, where each computes all of so few."""
        if count < self.world:
            return [range(count)]
        bounds = [count * rank // self.world for rank in range(self.world + 1)]
        return [range(first, last) for first, last in pairwise(bounds)]

    def part(self, count: int) -> range:
        """Return which of `count` chunks this worker computes."""
        return self.parts(count)[self.rank if count >= self.world else 0]

    def joined(self, mine: Tensor, rows: Sequence[int]) -> Tensor:
        """Return the rows of all workers in order of rank.

        Args:
            mine: (n, ...) rows of this worker.
            rows: how many each worker has, as many as there are `parts`.
        """
        if len(rows) == 1:
            return mine
        padded = mine.new_zeros(max(rows), *mine.shape[1:])
        padded[: len(mine)] = mine
        found = [torch.empty_like(padded) for _ in rows]
        dist.all_gather(found, padded)
        return torch.cat([one[:count] for one, count in zip(found, rows, strict=True)])

    def summed(self, mine: Tensor, count: int) -> Tensor:
        """Return the sum over workers of whole numbers that were counted on the `part` of so many chunks."""
        if len(self.parts(count)) > 1:
            dist.all_reduce(mine)
        return mine

    def first(self, make: Callable[[], Sequence[float]], count: int, device: torch.device) -> list[float]:
        """Return numbers that one worker makes for all, since they cost much, or programs that not every node has.

        Args:
            make: gives so many numbers; called by the first worker alone.
            count: of numbers.
            device: over which workers talk.

        Raises:
            RuntimeError: to the other workers, where the first one failed with an error of its own.
        """
        if self.world == 1:
            return list(make())
        told = torch.full((1 + count,), float("nan"), dtype=torch.float64, device=device)
        failure: Exception | None = None
        if self.rank == 0:
            try:
                told = torch.tensor([0.0, *make()], dtype=torch.float64, device=device)
            except Exception as error:  # the others wait for an answer whatever it was
                failure = error
        dist.broadcast(told, 0)
        if failure is not None:
            raise failure
        if bool(told[0].isnan()):
            raise RuntimeError("the first worker could not work out what it owes the others; it says why")
        return told[1:].tolist()


ALONE = Sharing()
