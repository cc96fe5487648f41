"""What is dropped at random in training hangs on seed, step and worker alone: a resume repeats it, workers do not."""

import io
from typing import Any

import torch
from torch import Tensor

from tests.unit.trainables.small import CPU, candidate_config, changed
from trainables.datasets.encoded import EncodedSplit
from trainables.teachers.teacher import Teacher
from trainables.training.build import build_step
from trainables.training.config import TrainingConfig
from trainables.training.trainer import Placement, Trainer, mask_seed


def make(teacher: Teacher, split: EncodedSplit, *, rank: int = 0, dropout: float = 0.3) -> Trainer:
    config = changed(candidate_config(), "student.text.dropout", dropout)
    config = changed(config, "student.image.drop_path", dropout)
    step, _ = build_step(config, teacher, seed=0)
    training = TrainingConfig(epochs=2, pairs_per_epoch=16, batch_size=8, warmup_steps=2)
    return Trainer(step, split, teacher, training, seed=1, placement=Placement(device=CPU, rank=rank))


def test_a_training_with_dropout_that_is_resumed_equals_one_that_was_not(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    whole, begun, later = (make(teacher, train_split) for _ in range(3))
    rows = [whole.run_epoch(epoch) for epoch in range(2)]
    begun.run_epoch(0)
    file = io.BytesIO()
    torch.save(begun.state(), file)
    file.seek(0)
    torch.rand(5)  # the generator of this process stands elsewhere
    later.restore(torch.load(file, weights_only=True))
    assert later.run_epoch(1) == rows[1]
    theirs = later.step.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in whole.step.state_dict().items())
    assert make(teacher, train_split, dropout=0.0).run_epoch(0) != rows[0]


def test_steps_and_workers_draw_masks_of_their_own(teacher: Teacher, train_split: EncodedSplit) -> None:
    seeds: dict[tuple[int, int], int] = {}
    masks: dict[tuple[int, int], Tensor] = {}
    for rank in range(2):
        trainer = make(teacher, train_split, rank=rank)
        student: Any = trainer.step.student
        for number, (batch, given) in enumerate(trainer._examples(0, looks=True)):
            batch.seed = (trainer.seed << 24) + number * 2 + rank  # as of two workers
            seeds[number, rank] = mask_seed(batch)
            seen: list[Tensor] = []
            watch = student.text_network.dropout.register_forward_hook(
                lambda module, args, out, seen=seen: seen.append(out[:2, :4] == 0)
            )
            trainer._pass(batch, given, frozenset(), number)
            watch.remove()
            masks[number, rank] = seen[0]
    assert len(set(seeds.values())) == len(seeds) == 4
    assert max(seeds.values()) > 2**32, (
        "or two seeds of trials that differ in high bits alone would draw alike"
    )
    found = list(masks.values())
    assert all(not torch.equal(one, other) for i, one in enumerate(found) for other in found[:i])
    assert all(0 < float(one.float().mean()) < 1 for one in found)
