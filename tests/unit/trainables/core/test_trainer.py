"""The training loop: schedule, accumulation, clipping, and the two ways in which a training ends early."""

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from spaces.errors import ShapeError
from tests.tolerance import close
from tests.unit.trainables.core.small import CPU, candidate_config
from trainables.build import build_step
from trainables.datasets.encoded import EncodedSplit
from trainables.step import DistillationStep
from trainables.teachers.teacher import Teacher
from trainables.trainer import (
    ITM_ENTROPY,
    Collapsed,
    Diverged,
    Placement,
    Trainer,
    TrainingConfig,
    warmup_cosine,
)

OPS = 2 * 3 * 12 * 32  # forward and backward through the layers of a student
MEANS = {
    "image_embedding": {"weight": 3.0},
    "text_embedding": {"weight": 2.0},
}  # means over pairs, and nothing else


def make(teacher: Teacher, split: EncodedSplit, losses: dict[str, Any] = MEANS, **training: Any) -> Trainer:
    step = build_step(candidate_config() | {"losses": losses}, teacher, seed=0)
    fields = {"epochs": 2, "pairs_per_epoch": 24, "batch_size": 8, "warmup_steps": 2, "gradient_clip": 1e9}
    return Trainer(
        step, split, teacher, TrainingConfig(**(fields | training)), seed=1, placement=Placement(device=CPU)
    )


