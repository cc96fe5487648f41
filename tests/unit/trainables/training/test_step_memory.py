"""What a training takes of a GPU: a try of it leaves nothing behind, and is measured on a device alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from spaces.errors import ResourceError
from tests.unit.trainables.small import make_job
from trainables.training import step_memory
from trainables.training.control import PlainControl
from trainables.training.job import Job
from trainables.training.loop import TrialLoop
from trainables.training.memory import limit_memory
from trainables.training.step_memory import measure_step

MIB = 2**20


def test_a_try_holds_the_optimisers_moments_and_writes_nothing(teacher_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    loop = TrialLoop(make_job(teacher_folder, folder), PlainControl(quiet=True))
    loop.try_out()
    held = [state["exp_avg"].numel() for state in loop.trainer.optimizer.state.values()]
    assert sum(held) == sum(one.numel() for one in loop.trainer.step.parameters())
    assert not folder.exists() or not any(folder.iterdir())


def test_a_node_without_a_gpu_is_told(
    teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match=r"no GPU on this node.*--set resources\.gpus_per_worker=0"):
        measure_step(make_job(teacher_folder, tmp_path).to_dict())
    limit_memory(0.5)  # nothing to be limited


def test_the_device_is_read_after_the_try(
    teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device of 1,000 MiB with 600 free, of which PyTorch has 250, and had 300 at most: 150 are CUDA's own."""
    found = {
        "is_available": lambda: True,
        "reset_peak_memory_stats": lambda device: None,
        "mem_get_info": lambda device: (600 * MIB, 1000 * MIB),
        "memory_reserved": lambda device: 250 * MIB,
        "max_memory_reserved": lambda device: 300 * MIB,
        "get_device_name": lambda device: "toy",
        "empty_cache": lambda: None,
    }
    for name, stand_in in found.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    order, tried = make_job(teacher_folder, tmp_path).to_dict(), list[str]()

    def trial(job: Job, control: PlainControl) -> Any:
        trainer = SimpleNamespace(micro_batches=4)
        return SimpleNamespace(trainer=trainer, try_out=lambda: tried.append(job.candidate_id))

    monkeypatch.setattr(step_memory, "TrialLoop", trial)
    told = measure_step(order)
    assert (told.total, told.outside, told.peak) == (1000 * MIB, 150 * MIB, 300 * MIB)
    assert (told.needed, told.micro_batches) == (450 * MIB, 4)
    assert tried == [told.candidate_id]

    def full(job: object, control: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(step_memory, "TrialLoop", full)
    assert measure_step(order).micro_batches == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_is_measured_on_a_gpu(teacher_folder: Path, tmp_path: Path) -> None:
    job = make_job(teacher_folder, tmp_path)
    small, large = (
        measure_step({**job.to_dict(), "device": "cuda", "config": config})
        for config in (
            job.config,
            {**job.config, "training": {**job.config["training"], "batch_size": 64}},
        )
    )
    assert 0 < small.peak <= large.peak < small.total
    assert small.outside < small.total / 2
    limit_memory(0.01)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(small.total // 20, dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
