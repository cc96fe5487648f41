"""What a candidate's training takes of a GPU at its peak, measured where it is to be trained."""

import gc
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch

from spaces.errors import ResourceError
from trainables.datasets.cache_folder import stored_in
from trainables.training.control import PlainControl
from trainables.training.device import NO_CUDA_REMEDY, why_no_cuda
from trainables.training.health import Collapsed, Diverged
from trainables.training.job import Job
from trainables.training.loop import TrialLoop


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """What one process takes of a device, in bytes.

    Attributes:
        candidate_id: whose training it was.
        device: its name.
        total: of the device.
        outside: what else was in use there: CUDA's own context, above all.
        peak: what PyTorch held at most, 0 where not even one example fits.
        micro_batches: parts in which a batch was taken, more than one where a whole one did not fit.
    """

    candidate_id: str
    device: str
    total: int
    outside: int
    peak: int
    micro_batches: int = 1

    @property
    def needed(self) -> int:
        """What one process takes in all."""
        return self.outside + self.peak

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        return asdict(self)


def measure_step(order: Mapping[str, Any]) -> StepMemory:
    """Return what a candidate takes of this process's GPU in two steps of its training and one evaluation.

    Two, since the optimiser holds its moments from the first one on. Nothing is written.

    Args:
        order: `Job.to_dict()`.

    Raises:
        ResourceError: there is no GPU.
        StudentSearchError: teacher or data cannot be used here.
    """
    job = Job.from_dict(order)
    if not torch.cuda.is_available():
        raise ResourceError(
            f"memory of a trial: no GPU on this node, though Ray gave one. {why_no_cuda()} {NO_CUDA_REMEDY}"
        )
    device = torch.device("cuda")
    gc.collect()
    torch.cuda.empty_cache()  # of a candidate before, in this process
    torch.cuda.reset_peak_memory_stats(device)
    micro_batches = 1
    with stored_in(job.storage), suppress(Diverged, Collapsed):
        try:
            loop = TrialLoop(job, PlainControl(quiet=True))
            loop.try_out()
            micro_batches = loop.trainer.micro_batches
        except torch.OutOfMemoryError:
            return _read(job, device, micro_batches=0)
    return _read(job, device, micro_batches=micro_batches)


def _read(job: Job, device: torch.device, *, micro_batches: int) -> StepMemory:
    free, total = torch.cuda.mem_get_info(device)
    found = StepMemory(
        candidate_id=job.candidate_id,
        device=torch.cuda.get_device_name(device),
        total=total,
        outside=max(total - free - torch.cuda.memory_reserved(device), 0),
        peak=torch.cuda.max_memory_reserved(device) if micro_batches else 0,
        micro_batches=micro_batches,
    )
    torch.cuda.empty_cache()  # this process may do other work
    return found
