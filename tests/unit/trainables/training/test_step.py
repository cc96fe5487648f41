"""One step: which passes run, what the negatives are drawn from, and how losses are summed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.trainables.small import CPU, candidate_config, watched_passes
from trainables.datasets.encoded import EncodedSplit
from trainables.families.blip import pairs as module
from trainables.signals import Batch, Signals, Want
from trainables.teachers.teacher import Teacher
from trainables.training.build import build_step
from trainables.training.step import DistillationStep, StepReport

FUSED = frozenset({"fused"})
EMBEDDINGS = (Want("image", "embedding"), Want("text", "embedding"))
TEMPERATURE = Want("contrast", "temperature")
MATCH, LABELS = Want("fused", "logits"), Want("fused", "labels")
TASKS: dict[str, Any] = {
    "itc": {"weight": 1.0},
    "itm": {"weight": 0.5},
    "lm": {"weight": 2.0},
    "vqa": {"weight": 3.0},
}


@pytest.fixture
def batch(train_split: EncodedSplit) -> Batch:
    images = np.arange(8)
    return train_split.batch({"picture": images, "caption": images * 4, "question": images * 4}, CPU)


def make(teacher: Teacher, losses: dict[str, Any] = TASKS, **config: Any) -> DistillationStep:
    training = candidate_config()["training"] | config.pop("training", {})
    fields = candidate_config() | {"losses": losses, "training": training} | config
    return build_step(fields, teacher, seed=0)[0]


def run(step: DistillationStep, batch: Batch, teacher: Teacher, seed: int = 0, **options: Any) -> StepReport:
    given = teacher.signals(batch, step.source_wants)
    report: StepReport = step(replace(batch, seed=seed), given, **options)
    return report


def test_total_is_the_weighted_sum_of_what_is_reported(teacher: Teacher, batch: Batch) -> None:
    report = run(make(teacher), batch, teacher)
    assert set(report.losses) == set(TASKS)
    expected = sum(TASKS[name]["weight"] * float(value) for name, value in report.losses.items())
    assert float(report.total.detach()) == pytest.approx(expected)
    assert report.total.requires_grad
    assert not any(value.requires_grad for value in report.losses.values())


@pytest.mark.parametrize(
    ("losses", "passes"),
    [
        ({"image_embedding": {}}, {"image"}),
        ({"text_embedding": {}}, {"text"}),
        ({"itc": {}}, {"image", "text"}),
        ({"lm": {}}, {"image", "decoder"}),
        ({"vqa": {}}, {"image", "answer"}),
        ({"itm": {}}, {"image", "fused"}),
        ({"fused_hidden": {}}, {"image", "fused"}),
    ],
    ids=lambda names: "+".join(sorted(names)),
)
def test_only_passes_that_a_loss_needs_are_run(
    teacher: Teacher, batch: Batch, losses: dict[str, Any], passes: set[str]
) -> None:
    step = make(teacher, losses)
    with watched_passes(step.student, batch) as ran:
        run(step, batch, teacher)
    assert sorted(ran) == sorted(passes), "each of them once"


def test_source_wants_are_those_of_the_losses_and_of_the_negatives(teacher: Teacher) -> None:
    similarities = {*EMBEDDINGS, TEMPERATURE}
    assert make(teacher, {"lm": {}}).source_wants == frozenset()
    assert make(teacher, {"image_embedding": {}}).source_wants == {Want("image", "embedding")}
    assert make(teacher, {"itm": {}}).source_wants == similarities
    student = {"itm_negatives": "student"}
    assert make(teacher, {"itm": {}}, training=student).source_wants == frozenset()
    assert make(teacher, {"itc": {}}).source_wants == frozenset()
    assert make(teacher, {"itc_logit": {}}).source_wants == similarities


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
    said = model(batch, frozenset(EMBEDDINGS))
    image, text = (said[want] for want in EMBEDDINGS)
    expected = image @ text.T / model.temperature
    torch.testing.assert_close(seen[0], expected.detach())
    assert not seen[0].requires_grad


def test_fused_signals_hold_the_pairs_first_and_then_negatives(
    teacher: Teacher, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = make(teacher, {"itm": {}})
    kept: list[Signals] = []
    loss = step.losses["itm"]
    original = loss.compute
    monkeypatch.setattr(
        loss, "compute", lambda student, *rest: kept.append(student) or original(student, *rest)
    )
    run(step, batch, teacher)
    assert kept[0][LABELS].tolist() == [1] * 8 + [0] * 16
    alone = step.student(batch, frozenset({MATCH}))
    torch.testing.assert_close(kept[0][MATCH][:8], alone[MATCH])


def test_a_step_without_the_fused_pass_leaves_its_losses_out(teacher: Teacher, batch: Batch) -> None:
    report = run(make(teacher), batch, teacher, skipped=FUSED)
    assert set(report.losses) == {"itc", "lm", "vqa"}
    assert set(run(make(teacher, {"itm": {}}), batch, teacher, skipped=FUSED).losses) == {"itm"}, (
        "nothing else is left"
    )


def test_negatives_follow_the_seed_of_the_batch(teacher: Teacher, batch: Batch) -> None:
    step = make(teacher, {"itm": {}})
    values = [float(run(step, batch, teacher, seed=seed).losses["itm"]) for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_a_blind_student_learns_from_no_picture(teacher: Teacher, batch: Batch) -> None:
    step = make(teacher, {"lm": {}}, blind=True)
    before = run(step, batch, teacher).losses["lm"]
    batch.fields["picture.pixels"] = batch["picture.pixels"].flip(0)
    assert torch.equal(run(step, batch, teacher).losses["lm"], before)
    seeing = make(teacher, {"lm": {}})
    assert not torch.equal(run(seeing, batch, teacher).losses["lm"], before)


def test_losses_of_a_pass_that_is_not_run_ask_for_nothing(teacher: Teacher, batch: Batch) -> None:
    step = make(teacher)
    with watched_passes(step.student, batch) as ran:
        run(step, batch, teacher, skipped=FUSED)
    assert sorted(ran) == ["answer", "decoder", "image", "text"]
    with watched_passes(step.student, batch) as ran:
        run(step, batch, teacher, skipped=frozenset({"decoder", "answer", "fused"}))
    assert sorted(ran) == ["image", "text"]


def test_a_question_that_is_not_asked_gives_nothing_to_predict(
    teacher: Teacher, train_split: EncodedSplit
) -> None:
    step, pictures = make(teacher, {"vqa": {}, "answer_logit": {}}), np.arange(4)
    asked, some = np.array([0, 4, 8, 12]), np.array([0, -1, 8, -1])

    def losses(pictures: np.ndarray, questions: np.ndarray) -> dict[str, float]:
        batch = train_split.batch({"picture": pictures, "question": questions}, CPU)
        return {name: float(value) for name, value in run(step, batch, teacher).losses.items()}

    only = losses(pictures[[0, 2]], asked[[0, 2]])
    assert losses(pictures, some) == pytest.approx(only, rel=1e-5)
    assert losses(pictures, asked) != pytest.approx(only, rel=1e-5)
    assert losses(pictures, np.full(4, -1)) == {"vqa": 0.0, "answer_logit": 0.0}
