"""One step: which passes run, what the negatives are drawn from, and how losses are summed."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.tolerance import close
from tests.unit.trainables.core.small import CPU, candidate_config
from trainables import step as module
from trainables.build import build_step
from trainables.datasets.encoded import EncodedSplit
from trainables.outputs import Batch, Outputs, Want
from trainables.step import DistillationStep, StepReport
from trainables.teachers.teacher import Teacher

TASKS: dict[str, Any] = {
    "itc": {"weight": 1.0},
    "itm": {"weight": 0.5},
    "lm": {"weight": 2.0},
    "vqa": {"weight": 3.0},
}

OPS = 2 * 2 * 12 * 32  # layers of the image, then of the text side


@pytest.fixture
def batch(train_split: EncodedSplit) -> Batch:
    images = np.arange(8)
    return train_split.batch(images, images * 4, images * 4, CPU)


def make(teacher: Teacher, losses: dict[str, Any] = TASKS, **config: Any) -> DistillationStep:
    training = candidate_config()["training"] | config.pop("training", {})
    return build_step(candidate_config() | {"losses": losses, "training": training} | config, teacher, seed=0)


def run(step: DistillationStep, batch: Batch, teacher: Teacher, seed: int = 0, **options: Any) -> StepReport:
    outputs = teacher.outputs(batch, step.teacher_wants)
    report: StepReport = step(batch, outputs, torch.Generator().manual_seed(seed), **options)
    return report


def test_total_is_the_weighted_sum_of_what_is_reported(teacher: Teacher, batch: Batch) -> None:
    report = run(make(teacher), batch, teacher)
    assert set(report.losses) == set(TASKS)
    expected = sum(TASKS[name]["weight"] * float(value) for name, value in report.losses.items())
    close(report.total, expected, ops=8)
    assert report.total.requires_grad
    assert not any(value.requires_grad for value in report.losses.values())


@pytest.mark.parametrize(
    ("losses", "passes"),
    [
        ({"image_embedding": {}}, {"encode_image"}),
        ({"text_embedding": {}}, {"encode_image", "encode_text"}),
        ({"itc": {}}, {"encode_image", "encode_text"}),
        ({"lm": {}}, {"encode_image", "decode decoder"}),
        ({"vqa": {}}, {"encode_image", "decode answer"}),
        ({"itm": {}}, {"encode_image", "fuse"}),
        ({"fused_hidden": {}}, {"encode_image", "fuse"}),
    ],
    ids=lambda names: "+".join(sorted(names)),
)
def test_only_passes_that_a_loss_needs_are_run(
    teacher: Teacher, batch: Batch, monkeypatch: pytest.MonkeyPatch, losses: dict[str, Any], passes: set[str]
) -> None:
    step, ran = make(teacher, losses), set()
    for name in ("encode_image", "encode_text", "fuse", "decode"):
        original = getattr(step.student, name)

        def note(*args: Any, name: str = name, original: Any = original, **options: Any) -> Any:
            ran.add(f"{name} {options.get('mode', 'decoder')}" if name == "decode" else name)
            return original(*args, **options)

        monkeypatch.setattr(step.student, name, note)
    run(step, batch, teacher)
    assert ran == passes


def test_teacher_wants_are_those_of_the_losses_and_of_the_negatives(teacher: Teacher) -> None:
    embeddings = {Want("image", "embedding"), Want("text", "embedding")}
    assert make(teacher, {"lm": {}}).teacher_wants == frozenset()
    assert make(teacher, {"image_embedding": {}}).teacher_wants == {Want("image", "embedding")}
    assert make(teacher, {"itm": {}}).teacher_wants == embeddings
    student = {"itm_negatives": "student"}
    assert make(teacher, {"itm": {}}, training=student).teacher_wants == frozenset()


@pytest.mark.parametrize("source", ["teacher", "student"])
def test_negatives_are_drawn_from_the_similarities_of_their_source(
    teacher: Teacher, batch: Batch, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    step = make(teacher, {"itm": {}}, training={"itm_negatives": source})
    seen: list[torch.Tensor] = []
    original = module.fused_pairs

    def note(similarity: torch.Tensor, *args: Any) -> Any:
        seen.append(similarity)
        return original(similarity, *args)

    monkeypatch.setattr(module, "fused_pairs", note)
    run(step, batch, teacher)
    model = teacher.model if source == "teacher" else step.student
    image, text = model.encode_image(batch.images), model.encode_text(batch.caption_ids, batch.caption_mask)
    assert image.embedding_BE is not None
    assert text.embedding_BE is not None
    expected = image.embedding_BE @ text.embedding_BE.T / model.temperature
    close(seen[0], expected, ops=OPS)
    assert not seen[0].requires_grad


def test_fused_outputs_hold_the_pairs_first_and_then_negatives(
    teacher: Teacher, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = make(teacher, {"itm": {}})
    kept: list[Outputs] = []
    loss = step.losses["itm"]
    original = loss.compute
    monkeypatch.setattr(
        loss, "compute", lambda student, *rest: kept.append(student) or original(student, *rest)
    )
    run(step, batch, teacher)
    fused = kept[0].fused
    assert fused is not None
    assert fused.labels_N is not None
    assert fused.labels_N.tolist() == [1] * 8 + [0] * 16
    alone = step.student.fuse(batch.caption_ids, batch.caption_mask, _tokens(step, batch)).logits_N2
    assert alone is not None
    assert fused.logits_N2 is not None
    close(fused.logits_N2[:8], alone, ops=OPS)


def _tokens(step: DistillationStep, batch: Batch) -> torch.Tensor:
    tokens = step.student.encode_image(batch.images).tokens_BPD
    assert tokens is not None
    return tokens


def test_a_step_without_the_fused_pass_leaves_its_losses_out(teacher: Teacher, batch: Batch) -> None:
    report = run(make(teacher), batch, teacher, fused=False)
    assert set(report.losses) == {"itc", "lm", "vqa"}
    assert set(run(make(teacher, {"itm": {}}), batch, teacher, fused=False).losses) == {"itm"}, (
        "nothing else is left"
    )


def test_negatives_follow_the_generator(teacher: Teacher, batch: Batch) -> None:
    step = make(teacher, {"itm": {}})
    values = [float(run(step, batch, teacher, seed=seed).losses["itm"]) for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_a_blind_student_learns_from_no_picture(teacher: Teacher, batch: Batch) -> None:
    step = make(teacher, {"lm": {}}, blind=True)
    before = run(step, batch, teacher).losses["lm"]
    batch.images = batch.images.flip(0)
    assert torch.equal(run(step, batch, teacher).losses["lm"], before)
    seeing = make(teacher, {"lm": {}})
    assert not torch.equal(run(seeing, batch, teacher).losses["lm"], before)
