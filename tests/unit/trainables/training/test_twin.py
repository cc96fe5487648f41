"""The student's momentum twin: its average and its queue against loops in plain Python, and a resume to the bit."""

import io
from collections import deque
from typing import Any

import pytest
import torch
from torch import Tensor

from spaces.errors import PluginError
from tests.unit.trainables.small import CPU, candidate_config
from trainables.datasets.encoded import EncodedSplit
from trainables.losses.base import Needs, TwinNeeds
from trainables.signals import KEY_OWN, KEY_PICTURE, Signals, Want, of_keys, of_twin
from trainables.teachers.teacher import Teacher
from trainables.training.build import build_step
from trainables.training.config import TrainingConfig
from trainables.training.trainer import Placement, Trainer
from trainables.training.twin import NOBODY, Twin, twin_needs

IMAGE, TEXT = Want("image", "embedding"), Want("text", "embedding")
QUEUE = 11  # no multiple of a batch of 8
LOSSES = {
    "itc": {"weight": 1.0, "soft_targets": 0.4, "ramp_epochs": 1.0, "taught_by": "twin", "queue": QUEUE, "decay": 0.9},
}  # fmt: skip


def make(teacher: Teacher, split: EncodedSplit, **training: Any) -> Trainer:
    step, _ = build_step(candidate_config() | {"losses": LOSSES}, teacher, seed=0)
    fields = {"epochs": 3, "pairs_per_epoch": 24, "batch_size": 8, "warmup_steps": 2, "lr": 3e-3}
    placement = Placement(device=CPU)
    return Trainer(step, split, teacher, TrainingConfig(**(fields | training)), seed=1, placement=placement)


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def test_its_weights_are_the_moving_average_of_the_students(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    trainer = make(teacher, train_split)
    assert trainer.twin is not None
    expected = weights(trainer.step.student)
    assert all(torch.equal(value, expected[name]) for name, value in weights(trainer.twin.model).items())

    def note(optimizer: object, args: object, options: object) -> None:
        for name, value in weights(trainer.step.student).items():
            expected[name] = 0.9 * expected[name] + 0.1 * value

    trainer.optimizer.register_step_post_hook(note)
    trainer.run_epoch(0)
    found = weights(trainer.twin.model)
    moved = max(
        float((found[name] - value).abs().max()) for name, value in weights(trainer.step.student).items()
    )
    assert moved > 1e-3, "or equality would say nothing"
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_its_queue_holds_what_it_said_last_and_the_oldest_goes_first(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    trainer = make(teacher, train_split)
    assert trainer.twin is not None
    begun = trainer.twin.queue[IMAGE].clone()
    torch.testing.assert_close(begun.norm(dim=1), torch.ones(QUEUE))
    assert trainer.twin.numbers["picture"].tolist() == [NOBODY] * QUEUE
    lately = deque([(NOBODY, row) for row in begun], maxlen=QUEUE)
    seen: list[Signals] = []

    def watch(module: object, args: tuple[Any, ...]) -> None:
        seen.append(args[1])

    trainer.step.register_forward_pre_hook(watch)
    for batch in range(3):
        rows = next(iter(trainer.sampler.epoch(batch)))
        made = train_split.batch(rows, CPU)
        said = trainer._beside_twin(made, Signals())
        assert said[KEY_OWN].tolist() == list(range(8))
        own = [int(row) for row in rows["picture"]]
        assert said[KEY_PICTURE].tolist()[:8] == own
        assert sorted(said[KEY_PICTURE].tolist()[8:]) == sorted(number for number, _ in lately)
        with torch.no_grad():
            fresh = trainer.twin.model(made, frozenset({IMAGE}))[IMAGE]
        torch.testing.assert_close(said[of_twin(IMAGE)], fresh)
        torch.testing.assert_close(said[of_keys(IMAGE)][:8], fresh)
        trainer.twin.remember()
        lately.extend(zip(own, fresh, strict=True))
        held = {tuple(row.tolist()) for row in trainer.twin.queue[IMAGE]}
        assert held == {tuple(row.tolist()) for _, row in lately}


def test_a_queue_shorter_than_a_batch_keeps_the_last_of_it() -> None:
    twin = object.__new__(Twin)
    twin.needs = TwinNeeds(wants=frozenset({IMAGE}), decay=0.5, queue=3)
    twin.queue, twin.place = {IMAGE: torch.zeros(3, 1)}, 2
    twin.numbers = {"picture": torch.full((3,), NOBODY), "caption": torch.full((3,), NOBODY)}
    twin.model = torch.nn.Linear(1, 1)  # type: ignore[assignment]
    type(twin.model).device = property(lambda self: CPU)  # type: ignore[attr-defined]
    try:
        numbers = torch.arange(5)
        twin._said = {IMAGE: numbers[:, None].float()}, {"picture": numbers, "caption": numbers}
        twin.remember()
    finally:
        del type(twin.model).device  # type: ignore[attr-defined]
    assert sorted(twin.numbers["picture"].tolist()) == [2, 3, 4]
    assert sorted(twin.queue[IMAGE].flatten().tolist()) == [2.0, 3.0, 4.0]


def test_a_training_that_is_resumed_equals_one_that_was_not(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    whole, begun, later = (make(teacher, train_split) for _ in range(3))
    rows = [whole.run_epoch(epoch) for epoch in range(3)]
    begun.run_epoch(0)
    file = io.BytesIO()
    torch.save(begun.state(), file)
    file.seek(0)
    later.restore(torch.load(file, weights_only=True))
    assert [later.run_epoch(epoch) for epoch in (1, 2)] == rows[1:]
    assert whole.twin is not None
    assert later.twin is not None
    for name, value in weights(whole.step).items():
        assert torch.equal(value, weights(later.step)[name]), name
    for want, kept in whole.twin.queue.items():
        assert torch.equal(kept, later.twin.queue[want])
    assert whole.twin.place == later.twin.place == 72 % QUEUE


def test_it_is_no_part_of_what_workers_send_one_another_and_of_no_exported_weights(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    trainer = make(teacher, train_split)
    assert trainer.twin is not None
    inside = {id(one) for one in [*trainer.step.parameters(), *trainer.step.buffers()]}
    assert not inside & {id(one) for one in trainer.twin.model.parameters()}
    assert not any("twin" in name for name in trainer.step.state_dict())
    assert not trainer.twin.model.training
    assert not any(one.requires_grad for one in trainer.twin.model.parameters())


def test_losses_that_ask_for_different_twins_are_refused() -> None:
    def needs(queue: int) -> Needs:
        return Needs(student=frozenset(), twin=TwinNeeds(wants=frozenset({IMAGE}), decay=0.9, queue=queue))

    joined = twin_needs({"one": needs(4), "two": needs(4), "other": Needs(student=frozenset())})
    assert joined == needs(4).twin
    assert twin_needs({"other": Needs(student=frozenset())}) is None
    with pytest.raises(PluginError, match=r"one decay 0\.9, queue 4; two decay 0\.9, queue 5"):
        twin_needs({"one": needs(4), "two": needs(5)})
