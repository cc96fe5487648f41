"""What is ours of a machine: the least of cores, affinity, quota and job. The control groups are files made here."""

import os
from pathlib import Path

import pytest
import torch

from trainables import share

GIB = 2**30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put control groups of our own, without bounds, in the place of the machine's, which has 16 cores and 8 GiB free."""
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(share, "CGROUPS", tmp_path)
    monkeypatch.setattr(share, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(share, "MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {8 * GIB // 1024} kB\n")
    (tmp_path / "own").write_text("0::/\n")
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_without_bounds_the_whole_machine_is_ours(groups: Path) -> None:
    put(groups / "cpu.max", "max 100000")
    assert share.core_share() == (16, "")
    assert share.free_memory() == (8 * GIB, "free on this machine")


def test_an_affinity_bounds_the_cores(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert share.core_share() == (1, "CPU affinity")


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("400000 100000", 4), ("150000 100000", 1), ("50000 100000", 1), ("1600000 100000", 16)],
)
def test_a_quota_of_version_2_bounds_the_cores(quota: str, cores: int, groups: Path) -> None:
    put(groups / "cpu.max", quota)
    assert share.usable_cores() == cores


def test_the_least_of_all_groups_around_a_process_counts(groups: Path) -> None:
    put(groups / "own", "0::/jobs/ours")
    put(groups / "cpu.max", "800000 100000")
    put(groups / "jobs" / "cpu.max", "300000 100000")
    put(groups / "jobs" / "ours" / "cpu.max", "max 100000")
    assert share.core_share() == (3, "CPU quota of the container")


def test_a_quota_of_version_1_bounds_the_cores_though_the_outer_path_is_not_seen(groups: Path) -> None:
    put(groups / "own", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/")
    put(groups / "cpu,cpuacct" / "cpu.cfs_quota_us", "200000")
    put(groups / "cpu,cpuacct" / "cpu.cfs_period_us", "100000")
    assert share.usable_cores() == 2
    put(groups / "cpu,cpuacct" / "cpu.cfs_quota_us", "-1")
    assert share.usable_cores() == 16


@pytest.mark.parametrize(
    ("told", "cores"),
    [
        ({"SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "8"}, 4),
        ({"SLURM_CPUS_ON_NODE": "8"}, 8),
        ({"SLURM_CPUS_PER_TASK": "64"}, 16),
        ({"SLURM_CPUS_PER_TASK": "junk"}, 16),
    ],
)
def test_a_job_bounds_the_cores(
    told: dict[str, str], cores: int, groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert share.usable_cores() == cores


def test_a_container_bounds_the_memory_and_its_unused_pages_count_as_free(groups: Path) -> None:
    put(groups / "memory.max", str(4 * GIB))
    put(groups / "memory.current", str(3 * GIB))
    put(groups / "memory.stat", f"anon {GIB}\ninactive_file {GIB}")
    assert share.free_memory() == (2 * GIB, "free of the 4.0 GiB of this container")


def test_version_1_says_a_huge_number_where_memory_has_no_bound(groups: Path) -> None:
    put(groups / "own", "5:memory:/")
    put(groups / "memory" / "memory.limit_in_bytes", str(2**63 - 4096))
    put(groups / "memory" / "memory.usage_in_bytes", str(GIB))
    assert share.free_memory() == (8 * GIB, "free on this machine")


def test_torch_uses_no_more_than_that_meanwhile(groups: Path) -> None:
    before = torch.get_num_threads()
    put(groups / "cpu.max", "100000 100000")
    with share.within_share():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
