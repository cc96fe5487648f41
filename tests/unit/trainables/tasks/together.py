"""Workers that share an evaluation, as threads of one process: what each tells the others goes over a board."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier, BrokenBarrierError
from typing import Any, TypeVar

import torch
from torch import Tensor

from trainables.tasks.sharing import Sharing

T = TypeVar("T")
HANG_S = 100


@dataclass(frozen=True, kw_only=True)
class Part(Sharing):
    """One of them."""

    meet: Barrier = field(default_factory=lambda: Barrier(1))
    board: dict[int, Tensor] = field(default_factory=dict)

    def _told(self, mine: Tensor) -> list[Tensor]:
        """Return what all of them tell, in order of rank."""
        self.board[self.rank] = mine
        self.meet.wait(HANG_S)
        found = [self.board[rank] for rank in range(self.world)]
        self.meet.wait(HANG_S)
        return found

    def joined(self, mine: Tensor, rows: Sequence[int]) -> Tensor:
        if len(rows) == 1:
            return mine
        assert len(mine) == rows[self.rank], "a worker has other rows than all think"
        return torch.cat(self._told(mine))

    def summed(self, mine: Tensor, count: int) -> Tensor:
        if len(self.parts(count)) == 1:
            return mine
        return torch.stack(self._told(mine)).sum(dim=0)

    def first(self, make: Callable[[], Sequence[float]], count: int, device: torch.device) -> list[float]:
        mine = list(make()) if self.rank == 0 else [0.0] * count
        return self._told(torch.tensor(mine, dtype=torch.float64))[0].tolist()


def together(world: int, do: Callable[[Sharing], T]) -> list[T]:
    """Return what each of so many workers makes of it."""
    meet, board = Barrier(world), dict[int, Any]()

    def one(rank: int) -> T:
        try:
            return do(Part(rank=rank, world=world, meet=meet, board=board))
        except BrokenBarrierError:
            raise
        except BaseException:
            meet.abort()
            raise

    with ThreadPoolExecutor(world) as workers:
        return list(workers.map(one, range(world)))
