"""The training loop: schedule, accumulation, clipping, and the two ways in which a training ends early."""

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spaces.errors import ShapeError
from tests.unit.trainables.small import CPU, assert_near, candidate_config
from trainables.datasets.encoded import EncodedSplit
from trainables.teachers.teacher import Teacher
from trainables.training.build import build_step
from trainables.training.health import Collapsed, Diverged
from trainables.training.trainer import Placement, Trainer, TrainingConfig, warmup_cosine

MEANS = {
    "image_embedding": {"weight": 3.0},
    "text_embedding": {"weight": 2.0},
}  # means over pairs, and nothing else


def make(teacher: Teacher, split: EncodedSplit, losses: dict[str, Any] = MEANS, **training: Any) -> Trainer:
    step, _ = build_step(candidate_config() | {"losses": losses}, teacher, seed=0)
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
    assert_near(joined(several), joined(one))
    assert reports[1] == pytest.approx(reports[0], rel=1e-5)


@pytest.mark.parametrize(
    ("pairs", "accumulate", "groups"), [(24, 2, [2, 1]), (48, 4, [4, 2]), (24, 5, [3]), (16, 1, [1, 1])]
)
def test_each_group_of_batches_gives_the_gradient_of_one_big_batch_the_short_last_one_too(
    teacher: Teacher, train_split: EncodedSplit, pairs: int, accumulate: int, groups: list[int]
) -> None:
    trainer = make(teacher, train_split, pairs_per_epoch=pairs, accumulate=accumulate, lr=0.0)
    updates, batches = watch_updates(trainer), list(trainer.sampler.epoch(0))
    trainer.run_epoch(0)
    assert len(updates) == len(groups)
    for size, (_, gradients) in zip(groups, updates, strict=True):
        together, batches = batches[:size], batches[size:]
        rows = {kind: np.concatenate([one[kind] for one in together]) for kind in together[0]}
        batch = train_split.batch(rows, CPU)
        trainer.step.zero_grad()
        trainer.step(batch, teacher.signals(batch, trainer.step.source_wants)).total.backward()
        alone = [
            p.grad for group in trainer.optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        assert float(joined(alone).abs().max()) > 1e-2
        assert_near(joined(gradients), joined(alone))


def joined(gradients: list[Tensor]) -> Tensor:
    """Return all gradients in a row: what is small beside the largest one is rounded as that is."""
    return torch.cat([gradient.flatten() for gradient in gradients])


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
    assert norm(after) == pytest.approx(0.05, rel=1e-3)
    scale = 0.05 / norm(before)
    assert_near(joined(after), joined(before) * scale)


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
    assert report["loss"] == pytest.approx(3 * report["image_embedding"] + 2 * report["text_embedding"])


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
    original = trainer.step.student._fused

    def note(*args: Any) -> None:
        ran.append(trainer.batches_done)
        original(*args)

    monkeypatch.setattr(trainer.step.student, "_fused", note)
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


def test_what_guessing_costs_is_worked_out_for_the_batches_at_hand(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    trainer = make(teacher, train_split, {"itc": {}, "itm": {}, "lm": {}})  # 24 pairs in batches of 8
    entropy = -(1 / 3 * math.log(1 / 3) + 2 / 3 * math.log(2 / 3))
    assert trainer.step.guessing(8) == pytest.approx({"itc": math.log(8), "itm": entropy})


def guessing(trainer: Trainer) -> Trainer:
    """Make the ITM head say the mix of its labels whatever it sees."""
    head = trainer.step.student.itm_head
    assert head is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([math.log(2 / 3), math.log(1 / 3)]))
    return trainer


def test_a_training_that_only_guesses_for_too_long_has_collapsed(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    trainer = guessing(make(teacher, train_split, {"itm": {}}, lr=0.0, warmup_steps=1))
    trainer.health.patience = 4
    trainer.run_epoch(0)
    assert trainer.health.stuck == 2  # of 3 steps the first is warm-up
    told = r"step 5: nothing was learned for 4 steps: the sum of losses averages 0.6365, at the start 0.6365, itm 0.6365"
    with pytest.raises(Collapsed, match=told):
        trainer.run_epoch(1)


def test_a_resumed_training_goes_on_with_what_was_left_of_its_patience(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    first = guessing(make(teacher, train_split, {"itm": {}}, lr=0.0, warmup_steps=1))
    first.run_epoch(0)
    again = make(teacher, train_split, {"itm": {}}, lr=0.0, warmup_steps=1)
    again.health.patience = 3
    again.restore(first.state())
    with pytest.raises(Collapsed, match=r"step 4: nothing was learned for 3 steps"):
        again.run_epoch(1)
    older = first.state()
    del older["health"]
    again.restore(older)  # what an earlier version wrote


def test_leaving_the_value_of_guessing_starts_the_patience_again(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    trainer = guessing(make(teacher, train_split, {"itm": {}}, lr=0.0, warmup_steps=1))
    trainer.run_epoch(0)
    head = trainer.step.student.itm_head
    assert head is not None
    with torch.no_grad():
        head.bias.copy_(torch.tensor([0.0, 0.0]))  # 0.6931 is no better; the labels themselves are
    trainer.run_epoch(1)
    assert trainer.health.stuck == 5
    trainer.health.restore({**trainer.health.state(), "starts": {"itm": 10.0}})
    trainer.run_epoch(2)
    assert trainer.health.stuck == 0


@pytest.mark.parametrize(
    ("batch", "pairs", "world"), [(3, 24, 2), (1, 24, 1), (8, 9, 4), (64, 1, 1)], ids=str
)
def test_batches_too_small_for_the_workers_are_refused(
    teacher: Teacher, train_split: EncodedSplit, batch: int, pairs: int, world: int
) -> None:
    step, _ = build_step(candidate_config(), teacher, seed=0)
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
