"""A step that does not fit into memory is taken in parts, with losses and gradient of the whole, or refused with a reason."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.trainables.small import CPU, EPS, candidate_config, changed, encoded, make_job, small_config
from trainables.families.blip.model import Blip
from trainables.signals import NoSource, Want
from trainables.teachers.teacher import Teacher
from trainables.training.build import build_step
from trainables.training.control import PlainControl
from trainables.training.loop import train
from trainables.training.trainer import Placement, Trainer, TrainingConfig

WITHOUT_NEGATIVES = (
    "itc", "lm", "vqa", "image_embedding", "text_embedding", "itc_logit", "lm_logit", "answer_logit", "image_hidden",
    "text_hidden", "fused_hidden", "decoder_attention", "text_attention", "cross_attention",
)  # fmt: skip
FULL = "CUDA out of memory. Tried to allocate 2 GiB.\nSee the manual."


def config_of(*losses: str) -> dict[str, Any]:
    return candidate_config() | {"losses": {name: {"weight": 1.0} for name in losses}}


@contextmanager
def memory_for(rows: int, monkeypatch: pytest.MonkeyPatch, *, twin: bool = False) -> Iterator[list[int]]:
    """Let passes of a student that are to be followed by backward, or of its twin, hold so many pictures; yield how many each was
    asked for."""
    asked: list[int] = []
    original = Blip.forward

    def forward(self: Blip, batch: Any, wants: Any, given: Any = None, known: Any = None) -> Any:
        found = original(self, batch, wants, given, known)
        if not self.training if twin else self.training and torch.is_grad_enabled():
            asked.append(len(batch.rows["picture"]))
            if asked[-1] > rows:
                raise torch.OutOfMemoryError(FULL)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Blip, "forward", forward)
        yield asked


def trainer_of(teacher: Teacher, *losses: str, accumulate: int = 1) -> Trainer:
    step, _ = build_step(config_of(*losses), teacher, seed=0)
    training = TrainingConfig(
        epochs=2, pairs_per_epoch=24, batch_size=8, lr=1e-3, warmup_steps=1, accumulate=accumulate
    )
    return Trainer(
        step, encoded(teacher, "train"), teacher, training, seed=1, placement=Placement(device=CPU)
    )


def gradients(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """Train an epoch whose updates change nothing; return the gradient of each."""
    found: list[dict[str, torch.Tensor]] = []

    clip = torch.nn.utils.clip_grad_norm_

    def clipping(*args: Any) -> torch.Tensor:
        named = trainer.step.named_parameters()
        found.append({name: one.grad.clone() for name, one in named if one.grad is not None})
        return clip(*args)

    for group in trainer.optimizer.param_groups:
        group["lr"] = group["initial_lr"] = 0.0
    trainer.schedule.base_lrs = [0.0 for _ in trainer.schedule.base_lrs]
    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.utils, "clip_grad_norm_", clipping)
        trainer.run_epoch(0)
    return found


@pytest.mark.parametrize(("rows", "parts"), [(4, 2), (3, 4)])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_parts_give_the_losses_and_the_gradient_of_the_whole(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch, *, rows: int, parts: int, accumulate: int
) -> None:
    whole = trainer_of(teacher, *WITHOUT_NEGATIVES, accumulate=accumulate)
    expected = gradients(whole, monkeypatch)
    split = trainer_of(teacher, *WITHOUT_NEGATIVES, accumulate=accumulate)
    with memory_for(rows, monkeypatch) as asked:
        found = gradients(split, monkeypatch)
    assert split.micro_batches == parts
    assert max(asked[2:]) <= 4, "once it is known, nothing larger is tried"
    assert len(found) == len(expected) == 3 // accumulate
    for mine, theirs in zip(found, expected, strict=True):
        assert set(mine) == set(theirs)
        size = max(float(one.abs().max()) for one in theirs.values())
        for name, one in theirs.items():
            torch.testing.assert_close(mine[name], one, atol=256 * EPS * size, rtol=0, msg=name)


def test_a_batch_that_runs_out_in_the_middle_of_a_group_is_not_counted_twice(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = gradients(trainer_of(teacher, "itc", "lm", accumulate=3), monkeypatch)
    split = trainer_of(teacher, "itc", "lm", accumulate=3)
    original, broken = Trainer._pass, list[int]()

    def breaking(self: Trainer, *args: Any) -> Any:
        found = original(self, *args)
        if self.micro_batches == 1 and args[-1] == 1:
            broken.append(1)
            raise torch.OutOfMemoryError(FULL)  # when its gradient has been added
        return found

    monkeypatch.setattr(Trainer, "_pass", breaking)
    (mine,) = gradients(split, monkeypatch)
    assert broken == [1]
    for name, one in expected[0].items():
        torch.testing.assert_close(
            mine[name], one, atol=256 * EPS * float(one.abs().max()) + 1e-9, rtol=0, msg=name
        )


def test_the_row_and_the_checkpoint_tell_of_parts(
    teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(teacher_folder, tmp_path, config=config_of("itc", "lm"))
    control = PlainControl(quiet=True)
    with memory_for(4, monkeypatch):
        train(job, control)
    assert [row["status"] for row in control.rows] == ["running", "running", "finished"]
    assert [row["micro_batches"] for row in control.rows] == [2, 2, 2]
    again = PlainControl(quiet=True)
    train(job, again)
    assert again.rows == control.rows


@pytest.mark.parametrize(
    ("fits", "told"), [(4, "one of 4 does"), (2, "one of 2 does"), (1, "nor does one of 2")]
)
def test_negatives_of_the_whole_batch_cannot_be_drawn_from_a_part(
    teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: int, told: str
) -> None:
    control = PlainControl(quiet=True)
    with memory_for(fits, monkeypatch):
        train(make_job(teacher_folder, tmp_path, config=config_of("itc", "itm")), control)
    (row,) = control.rows
    assert row["status"] == "oom"
    assert row["reason"] == (
        "trial 0badcafe, epoch 1: a batch of 8 does not fit (CUDA out of memory. Tried to allocate 2 GiB), and is not taken "
        f"in parts: its negatives are drawn from the whole batch; {told}. Lower training.batch_size"
    )


def test_a_single_example_that_does_not_fit_ends_it(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(teacher, "itc")
    with (
        memory_for(0, monkeypatch),
        pytest.raises(torch.OutOfMemoryError, match=r"a single example is too large; nor "),
    ):
        trainer.run_epoch(0)
    assert trainer.micro_batches == 8


def test_what_looks_at_the_whole_batch_is_not_divided() -> None:
    model = Blip(small_config())
    image = frozenset({Want("image", "embedding")})
    assert model.indivisible(image) is None
    assert "negatives" in str(model.indivisible(image | {Want("fused", "labels")}))
    model.add_module("norm", nn.BatchNorm1d(2))
    assert "batch norms" in str(model.indivisible(image))
    del model.norm
    model.add_module("drop", nn.Dropout(0.1))
    assert "dropout" in str(model.indivisible(image))


def test_blind_students_are_divided_blind(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    config = changed(config_of("itc", "lm"), "blind", True)
    reports = []
    for rows in (8, 4):
        step, _ = build_step(config, teacher, seed=0)
        training = TrainingConfig(epochs=1, pairs_per_epoch=24, batch_size=8)
        trainer = Trainer(
            step, encoded(teacher, "train"), teacher, training, seed=1, placement=Placement(device=CPU)
        )
        with memory_for(rows, monkeypatch):
            reports.append(trainer.run_epoch(0))
    assert reports[1] == pytest.approx(reports[0], rel=1e-5)


def taught_by_twin(teacher: Teacher, batch_size: int = 8) -> Trainer:
    config = config_of("itc")
    config["losses"]["itc"] |= {"taught_by": "twin", "queue": 12, "decay": 0.9, "soft_targets": 0.4}
    step, _ = build_step(config, teacher, seed=0)
    training = TrainingConfig(epochs=2, pairs_per_epoch=24, batch_size=batch_size, lr=1e-3, warmup_steps=1)
    return Trainer(
        step, encoded(teacher, "train"), NoSource(), training, seed=1, placement=Placement(device=CPU)
    )


@pytest.mark.parametrize(("rows", "parts"), [(4, 2), (3, 4), (1, 8)])
def test_a_twin_that_does_not_fit_says_the_same_in_parts(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch, rows: int, parts: int
) -> None:
    whole, split = taught_by_twin(teacher), taught_by_twin(teacher)
    expected = whole.run_epoch(0)
    with memory_for(rows, monkeypatch, twin=True) as asked:
        found = split.run_epoch(0)
    assert whole.twin is not None
    assert split.twin is not None
    assert (whole.twin.parts, split.twin.parts, split.micro_batches) == (1, parts, 1)
    wider = [one for one in asked if one > rows]
    assert len(wider) == {2: 1, 4: 2, 8: 3}[parts], "once it is known, nothing larger is tried"
    assert found == pytest.approx(expected, rel=1e-5)
    for want, held in whole.twin.queue.items():
        torch.testing.assert_close(split.twin.queue[want], held, atol=256 * EPS, rtol=0)
    assert split.twin.numbers["picture"].tolist() == whole.twin.numbers["picture"].tolist()
    later = taught_by_twin(teacher)
    later.restore(split.state())
    assert later.twin is not None
    assert later.twin.parts == parts


def test_a_twin_that_holds_one_example_is_asked_for_one(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, trainer = taught_by_twin(teacher, 6).run_epoch(0), taught_by_twin(teacher, 6)
    with memory_for(1, monkeypatch, twin=True):
        found = trainer.run_epoch(0)
    assert trainer.twin is not None
    assert trainer.twin.parts == 6, "of 6 examples, where 8 parts are too many"
    assert found == pytest.approx(expected, rel=1e-5)


def test_student_and_twin_are_both_taken_in_parts(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = taught_by_twin(teacher).run_epoch(0)
    trainer = taught_by_twin(teacher)
    with memory_for(2, monkeypatch), memory_for(4, monkeypatch, twin=True):
        found = trainer.run_epoch(0)
    assert trainer.twin is not None
    assert (trainer.micro_batches, trainer.twin.parts) == (4, 2)
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_twin_that_does_not_fit_at_all_ends_it_with_a_reason(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = taught_by_twin(teacher)
    with (
        memory_for(0, monkeypatch, twin=True),
        pytest.raises(
            torch.OutOfMemoryError,
            match=r"the student's twin does not fit \(CUDA out of memory. Tried to allocate 2 GiB\), "
            r"not even with one example of 8 at a time\. Take a smaller student, or leave out taught_by: twin",
        ),
    ):
        trainer.run_epoch(0)
