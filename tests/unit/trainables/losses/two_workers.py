"""A script for one worker: every loss on its rows, loss and gradients averaged over workers."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from tests.unit.trainables.losses.factory import (
    leaves,
    make_batch,
    make_outputs,
    mapped,
    student_config,
    teacher_config,
)
from trainables.losses import LOSSES
from trainables.outputs import Batch, ImageOutputs, Outputs, TextOutputs

NUM_PAIRS = 6
SPLITS = {"even": (3, 3), "uneven": (2, 4)}
OPTIONS: dict[str, dict[str, Any]] = {"itc": {"soft_targets": 0.4}, "text_hidden": {"layers": "all"}}


def part_of(batch: Batch, rows: Sequence[int]) -> Batch:
    """Return some rows of a batch."""
    return mapped(batch, lambda _, tensor: tensor[list(rows)])


def part_of_outputs(outputs: Outputs, rows: Sequence[int]) -> Outputs:
    """Return some pairs of outputs, with the negatives that belong to them; gradients flow to the whole."""

    def choose(_: str, tensor: Tensor) -> Tensor:
        if tensor.dim() == 0:
            return tensor
        wide = [NUM_PAIRS + row for row in rows] if len(tensor) == 2 * NUM_PAIRS else []
        return tensor[[*rows, *wide]]

    return mapped(outputs, choose)


def average(tensor: Tensor) -> Tensor:
    """Return the mean over workers."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
        tensor = tensor / dist.get_world_size()
    return tensor


def losses_and_gradients(rows: Sequence[int]) -> dict[str, Tensor]:
    """Return loss and gradients of every loss by name, averaged over workers, from this worker's rows."""
    student_sizes, teacher_sizes = student_config(embedding=12), teacher_config()
    batch = make_batch(NUM_PAIRS)
    found = {}
    for name, target in LOSSES.items():
        module, _, attribute = target.partition(":")
        kind = getattr(importlib.import_module(module), attribute)
        torch.manual_seed(0)
        loss = kind(kind.Config(**OPTIONS.get(name, {})), student_sizes, teacher_sizes)
        student = make_outputs(student_sizes, batch, seed=1, negatives=True)
        teacher = make_outputs(teacher_sizes, batch, seed=2)
        value = loss(part_of_outputs(student, rows), part_of_outputs(teacher, rows), part_of(batch, rows))
        value.backward()
        found[name] = average(value.detach().clone())
        for path, leaf in [*leaves(student), *loss.named_parameters()]:
            if leaf.grad is not None:
                found[f"{name}: {path}"] = average(leaf.grad.clone())
    return found


class Towers(nn.Module):
    """Two linear encoders and a temperature: what image-text contrast trains."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = nn.Linear(5, 4), nn.Linear(5, 4)
        self.temperature = nn.Parameter(torch.tensor(0.3))

    def forward(self, features: Tensor) -> Outputs:
        image = functional.normalize(self.image(features), dim=-1)
        text = functional.normalize(self.text(features.flip(1)), dim=-1)
        mask = torch.ones(len(features), 1, dtype=torch.bool)
        return Outputs(
            image=ImageOutputs(embedding_BE=image),
            text=TextOutputs(mask_BT=mask, embedding_BE=text),
            temperature=self.temperature,
        )


def tower_gradients(rows: Sequence[int], *, parallel: bool) -> dict[str, Tensor]:
    """Return the gradients of contrast training, averaged by DistributedDataParallel where `parallel`."""
    itc = importlib.import_module("trainables.losses.itc").Itc
    torch.manual_seed(3)
    towers, features = Towers(), torch.randn(NUM_PAIRS, 5)
    model = DistributedDataParallel(towers) if parallel else towers
    loss = itc(itc.Config(), student_config(), teacher_config())
    loss(model(features[list(rows)]), Outputs(), part_of(make_batch(NUM_PAIRS), rows)).backward()
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
