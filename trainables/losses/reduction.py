"""Means that give N workers the loss and gradient of one process holding the whole batch; `trainables.gather` gathers rows.

Workers average their gradients (as DistributedDataParallel does). So a loss must be written such that the
*mean over workers* of its gradient is the gradient of the global loss. Without a process group everything
here is local.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from trainables.gather import gather_rows, num_workers

__all__ = ["gather_rows", "global_mean", "num_workers"]


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
