"""Means and gathers that give N workers the loss and gradient of one process holding the whole batch.

Workers average their gradients (as DistributedDataParallel does). So a loss must be written such that the
*mean over workers* of its gradient is the gradient of the global loss. Without a process group everything
here is local.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def num_workers() -> int:
    """Return the number of workers that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def global_mean(values: Tensor) -> Tensor:
    """Return this worker's share of the mean of all workers' values: mean over workers = global mean.

    A mean of local means would be wrong wherever workers hold different numbers of tokens. It is 0 where
    no worker holds a value.

    Args:
        values: (n,) one loss value per token, row or pair; n may differ between workers and be 0.
    """
    if num_workers() == 1:
        return values.sum() * (1 / max(1, values.numel()))
    count = torch.full(
        (), values.numel(), device=values.device
    )  # filled there: a copy would make the host wait
    dist.all_reduce(count)
    return values.sum() * (num_workers() / count.clamp(min=1))


def gather_rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return each tensor with the rows of all workers, in order of rank; gradients flow to every worker.

    Args:
        tensors: each (B, ...) with this worker's B, which may differ between workers.
    """
    if num_workers() == 1:
        return tensors
    size = torch.full((1,), tensors[0].shape[0], device=tensors[0].device)
    sizes = [torch.zeros_like(size) for _ in range(num_workers())]
    dist.all_gather(sizes, size)
    counts = torch.cat(sizes).tolist()
    return tuple(_GatherRows.apply(tensor, counts) for tensor in tensors)


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
