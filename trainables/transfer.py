"""From the host to a device: a GPU takes a copy from pinned memory, and the host goes on meanwhile."""

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Return values on a device.

    A plain copy from pageable memory makes the host wait until the GPU has done all that it was given before: some twenty times
    a step, it stood still between two kernels.

    Args:
        values: on the host, not written to afterwards.
        device: where they are to be.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
