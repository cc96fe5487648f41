"""A teacher stays as it is: eval mode, no dropout, no gradient, whatever is trained beside it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.trainables.small import CPU, all_wants, candidate_config, lively, small_config
from trainables.build import build_step
from trainables.datasets.encoded import EncodedSplit
from trainables.models.config import PreprocessConfig
from trainables.outputs import Batch, Want
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.trainer import Placement, Trainer, TrainingConfig


@pytest.fixture
def batch(train_split: EncodedSplit) -> Batch:
    images = np.arange(6)
    return train_split.batch(images, images * 4, images * 4 + 1, CPU)


def values(teacher: Teacher, batch: Batch) -> dict[str, torch.Tensor]:
    """Return every output by its want."""
    wants = all_wants(teacher.config)
    outputs = teacher.outputs(batch, wants)
    found = {}
    for want in wants:
        mode = getattr(outputs, want.mode)
        if want.layer is not None:
            found[str(want)] = getattr(mode, want.what)[want.layer]
        else:
            name = {"embedding": "embedding_BE"}.get(
                want.what, "logits_N2" if want.mode == "fused" else "logits_BTV"
            )
            found[str(want)] = getattr(mode, name)
    return found


def test_outputs_carry_no_gradient_and_come_out_alike_twice(teacher: Teacher, batch: Batch) -> None:
    first, again = values(teacher, batch), values(teacher, batch)
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    for name, value in first.items():
        assert not value.requires_grad
        assert torch.equal(value, again[name])
    temperature = teacher.outputs(batch, frozenset()).temperature
    assert temperature is not None
    assert not temperature.requires_grad


def test_a_model_handed_over_in_training_mode_is_frozen(teacher: Teacher) -> None:
    model = lively(small_config()).train()
    files = TeacherFiles(name="x", folder=Path(), fingerprint="")
    made = Teacher(model, teacher.tokenizer, PreprocessConfig(image_size=64), files)
    assert not any(module.training for module in made.model.modules())
    assert not any(parameter.requires_grad for parameter in made.model.parameters())


def test_there_is_no_dropout_to_leave_on(teacher: Teacher) -> None:
    rates = [m.p for m in teacher.model.modules() if isinstance(m, torch.nn.modules.dropout._DropoutNd)]
    assert not any(rates)
    before = teacher.model.encode_image(torch.ones(2, 3, 64, 64)).embedding_BE
    teacher.model.train()
    after = teacher.model.encode_image(torch.ones(2, 3, 64, 64)).embedding_BE
    teacher.model.eval()
    assert before is not None
    assert after is not None
    assert torch.equal(before, after)


def test_a_teacher_that_left_eval_mode_refuses_to_answer(teacher: Teacher, batch: Batch) -> None:
    teacher.model.train()
    try:
        with pytest.raises(RuntimeError, match="left eval mode"):
            teacher.outputs(batch, frozenset({Want("image", "embedding")}))
    finally:
        teacher.model.eval()


def test_training_a_student_leaves_its_teacher_alone(teacher: Teacher, train_split: EncodedSplit) -> None:
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    step = build_step(candidate_config(), teacher, seed=0)
    assert not {id(p) for p in step.parameters()} & {id(p) for p in teacher.model.parameters()}
    config = TrainingConfig(epochs=1, pairs_per_epoch=16, batch_size=8)
    Trainer(step, train_split, teacher, config, seed=0, placement=Placement(device=CPU)).run_epoch(0)
    assert step.training
    assert not teacher.model.training
    assert all(torch.equal(value, before[name]) for name, value in teacher.model.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_only_what_is_wanted_is_computed(
    teacher: Teacher, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    for name in ("encode_image", "encode_text", "fuse", "decode"):
        original = getattr(teacher.model, name)

        def note(*args: object, name: str = name, original: object = original, **options: object) -> object:
            called.append(f"{name} {options['mode']}" if "mode" in options else name)
            return original(*args, **options)  # type: ignore[operator]

        monkeypatch.setattr(teacher.model, name, note)
    expected = {
        (): [],
        (Want("text", "embedding"),): ["encode_text"],
        (Want("image", "hidden", 0),): ["encode_image"],
        (Want("fused", "logits"),): ["encode_image", "fuse"],
        (Want("decoder", "logits"), Want("text", "embedding")): ["encode_image", "encode_text", "decode"],
        (Want("answer", "logits"),): ["encode_image", "decode answer"],
    }
    for wants, calls in expected.items():
        called.clear()
        teacher.outputs(batch, frozenset(wants))
        assert called == calls
