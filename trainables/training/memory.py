"""How much memory a training takes at its peak, and that it keeps what it will take again in the next step."""

import ctypes
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

MIB = 2**20
STATUS, RESET = Path("/proc/self/status"), "/proc/self/clear_refs"
PEAK = "VmHWM:"  # of resident memory, in KiB
TRIM, TOP, MAPPED = -1, -2, -3  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD of glibc's malloc.h
KEPT = {MAPPED: 32 * MIB, TRIM: 256 * MIB, TOP: 64 * MIB}
"""Blocks up to 32 MiB, the most that glibc allows, come from memory that stays with the process, which gives back what is free
beyond 256 MiB. 64 MiB is one of its heaps, so that threads, too, keep theirs."""


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, as a step takes as much as the one before.

    By default glibc returns large blocks at once, and the kernel clears each page anew: some 500 a step of a small student,
    3 % of its time. Another C library has no `mallopt`, and goes on as it does.
    """
    tell = _of_glibc("mallopt")
    if tell is None:
        return
    for what, size in KEPT.items():
        tell(what, size)


def _of_glibc(name: str) -> Callable[..., Any] | None:
    """Return a function of the C library, None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None)


class PeakMemory:
    """Measures from where it is made.

    On a GPU it is what PyTorch has allocated there for this process. On a CPU it is the resident memory of the whole process:
    PyTorch itself (some 250 MiB), teacher and mapped data included. Linux forgets the peaks of trials before, which the same
    process may have run; elsewhere the peak is that of the process so far.
    """

    def __init__(self, device: torch.device) -> None:
        """Begin to measure on a device."""
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _forget_peak()

    def mib(self) -> float:
        """Return the peak so far."""
        if self._device.type == "cuda":
            return float(torch.cuda.max_memory_allocated(self._device)) / MIB
        return _resident_peak()


def limit_memory(share: float) -> None:
    """Let PyTorch take a share of the memory of this process's GPU, and no more: what does not fit is then taken in parts."""
    if share < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


def _forget_peak() -> None:
    """Let the kernel count the peak of this process anew; a system that cannot goes on with the old one.

    What trials before have left free is given back, or it would count as memory of this one.
    """
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)
    with suppress(OSError):
        switch = os.open(RESET, os.O_WRONLY)
        try:
            os.write(switch, b"5")  # man 5 proc: resets the peak resident set size
        finally:
            os.close(switch)


def _resident_peak() -> float:
    with suppress(OSError, ValueError, IndexError):
        for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(PEAK):
                return int(line.split()[1]) * 1024 / MIB
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / MIB if sys.platform == "darwin" else used * 1024 / MIB
