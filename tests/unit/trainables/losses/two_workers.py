"""A script for one worker: every loss on its rows, loss and gradients averaged over workers."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from tests.unit.trainables.losses.factory import (
    TEACHER,
    build,
    make_batch,
    make_signals,
    mapped,
    offers_of,
    student_architecture,
)
from trainables.losses import LOSSES
from trainables.losses.similarity.contrast import IMAGE, TEMPERATURE, TEXT
from trainables.signals import Batch, Signals, Want

NUM_PAIRS = 6
SPLITS = {"even": (3, 3), "uneven": (2, 4)}
OPTIONS: dict[str, dict[str, Any]] = {"itc": {"soft_targets": 0.4}, "text_hidden": {"layers": "all"}}
STUDENT = offers_of(student_architecture(embedding=12))


def part_of(batch: Batch, rows: Sequence[int]) -> Batch:
    """Return some rows of a batch."""
    fields, numbers = (
        {name: tensor[list(rows)] for name, tensor in part.items()} for part in (batch.fields, batch.rows)
    )
    return replace(batch, fields=fields, rows=numbers)


def part_of_signals(signals: Signals, rows: Sequence[int]) -> Signals:
    """Return some pairs of signals, with the negatives that belong to them; gradients flow to the whole."""

    def choose(_: Want, tensor: Tensor) -> Tensor:
        if tensor.dim() == 0:
            return tensor
        wide = [NUM_PAIRS + row for row in rows] if len(tensor) == 2 * NUM_PAIRS else []
        return tensor[[*rows, *wide]]

    return mapped(signals, choose)


def average(tensor: Tensor) -> Tensor:
    """Return the mean over workers."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
        tensor = tensor / dist.get_world_size()
    return tensor


def losses_and_gradients(rows: Sequence[int]) -> dict[str, Tensor]:
    """Return loss and gradients of every loss by name, averaged over workers, from this worker's rows."""
    batch = make_batch(NUM_PAIRS)
    found = {}
    for name in LOSSES:
        loss = build(name, STUDENT, **OPTIONS.get(name, {}))
        student = make_signals(STUDENT, batch, seed=1, negatives=True)
        teacher = make_signals(TEACHER, batch, seed=2)
        value = loss(part_of_signals(student, rows), part_of_signals(teacher, rows), part_of(batch, rows))
        value.backward()
        found[name] = average(value.detach().clone())
        for path, leaf in [*((str(want), leaf) for want, leaf in student.items()), *loss.named_parameters()]:
            if leaf.grad is not None:
                found[f"{name}: {path}"] = average(leaf.grad.clone())
    return found


class Towers(nn.Module):
    """Two linear encoders and a temperature: what image-text contrast trains."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = nn.Linear(5, 4), nn.Linear(5, 4)
        self.temperature = nn.Parameter(torch.tensor(0.3))

    def forward(self, features: Tensor) -> Signals:
        return Signals(
            {
                IMAGE: functional.normalize(self.image(features), dim=-1),
                TEXT: functional.normalize(self.text(features.flip(1)), dim=-1),
                TEMPERATURE: self.temperature,
            }
        )


def tower_gradients(rows: Sequence[int], *, parallel: bool) -> dict[str, Tensor]:
    """Return the gradients of contrast training, averaged by DistributedDataParallel where `parallel`."""
    loss = build("itc", STUDENT)
    torch.manual_seed(3)
    towers, features = Towers(), torch.randn(NUM_PAIRS, 5)
    model = DistributedDataParallel(towers) if parallel else towers
    said = Signals(model(features[list(rows)]))  # DistributedDataParallel gives a plain dict
    loss(said, Signals(), part_of(make_batch(NUM_PAIRS), rows)).backward()
    return {f"towers: {name}": p.grad for name, p in towers.named_parameters() if p.grad is not None}


def main(rank: int, folder: Path) -> None:
    """Run one of two workers and leave what rank 0 found in `folder`, one file per split."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    for split, sizes in SPLITS.items():
        start = sum(sizes[:rank])
        rows = range(start, start + sizes[rank])
        found = losses_and_gradients(rows) | tower_gradients(rows, parallel=True)
        if rank == 0:
            torch.save(found, folder / f"{split}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
