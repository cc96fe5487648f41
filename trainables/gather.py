"""Rows of all workers, in order of rank: gradients flow to the worker that each row came from.

Without a process group everything here is local.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def num_workers() -> int:
    """Return the number of workers that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def worker_rows(rows: int, device: torch.device) -> list[int]:
    """Return how many rows each worker has, in order of rank; the device is asked for it.

    Args:
        rows: of this worker.
        device: that the workers speak by.
    """
    if num_workers() == 1:
        return [rows]
    size = torch.full((1,), rows, device=device)
    sizes = [torch.zeros_like(size) for _ in range(num_workers())]
    dist.all_gather(sizes, size)
    found: list[int] = torch.cat(sizes).tolist()
    return found


def first_row(counts: list[int]) -> int:
    """Return where this worker's rows begin among those of all; counts are those of `worker_rows`."""
    return sum(counts[: dist.get_rank()]) if len(counts) > 1 else 0


def gather_rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return each tensor with the rows of all workers, in order of rank; gradients flow to every worker.

    Args:
        tensors: each (B, ...) with this worker's B, which may differ between workers.
    """
    if num_workers() == 1:
        return tensors
    return gather_counted(worker_rows(tensors[0].shape[0], tensors[0].device), *tensors)


def gather_counted(counts: list[int], *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the same where it is known how many rows each worker has: nobody is asked again."""
    if len(counts) == 1:
        return tensors
    return tuple(_GatherRows.apply(tensor, counts) for tensor in tensors)


def same_buffers(model: nn.Module) -> None:
    """Give all workers the running means of rank 0, as its checkpoint has them, and as the next step begins with them."""
    if num_workers() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


class _GatherRows(torch.autograd.Function):
    """All-gather along dimension 0; backward is its adjoint: the sum of all workers' gradients of my rows.

    `torch.distributed.nn.functional.all_gather` wants the same number of rows on every worker, which the
    last batch of an epoch does not promise.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        rank = dist.get_rank()
        ctx.start, ctx.stop = sum(counts[:rank]), sum(counts[: rank + 1])
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.start : ctx.stop], None
