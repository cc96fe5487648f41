"""From the host to a device: a GPU takes a copy from pinned memory, and the host goes on meanwhile."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Return values on a device.

    A plain copy from pageable memory makes the host wait until the GPU has done all that it was given before: some twenty times
    a step, it stood still between two kernels.

    Args:
        values: on the host, not written to afterwards; of `room_for`, they are not copied there once more.
        device: where they are to be.
    """
    if device.type != "cuda":
        return values.to(device)
    pinned = values if values.is_pinned() else values.pin_memory()
    return pinned.to(device, non_blocking=True)


def room_for(shape: Sequence[int], dtype: Any, device: torch.device) -> tuple[Tensor, np.ndarray]:
    """Return a tensor on the host for `to_device`, and the same as an array to be filled; pinned where the device is a GPU.

    Args:
        shape: of both; their values are any.
        dtype: of the array; one that torch has, too.
        device: where the tensor is to go.
    """
    if device.type != "cuda":
        room = np.empty(shape, dtype=dtype)
        return torch.from_numpy(room), room
    pinned = torch.empty(
        tuple(shape), dtype=torch.from_numpy(np.empty(0, dtype=dtype)).dtype, pin_memory=True
    )
    return pinned, pinned.numpy()
