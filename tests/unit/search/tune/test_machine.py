"""What this machine must have for a Ray of our own: each lack is told in one line, before anything is prepared."""

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from search.tune import machine
from search.tune.machine import check_machine, cluster_secret, temporary_folder
from spaces.errors import ResourceError

GIB = 2**30


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a short folder for Ray, on a machine with 4 of 8 cores for us and enough memory, in a plain environment."""
    for name in [
        name for name in os.environ if name.startswith(("RAY_", "OMP_", "GOMP_")) or name == "TMPDIR"
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(machine, "core_share", lambda: (4, "CPU quota of the container"))
    monkeypatch.setattr(machine, "free_memory", lambda: (64 * GIB, "free on this machine"))
    return tmp_path


def test_our_share_of_the_cores_is_told_and_bounds_a_trial(plain: Path) -> None:
    assert check_machine(workers=1, cpus=1, gpus=0) == [
        "uses 4 of the 8 cores of this machine: CPU quota of the container"
    ]
    with pytest.raises(
        ResourceError, match=r"one trial needs 6 CPUs .*, this process \(CPU quota of the container\) has 4"
    ):
        check_machine(workers=3, cpus=2, gpus=0)


def test_a_search_from_python_is_bound_to_no_core(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    line = "OMP_PROC_BIND=close would bind this process, and all that it starts, to one core: not used here"
    assert check_machine(workers=1, cpus=1, gpus=0)[0] == line
    assert os.environ["OMP_PROC_BIND"] == "false"


def test_gpus_that_torch_cannot_use_are_told(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(machine, "GPU_FILES", f"{tmp_path}/nvidia[0-9]*")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    line = check_machine(workers=1, cpus=1, gpus=None)[0]
    assert line.startswith("the GPUs of this machine are not used, trials run on its CPUs.")
    assert line.endswith("its driver is too old for CUDA 13.0.")
    assert line not in check_machine(workers=1, cpus=1, gpus=0)
    with pytest.raises(ResourceError, match=r"this process .* has 0"):
        check_machine(workers=1, cpus=1, gpus=1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert line not in check_machine(workers=1, cpus=1, gpus=None)


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_that_is_none_is_told_by_its_variable(
    name: str, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/no/such")
    with pytest.raises(
        ResourceError, match=f"^{name}=/no/such: no such folder; .* Set {name} to a folder .* or unset it"
    ):
        check_machine(workers=1, cpus=1, gpus=0)
    monkeypatch.setenv(name, os.devnull)
    with pytest.raises(ResourceError, match=f"^{name}={os.devnull}: is no folder"):
        check_machine(workers=1, cpus=1, gpus=0)


def test_a_folder_that_cannot_be_written_is_told(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != "/tmp")
    with pytest.raises(
        ResourceError, match=r"^/tmp: /tmp cannot be written; .* Set TMPDIR to a folder that you may write\."
    ):
        temporary_folder()


def test_a_full_disk_is_told_with_what_is_free(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3 * 2**20))
    with pytest.raises(
        ResourceError, match=r"^/tmp: 3 MiB are free; Ray's sockets and logs need 100 MiB there"
    ):
        temporary_folder()


def test_a_path_too_long_for_sockets_is_left_for_a_short_one_and_told(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = 107 - len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store_10")
    monkeypatch.setattr(machine, "_check_folder", lambda root, told, name: None)
    monkeypatch.setenv("TMPDIR", "/" + "t" * (longest - 1))
    assert temporary_folder() == ({"RAY_TMPDIR": "/" + "t" * (longest - 1)}, "")
    monkeypatch.setenv("TMPDIR", "/" + "t" * longest)
    places, line = temporary_folder()
    assert places == {"RAY_TMPDIR": "/tmp", "TMPDIR": "/tmp"}
    assert f"{longest + 1} bytes are too long a path for Ray's sockets (at most {longest})" in line


def test_a_relative_folder_is_made_absolute(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/tmp")
    monkeypatch.setenv("TMPDIR", ".")
    assert temporary_folder() == ({"RAY_TMPDIR": "/tmp"}, "")


def test_a_home_that_cannot_be_written_gives_a_token_that_is_not_kept(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cluster_secret() == ("", "")
    monkeypatch.setenv("HOME", "/dev/null/nowhere")
    token, line = cluster_secret()
    assert len(token) == 64
    assert line.startswith("HOME=/dev/null/nowhere cannot be written")
    for name, value in (
        ("RAY_AUTH_MODE", "disabled"),
        ("RAY_AUTH_TOKEN", "own"),
        ("RAY_AUTH_TOKEN_PATH", "/own"),
    ):
        with monkeypatch.context() as one:
            one.setenv(name, value)
            assert cluster_secret() == ("", "")


def test_memory_that_is_short_is_told_with_figures(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: (GIB // 2, "free of the 1.0 GiB of this container"))
    with pytest.raises(
        ResourceError, match=r"^memory: 0\.5 GiB free of the 1\.0 GiB of this container; .* need 1\.0 GiB"
    ):
        check_machine(workers=1, cpus=1, gpus=0)
    monkeypatch.setattr(machine, "free_memory", lambda: (2 * GIB, "free on this machine"))
    _, line = check_machine(workers=1, cpus=1, gpus=0)
    assert line.startswith(
        "memory may run short: 2.0 GiB free on this machine; Ray and 4 small trials at a time need about 3.2 GiB"
    )
    monkeypatch.setattr(machine, "free_memory", lambda: None)
    assert len(check_machine(workers=1, cpus=1, gpus=0)) == 1


def test_a_cluster_of_the_environment_that_is_not_asked_for_is_told(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    line, _ = check_machine(workers=1, cpus=1, gpus=0)
    assert line.startswith(
        "RAY_ADDRESS=10.0.0.1:6379 is set, but no --address: trials run on this machine alone"
    )
