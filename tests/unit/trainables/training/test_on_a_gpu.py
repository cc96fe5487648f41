"""What a training on a GPU has in common with one on a CPU: the same losses to bfloat16, and checkpoints that go either way."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.trainables.small import CPU, assert_near, candidate_config, encoded, make_job, silent
from trainables.export import Deployed, export_student, load
from trainables.teachers.cache.fill import Filling, fill_cache
from trainables.teachers.cache.plan import Kept, passes_on
from trainables.teachers.cache.read import TeacherCache
from trainables.teachers.teacher import Teacher
from trainables.training import checkpoint
from trainables.training.build import build_step
from trainables.training.compiling import compile_models
from trainables.training.config import TrainingConfig
from trainables.training.control import PlainControl, Row
from trainables.training.device import pick_device
from trainables.training.loop import train
from trainables.training.trainer import Placement, Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ROUNDING = 2**-8  # of bfloat16, relative
LOSSES = (
    "itc", "itm", "lm", "vqa", "image_embedding", "text_embedding", "lm_logit", "answer_logit",
    "image_hidden", "text_hidden", "fused_hidden", "decoder_hidden", "text_attention", "cross_attention",
)  # fmt: skip


class Enough(Exception):
    """The first epoch is over."""


class Stopping(PlainControl):
    """Ends a training after its first epoch."""

    def report(self, row: Row) -> None:
        """End it."""
        raise Enough


@pytest.fixture
def cuda(teacher: Teacher) -> Iterator[torch.device]:
    """A GPU, with the precision that a trial sets; the teacher is on the CPU again afterwards."""
    yield pick_device("cuda")
    teacher.to(CPU)


def trainer_on(device: torch.device, teacher: Teacher, source: Any = None, **training: Any) -> Trainer:
    teacher.to(device)
    config = candidate_config() | {"losses": {name: {"weight": 1.0} for name in LOSSES}}
    step, _ = build_step(config, teacher, seed=0)
    split = encoded(teacher, "train")
    options: dict[str, Any] = {"epochs": 2, "pairs_per_epoch": 24, "batch_size": 8, "lr": 1e-4}
    placement = Placement(device=device)
    return Trainer(
        step.to(device), split, source or teacher, TrainingConfig(**options | training), seed=1, placement=placement
    )  # fmt: skip


def test_losses_in_autocast_are_those_of_a_cpu_to_bfloat16(teacher: Teacher, cuda: torch.device) -> None:
    """Hard negatives are drawn by another generator there, so that the fused pass is left out."""
    found = []
    for device in (CPU, cuda):
        trainer = trainer_on(device, teacher, fused_from=1.0)
        found.append(trainer.run_epoch(0))
    on_cpu, on_gpu = found
    assert on_cpu.keys() == on_gpu.keys()
    for name, value in on_cpu.items():
        assert on_gpu[name] == pytest.approx(value, rel=16 * ROUNDING, abs=16 * ROUNDING), name


def test_a_step_waits_for_the_gpu_once(teacher: Teacher, cuda: torch.device) -> None:
    trainer = trainer_on(cuda, teacher)
    trainer.run_epoch(0)  # what is made at the first step
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            trainer.run_epoch(1)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [one for one in seen if "synchronizing CUDA operation" in str(one.message)]
    assert len(waits) <= trainer.sampler.num_batches + 1, [f"{one.filename}:{one.lineno}" for one in waits]


def test_what_does_not_fit_is_taken_in_parts(teacher: Teacher, cuda: torch.device) -> None:
    """The limit lies between what a whole batch and half of one need; losses without hard negatives can be taken in parts."""
    config = candidate_config()
    config["losses"] = {name: {"weight": 1.0} for name in ("itc", "lm", "image_embedding", "text_embedding")}
    for side in ("image", "text"):
        config["student"][side].update(width=256, depth=4, heads=4)
    config["student"]["fusion"]["layers"] = 1
    split, total = (
        encoded(teacher, "train", train_images=600),
        torch.cuda.get_device_properties(0).total_memory,
    )

    def run(share: float) -> Trainer:
        teacher.to(cuda)
        step, _ = build_step(config, teacher, seed=0)
        options = TrainingConfig(epochs=1, pairs_per_epoch=512, batch_size=512, lr=1e-4)
        trainer = Trainer(step.to(cuda), split, teacher, options, seed=1, placement=Placement(device=cuda))
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction(share)
        try:
            trainer.told = trainer.run_epoch(0)  # type: ignore[attr-defined]
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return trainer

    whole = run(1.0)
    assert whole.micro_batches == 1
    most = torch.cuda.max_memory_reserved()
    expected = whole.told  # type: ignore[attr-defined]
    del whole
    torch.cuda.empty_cache()
    parts = run(0.7 * most / total)
    assert parts.micro_batches > 1
    for name, value in expected.items():
        assert parts.told[name] == pytest.approx(value, rel=8 * ROUNDING), name  # type: ignore[attr-defined]


@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_training_goes_on_on_another_device(
    teacher_folder: Path, tmp_path: Path, first: str, then: str
) -> None:
    job, control = make_job(teacher_folder, tmp_path / "trial", device=first), PlainControl(quiet=True)
    with pytest.raises(Enough):
        train(job, Stopping(quiet=True))
    saved = checkpoint.load(tmp_path / "trial")
    assert saved is not None
    assert all(one.device == CPU for one in saved["trainer"]["step"].values()), "opens where no GPU is"
    train(make_job(teacher_folder, tmp_path / "trial", device=then), control)
    assert [row["epoch"] for row in control.rows] == [1, 2, 3]
    assert control.rows[-1]["status"] == "finished"


def test_a_student_trained_there_is_exported_and_loads_on_a_cpu(
    teacher: Teacher, teacher_folder: Path, tmp_path: Path
) -> None:
    train(make_job(teacher_folder, tmp_path / "trial", device="cuda"), PlainControl(quiet=True))
    model, blueprint = checkpoint.load_model(tmp_path / "trial")
    deployed = Deployed(blueprint=blueprint)
    export_student(model, teacher, deployed=deployed, measured={}, out=tmp_path / "student", card="")
    weights = load(tmp_path / "student").model.state_dict()
    for name, value in model.state_dict().items():
        assert weights[name].device == CPU
        assert torch.equal(weights[name], value), name


def test_a_cache_filled_there_is_that_of_a_cpu_to_bfloat16(
    teacher: Teacher, cuda: torch.device, tmp_path: Path
) -> None:
    step, _ = build_step(
        candidate_config() | {"losses": {name: {"weight": 1.0} for name in LOSSES}}, teacher, seed=0
    )
    split, found = encoded(teacher, "train"), []
    rows = next(iter(trainer_on(CPU, teacher).sampler.epoch(0)))
    for device in (CPU, cuda):
        folder = tmp_path / device.type
        kept = Kept(precision="float32", passes=passes_on(device))
        fill_cache(folder, teacher, split, step.source_wants, kept, Filling(say=silent, device=device))
        found.append(TeacherCache(folder, teacher.offers).signals(split.batch(rows, CPU), step.source_wants))
    for want, value in found[0].items():
        apart = (found[1][want] - value).norm() / value.norm()
        assert apart <= 8 * ROUNDING, want


def test_the_cache_says_on_a_gpu_what_it_says_on_a_cpu(
    teacher: Teacher, cuda: torch.device, tmp_path: Path
) -> None:
    step, _ = build_step(candidate_config(), teacher, seed=0)
    split = encoded(teacher, "train")
    fill_cache(
        tmp_path, teacher, split, step.source_wants, Kept(precision="float16", top_k=4), Filling(say=silent)
    )
    cache = TeacherCache(tmp_path, teacher.offers)
    for rows in trainer_on(CPU, teacher).sampler.epoch(0):
        here, there = (cache.signals(split.batch(rows, device), step.source_wants) for device in (CPU, cuda))
        for want, value in here.items():
            assert torch.equal(there[want].cpu(), value), want
        here, there = (split.batch(rows, device)["picture.pixels"] for device in (CPU, cuda))
        assert_near(there.cpu(), here, steps=4)  # a GPU divides in its own way


def test_compiled_layers_train_as_plain_ones_to_bfloat16(teacher: Teacher, cuda: torch.device) -> None:
    found = []
    for compiled in (False, True):
        trainer = trainer_on(cuda, teacher)
        if compiled:
            compile_models([trainer.step.student])
        found.append(trainer.run_epoch(0))
    for name, value in found[0].items():
        assert found[1][name] == pytest.approx(value, rel=16 * ROUNDING, abs=16 * ROUNDING), name
