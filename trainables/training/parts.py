"""Some examples of a batch at a time, where all of them together do not fit into memory."""

from dataclasses import replace
from itertools import pairwise

import torch

from trainables.signals import Batch, Signals


def num_rows(batch: Batch) -> int:
    """Return how many examples a batch has."""
    return len(next(iter(batch.rows.values())))


def spans(rows: int, count: int) -> list[tuple[int, int]]:
    """Return first and behind the last of each of so many parts of some rows, none of them empty."""
    bounds = [rows * number // count for number in range(count + 1)]
    return [(first, last) for first, last in pairwise(bounds) if first < last]


def part_of(batch: Batch, given: Signals, first: int, last: int) -> tuple[Batch, Signals]:
    """Return some examples of a batch, padded as in the whole, with what the source says of them."""
    rows, all_rows = slice(first, last), num_rows(batch)
    part = replace(
        batch,
        fields={name: one[rows] for name, one in batch.fields.items()},
        rows={kind: one[rows] for kind, one in batch.rows.items()},
        hosted={name: one[rows] for name, one in batch.hosted.items()},
        _chosen={},
    )
    told = {want: one[rows] if one.ndim and len(one) == all_rows else one for want, one in given.items()}
    return part, Signals(told)


def make_room(device: torch.device) -> None:
    """Give back what PyTorch keeps of a GPU: blocks of other sizes than the next try needs."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
