"""A teacher stays as it is: eval mode, no dropout, no gradient, whatever is trained beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.trainables.small import (
    CPU,
    all_wants,
    candidate_config,
    lively,
    small_config,
    watched_passes,
)
from trainables.datasets.encoded import EncodedSplit
from trainables.families.base import Blueprint
from trainables.families.blip.model import Blip
from trainables.preprocess import PreprocessConfig
from trainables.signals import Batch, Want
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.training.build import build_step
from trainables.training.trainer import Placement, Trainer, TrainingConfig


@pytest.fixture
def batch(train_split: EncodedSplit) -> Batch:
    images = np.arange(6)
    return train_split.batch({"picture": images, "caption": images * 4, "question": images * 4 + 1}, CPU)


def test_signals_carry_no_gradient_and_come_out_alike_twice(teacher: Teacher, batch: Batch) -> None:
    wants = frozenset(teacher.offers) - {Want("fused", "labels")}
    assert all_wants(teacher.model.architecture) < wants
    first, again = teacher.signals(batch, wants), teacher.signals(batch, wants)
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    assert set(first) == wants
    for want, value in first.items():
        assert not value.requires_grad
        assert torch.equal(value, again[want])
    assert teacher.signals(batch, frozenset()) == {}


def test_a_model_handed_over_in_training_mode_is_frozen(teacher: Teacher) -> None:
    model = lively(small_config()).train()
    files = TeacherFiles(name="x", folder=Path(), fingerprint="")
    blueprint = Blueprint("blip", model.architecture)
    made = Teacher(model, teacher.tokenizer, PreprocessConfig(image_size=64), files, blueprint=blueprint)
    assert not any(module.training for module in made.model.modules())
    assert not any(parameter.requires_grad for parameter in made.model.parameters())


def test_there_is_no_dropout_to_leave_on(teacher: Teacher, batch: Batch) -> None:
    rates = [m.p for m in teacher.model.modules() if isinstance(m, torch.nn.modules.dropout._DropoutNd)]
    assert not any(rates)
    wants = frozenset({Want("image", "embedding"), Want("decoder", "logits")})
    before = teacher.model(batch, wants)
    teacher.model.train()
    after = teacher.model(batch, wants)
    teacher.model.eval()
    assert all(torch.equal(before[want], after[want]) for want in wants)


def test_a_teacher_that_left_eval_mode_refuses_to_answer(teacher: Teacher, batch: Batch) -> None:
    teacher.model.train()
    try:
        with pytest.raises(RuntimeError, match="left eval mode"):
            teacher.signals(batch, frozenset({Want("image", "embedding")}))
    finally:
        teacher.model.eval()


@pytest.mark.parametrize(("kind", "enabled"), [("cpu", False), ("cuda", True)])
def test_a_live_teacher_answers_in_autocast_on_a_gpu_and_in_float32_elsewhere(
    teacher: Teacher, batch: Batch, monkeypatch: pytest.MonkeyPatch, kind: str, enabled: bool
) -> None:
    asked: list[tuple[str, torch.dtype, bool]] = []

    @contextmanager
    def autocast(device: str, *, dtype: torch.dtype, enabled: bool) -> Iterator[None]:
        asked.append((device, dtype, enabled))
        yield

    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(
        Batch, "device", torch.device(kind)
    )  # there is no GPU here: its tensors stay where they are
    found = teacher.signals(batch, frozenset({Want("image", "embedding")}))
    assert asked == [(kind, torch.bfloat16, enabled)]
    assert len(found) == 1


def test_training_a_student_leaves_its_teacher_alone(teacher: Teacher, train_split: EncodedSplit) -> None:
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    step, _ = build_step(candidate_config(), teacher, seed=0)
    assert not {id(p) for p in step.parameters()} & {id(p) for p in teacher.model.parameters()}
    config = TrainingConfig(epochs=1, pairs_per_epoch=16, batch_size=8)
    Trainer(step, train_split, teacher, config, seed=0, placement=Placement(device=CPU)).run_epoch(0)
    assert step.training
    assert not teacher.model.training
    assert all(torch.equal(value, before[name]) for name, value in teacher.model.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_only_what_is_wanted_is_computed(teacher: Teacher, batch: Batch) -> None:
    expected = {
        (): [],
        (Want("contrast", "temperature"),): [],
        (Want("text", "embedding"),): ["text"],
        (Want("image", "hidden", 0),): ["image"],
        (Want("fused", "logits"),): ["image", "fused"],
        (Want("decoder", "logits"), Want("text", "embedding")): ["image", "text", "decoder"],
        (Want("answer", "logits"),): ["image", "answer"],
    }
    for wants, passes in expected.items():
        with watched_passes(teacher.model, batch) as ran:
            teacher.signals(batch, frozenset(wants))
        assert ran == passes
    known = teacher.signals(batch, teacher.model.reusable)
    with watched_passes(teacher.model, batch) as ran:
        teacher.signals(batch, frozenset({Want("fused", "logits")}), known)
    assert ran == ["fused"]


def test_a_teacher_tells_what_its_students_follow_from(teacher: Teacher) -> None:
    found = teacher.surroundings
    assert (found.image_size, found.max_tokens, found.vocabulary) == (64, 24, small_config().vocabulary)
    assert found.teacher == small_config()
    assert found.sizes == {
        "image.width": 32, "image.depth": 2, "image.heads": 2,
        "text.width": 32, "text.depth": 2, "text.heads": 2,
        "fusion.layers": 2, "embedding": 16,
    }  # fmt: skip
    assert teacher.offers == Blip.offers(small_config())
