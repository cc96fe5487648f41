"""Which part of a machine is ours: cores and memory that an affinity, a container or a SLURM job leaves to this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
MEMORY = Path("/proc/meminfo")
UNLIMITED = 2**60  # cgroup v1 says a number near 2**63 where there is no limit


def usable_cores() -> int:
    """Return how many cores this process may use, which in a container or a job is fewer than the machine has."""
    return core_share()[0]


def core_share() -> tuple[int, str]:
    """Return how many cores this process may use, and what leaves it no more; "" where it may use them all."""
    bounds = [(os.cpu_count() or 1, "")]
    if hasattr(os, "sched_getaffinity"):
        bounds.append((len(os.sched_getaffinity(0)), "CPU affinity"))
    if (quota := cpu_quota()) is not None:
        bounds.append((max(1, int(quota)), "CPU quota of the container"))
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        told = os.environ.get(name, "")
        if told.isdecimal() and int(told) > 0:
            bounds.append((int(told), name))
            break
    return min(bounds, key=lambda bound: bound[0])


def cpu_quota() -> float | None:
    """Return the cores that control groups grant, None where they set no bound."""
    found = []
    for folder in _folders("cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            found.append(int(quota) / int(period))
    return min(found, default=None)


def free_memory() -> tuple[int, str] | None:
    """Return the bytes of memory that this process may still take, and what leaves it no more; None if nobody says so."""
    bounds = []
    for line in _read(MEMORY).splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            bounds.append((int(rest.split()[0]) * 1024, "free on this machine"))
    for folder in _folders("memory"):
        limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        used = _read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes")
        if limit.isdecimal() and used.isdecimal() and int(limit) < UNLIMITED:
            whole = int(limit) / 2**30
            free = int(limit) - int(used) + _page_cache(folder)
            bounds.append((max(0, free), f"free of the {whole:.1f} GiB of this container"))
    return min(bounds, default=None)


@contextmanager
def within_share() -> Iterator[None]:
    """Let torch use what is ours of the machine for a while, and no more."""
    import torch  # slow, and asked for what is above without it, too

    threads = torch.get_num_threads()
    torch.set_num_threads(min(threads, usable_cores()))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch work in one thread for a while: what it computes then does not depend on how many there might be."""
    import torch  # as above

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _page_cache(folder: Path) -> int:
    """Return the bytes of a control group that are file pages which nobody uses: they count as used, but are given back."""
    for line in _read(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and value.isdecimal():
            return int(value)
    return 0


def _folders(controller: str) -> Iterator[Path]:
    """Yield the control groups of this process from the inside out, of version 2 and of version 1."""
    for line in _read(OWN_CGROUPS).splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            roots = [CGROUPS, CGROUPS / "unified"]
        elif controller in names.split(","):
            roots = [CGROUPS / names, CGROUPS / controller]
        else:
            continue
        inner = Path(
            path.lstrip("/")
        )  # a container may not see the outer part of it: what is missing has no bound
        for root in roots:
            yield from (root / part for part in (inner, *inner.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
