"""A script for two workers: each trains the small candidate and leaves its weights."""

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.unit.trainables.small import CPU, candidate_config, encoded
from trainables.teachers.loading import load_teacher
from trainables.training.build import build_step
from trainables.training.trainer import Placement, Trainer, TrainingConfig

LR, CLIP, UPDATES = 0.02, 1.0, 6
ADAM_EPS = 0.01  # Adam divides by the gradient's size: rounding errors of idle biases would count fully

LOSSES = {
    "itc": {"weight": 1.0},
    "lm": {"weight": 1.0},
    "vqa": {"weight": 1.0},
    "image_embedding": {"weight": 5.0},
    "text_embedding": {"weight": 5.0},
}
CASES: dict[str, dict[str, Any]] = {
    "means": {"losses": LOSSES, "batch": 8, "accumulate": 1},
    "accumulated": {
        "losses": LOSSES,
        "batch": 6,
        "accumulate": 3,
    },  # of 4 batches an epoch: the last group is 1
    "matching": {
        "losses": LOSSES | {"itm": {"weight": 1.0}, "fused_hidden": {"weight": 1.0}},
        "batch": 8,
        "accumulate": 1,
    },
}


def trained(teacher_folder: Path, case: str, *, rank: int, world: int) -> dict[str, Any]:
    """Return losses and weights after two epochs of 21 pairs: most batches are odd, two workers share them unevenly."""
    teacher, options = load_teacher(str(teacher_folder)), CASES[case]
    step, _ = build_step(candidate_config() | {"losses": options["losses"]}, teacher, seed=0)
    start = {name: value.clone() for name, value in step.state_dict().items()}
    config = TrainingConfig(
        epochs=2, pairs_per_epoch=21, batch_size=options["batch"], accumulate=options["accumulate"],
        lr=LR, warmup_steps=1, gradient_clip=CLIP,
    )  # fmt: skip
    placement = Placement(device=CPU, rank=rank, world=world)
    trainer = Trainer(step, encoded(teacher, "train"), teacher, config, seed=3, placement=placement)
    for group in trainer.optimizer.param_groups:
        group["eps"] = ADAM_EPS
    losses = [trainer.run_epoch(epoch) for epoch in range(2)]
    return {"losses": losses, "start": start, "weights": step.state_dict()}


def work(rank: int, teacher_folder: Path, folder: Path) -> None:
    """Run one of two workers."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    torch.save(
        {case: trained(teacher_folder, case, rank=rank, world=2) for case in CASES}, folder / f"{rank}.pt"
    )
    dist.destroy_process_group()


def main(teacher_folder: Path, folder: Path) -> int:
    """Run both and return the worse of their exit codes; forked, so that torch is imported once."""
    torch.set_num_threads(1)
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=work, args=(rank, teacher_folder, folder)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return max(abs(worker.exitcode or 0) for worker in workers)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