def watch_updates(trainer: Trainer) -> list[tuple[float, list[Tensor]]]:
    """Return a list that fills with the learning rate and the gradients of every update."""
    updates: list[tuple[float, list[Tensor]]] = []

    def note(optimizer: torch.optim.Optimizer, args: object, options: object) -> None:
        gradients = [
            p.grad.clone() for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        updates.append((optimizer.param_groups[0]["lr"], gradients))

    trainer.optimizer.register_step_pre_hook(note)
    return updates


@pytest.mark.parametrize(
    ("update", "warmup", "total", "factor"),
    [
        (0, 4, 10, 0.25),  # a quarter of the warm-up, cosine still at 1
        (1, 4, 10, 0.5 * (1 + math.cos(math.pi / 10)) / 2),
        (3, 4, 10, 0.5 * (1 + math.cos(0.3 * math.pi))),
        (5, 4, 10, 0.5),
        (10, 4, 10, 0.0),
        (12, 4, 10, 0.0),
        (0, 0, 10, 1.0),
    ],
)
def test_warm_up_is_linear_and_cosine_ends_at_zero(
    update: int, warmup: int, total: int, factor: float
) -> None:
    assert warmup_cosine(update, warmup=warmup, total=total) == pytest.approx(factor)


def test_schedule_spans_all_epochs_and_counts_updates(teacher: Teacher, train_split: EncodedSplit) -> None:
    trainer = make(teacher, train_split, lr=0.01, accumulate=2)  # 3 batches an epoch: 2 updates
    updates = watch_updates(trainer)
    trainer.run_epoch(0)
    assert trainer.lr == pytest.approx(0.01 * 0.5)
    trainer.run_epoch(1)
    expected = [0.01 * warm * 0.5 * (1 + math.cos(math.pi * k / 4)) for k, warm in enumerate((0.5, 1, 1, 1))]
    assert [lr for lr, _ in updates] == pytest.approx(expected)
    assert trainer.lr == 0.0


def test_two_half_batches_give_the_gradient_of_the_whole(teacher: Teacher, train_split: EncodedSplit) -> None:
    whole = make(teacher, train_split, pairs_per_epoch=16, batch_size=16)
    halves = make(teacher, train_split, pairs_per_epoch=16, batch_size=8, accumulate=2)
    found = [watch_updates(trainer) for trainer in (whole, halves)]
    reports = [trainer.run_epoch(0) for trainer in (whole, halves)]
    assert [len(updates) for updates in found] == [1, 1]
    (one, several) = (updates[0][1] for updates in found)
    assert any(gradient.abs().max() > 1e-2 for gradient in one)
    # one size for all: keys have biases whose gradients cancel to zero
    close(several, one, ops=OPS, size=max(float(gradient.abs().max()) for gradient in one))
    close(reports[1], reports[0], ops=OPS)


def test_a_last_group_of_fewer_batches_still_updates(teacher: Teacher, train_split: EncodedSplit) -> None:
    trainer = make(teacher, train_split, accumulate=2)
    updates = watch_updates(trainer)
    trainer.run_epoch(0)
    assert len(updates) == 2


def norm(gradients: list[Tensor]) -> float:
    return float(sum(float(g.pow(2).sum()) for g in gradients)) ** 0.5


def test_gradients_are_clipped_to_the_norm_and_keep_their_direction(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    free, clipped = make(teacher, train_split), make(teacher, train_split, gradient_clip=0.05)
    found = [watch_updates(trainer) for trainer in (free, clipped)]
    free.run_epoch(0)
    clipped.run_epoch(0)
    before, after = found[0][0][1], found[1][0][1]
    assert norm(before) > 0.1
    close(norm(after), 0.05, ops=sum(g.numel() for g in after))
    scale = 0.05 / norm(before)
    close(after, [g * scale for g in before], ops=sum(g.numel() for g in after))


def test_only_matrices_decay(teacher: Teacher, train_split: EncodedSplit) -> None:
    groups = make(teacher, train_split, weight_decay=0.3).optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert {p.ndim > 1 for p in groups[0]["params"]} == {True}
    assert {p.ndim > 1 for p in groups[1]["params"]} == {False}


def test_every_weight_of_student_and_losses_is_trained(teacher: Teacher, train_split: EncodedSplit) -> None:
    losses = {"itc": {}, "itm": {}, "lm": {}, "image_embedding": {}, "image_hidden": {}}
    trainer = make(teacher, train_split, losses)
    known = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert known == {id(p) for p in trainer.step.parameters()}
    assert any(name.startswith("losses.image_hidden") for name, _ in trainer.step.named_parameters())


def test_report_is_the_mean_of_each_loss_and_of_their_weighted_sum(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    report = make(teacher, train_split, lr=0.0).run_epoch(0)
    assert set(report) == {"loss", "image_embedding", "text_embedding"}
    close(report["loss"], 3 * report["image_embedding"] + 2 * report["text_embedding"], ops=8)


def test_training_lowers_the_losses(teacher: Teacher, train_split: EncodedSplit) -> None:
    losses = candidate_config()["losses"]
    trainer = make(teacher, train_split, losses, lr=5e-3, pairs_per_epoch=80, epochs=4, gradient_clip=1.0)
    reports = [trainer.run_epoch(epoch) for epoch in range(4)]
    for name in ("loss", "image_embedding", "text_embedding", "lm", "vqa"):
        assert reports[-1][name] < reports[0][name], name


def test_fused_pass_runs_only_when_it_is_due(
    teacher: Teacher, train_split: EncodedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(teacher, train_split, {"itc": {}, "itm": {}}, fused_every=2, fused_from=0.5)
    ran: list[int] = []
    original = DistillationStep._fuse

    def note(self: DistillationStep, *args: Any) -> None:
        ran.append(trainer.batches_done)
        original(self, *args)

    monkeypatch.setattr(DistillationStep, "_fuse", note)
    first, second = trainer.run_epoch(0), trainer.run_epoch(1)
    assert "itm" not in first
    assert "itm" in second
    assert ran == [4], "of 6 batches the second half, and of that every second"


def test_a_loss_that_is_not_finite_ends_the_training_with_its_name(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    trainer = make(teacher, train_split, {"itc": {}, "text_embedding": {}}, lr=3e-3)
    trainer.run_epoch(0)
    with torch.no_grad():
        trainer.step.student.image_projection.weight[0, 0] = math.nan
    with pytest.raises(
        Diverged, match=r"step 4: loss 'itc' is nan \(text_embedding \d\.\d\d\); lr \d\.\de-03"
    ):
        trainer.run_epoch(1)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_gradient_that_is_not_finite_never_reaches_the_weights(
    teacher: Teacher, train_split: EncodedSplit, value: float
) -> None:
    trainer = make(teacher, train_split)
    weight = trainer.step.student.image_projection.weight
    weight.register_hook(lambda gradient: torch.full_like(gradient, value))
    with pytest.raises(Diverged, match=r"step 1: the gradient's norm is (inf|nan); lr"):
        trainer.run_epoch(0)
    assert all(bool(p.isfinite().all()) for p in trainer.step.parameters())


def test_entropy_of_one_match_to_two_negatives() -> None:
    assert pytest.approx(-(1 / 3 * math.log(1 / 3) + 2 / 3 * math.log(2 / 3))) == ITM_ENTROPY


def guessing(trainer: Trainer) -> Trainer:
    """Make the ITM head say the mix of its labels whatever it sees."""
    head = trainer.step.student.itm_head
    assert head is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([math.log(2 / 3), math.log(1 / 3)]))
    return trainer


def test_itm_that_only_guesses_for_too_long_has_collapsed(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    trainer = guessing(make(teacher, train_split, {"itm": {}}, lr=0.0))
    trainer.itm_patience = 5
    trainer.run_epoch(0)
    assert trainer.itm_stuck == 3
    with pytest.raises(
        Collapsed, match=r"step 5: loss 'itm' stood at 0.6365 \+- 0.005 \(guessing\) for 5 steps"
    ):
        trainer.run_epoch(1)


def test_itm_that_leaves_the_entropy_starts_its_patience_again(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    trainer = guessing(make(teacher, train_split, {"itm": {}}, lr=0.0))
    trainer.run_epoch(0)
    head = trainer.step.student.itm_head
    assert head is not None
    with torch.no_grad():
        head.bias.copy_(torch.tensor([3.0, 0.0]))
    trainer.run_epoch(1)
    assert trainer.itm_stuck == 0


@pytest.mark.parametrize(
    ("batch", "pairs", "world"), [(3, 24, 2), (1, 24, 1), (8, 9, 4), (64, 1, 1)], ids=str
)
def test_batches_too_small_for_the_workers_are_refused(
    teacher: Teacher, train_split: EncodedSplit, batch: int, pairs: int, world: int
) -> None:
    step = build_step(candidate_config(), teacher, seed=0)
    config = TrainingConfig(batch_size=batch, pairs_per_epoch=pairs)
    with pytest.raises(ShapeError, match=rf"got {batch} and {pairs} pairs .* allowed: {2 * world} or more"):
        Trainer(step, train_split, teacher, config, seed=0, placement=Placement(device=CPU, world=world))


def test_state_carries_everything_that_the_next_epoch_depends_on(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    losses = candidate_config()["losses"]
    straight = make(teacher, train_split, losses, lr=5e-3, epochs=3)
    straight.run_epoch(0)
    state = {
        name: {k: v.clone() for k, v in part.items()} if name == "step" else part
        for name, part in straight.state().items()
    }
    optimizer_state = torch.load(_saved(state["optimizer"]))
    rest = [straight.run_epoch(epoch) for epoch in (1, 2)]
    resumed = make(teacher, train_split, losses, lr=5e-3, epochs=3)
    resumed.restore(state | {"optimizer": optimizer_state, "schedule": state["schedule"]})
    assert [resumed.run_epoch(epoch) for epoch in (1, 2)] == rest
    for name, value in resumed.step.state_dict().items():
        assert torch.equal(value, straight.step.state_dict()[name]), name


def _saved(state: Any) -> Any:
    """Return a buffer with a copy of the state: an optimiser's own is changed by further steps."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer
