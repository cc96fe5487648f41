"""Which machine a figure was measured on."""

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch

from trainables.share import usable_cores

CPUINFO = Path("/proc/cpuinfo")
GIB = 2**30


def hardware() -> dict[str, Any]:
    """Return CPU model, usable cores, memory, GPU names, and the versions that decide speed. JSON-able."""
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_gib": round(_memory_bytes() / GIB, 1),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


@cache
def cpu_model() -> str:
    """Return the CPU's name as the system tells it."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def device_name(device: torch.device) -> str:
    """Return the name of the GPU or CPU behind a torch device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()
