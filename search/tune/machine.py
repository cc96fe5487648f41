"""What this machine must have for a Ray of our own, looked at before anything is prepared. Needs no Ray."""

import os
import secrets
import shutil
import sys
from glob import glob
from pathlib import Path

from analysis.wording import plural
from spaces.console import leave_unbound
from spaces.errors import ResourceError
from spaces.schema import Space
from trainables.share import core_share, free_memory

SOCKETS = (
    "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store_10"  # the longest that Ray makes
)
PIPES = "/pymp-00000000/listener-00000000"  # of Python's multiprocessing
SOCKET_BYTES = 107  # of the path of a Unix socket, on Linux
LEAST_DISK = 100 * 2**20  # Ray's logs of a short search take a tenth of it
SHORT = "/tmp"
GPU_FILES = "/dev/nvidia[0-9]*"
GIB = 2**30
LEAST_MEMORY = 1.0 * GIB  # with less, Ray's own processes leave nothing for a trial
RAY_MEMORY, TRIAL_MEMORY = (
    0.8 * GIB,
    0.6 * GIB,
)  # measured: proportional set sizes of a search of two trials at a time


def check_machine(*, workers: int, cpus: int, gpus: float | None) -> list[str]:
    """Refuse what this machine cannot hold, before anything is prepared or started; return what the user is told of it.

    Raises:
        ResourceError: too few cores, GPUs or memory, or no place for Ray's files.
    """
    unbound = leave_unbound()  # before torch is imported; a command has done it already
    cores, why = core_share()
    where = f"this process ({why})" if why else "this machine"
    check_fit(workers, cpus, gpus or 0.0, num_cpus=cores, num_gpus=_num_gpus(gpus), where=where)
    lines = [unbound] if unbound else []
    if gpus is None:
        lines += _unused_gpus()
    if elsewhere := os.environ.get("RAY_ADDRESS"):  # other programs of Ray would join that one
        lines.append(
            f"RAY_ADDRESS={elsewhere} is set, but no --address: trials run on this machine alone; --address auto joins it"
        )
    if why and cores < (os.cpu_count() or 1):
        lines.append(f"uses {cores} of the {os.cpu_count()} cores of this machine: {why}")
    _, moved = temporary_folder()
    _, token = cluster_secret()
    return [*lines, *_memory(cores // (workers * cpus)), *filter(None, (moved, token))]


def check_compiled(space: Space, gpus: float | None = None) -> None:
    """Refuse to compile layers for GPUs where trials have none.

    Args:
        space: of the search.
        gpus: of a trial; None asks for those of this machine.

    Raises:
        ResourceError: says so.
    """
    if space.resources.compiled and not (_num_gpus(1.0) if gpus is None else gpus):
        raise ResourceError(
            f"{space.place('resources.compiled')}: got true, and trials here have no GPU; allowed: false. Delete it, or add "
            "--set resources.compiled=false."
        )


def ray_runs_here() -> bool:
    """Return whether a Ray runs in this process already; it may have more nodes than this machine, or be no local one."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(getattr(ray, "is_initialized", bool)())


def check_fit(workers: int, cpus: int, gpus: float, *, num_cpus: float, num_gpus: float, where: str) -> None:
    """Refuse a trial that does not fit.

    Raises:
        ResourceError: says of what there is too little.
    """
    for name, need, got in (("CPU", workers * cpus, num_cpus), ("GPU", workers * gpus, num_gpus)):
        if need > got:
            raise ResourceError(
                f"resources: one trial needs {need:g} {name}{'' if need == 1 else 's'} ({plural(workers, 'worker')} of "
                f"{need / workers:g}), {where} has "
                f"{got:g}. Lower resources.workers_per_trial or resources.{name.lower()}s_per_worker, or add nodes."
            )


def temporary_folder() -> tuple[dict[str, str], str]:
    """Return what a Ray of our own is to find in its environment on where its files lie, and a line if that is unusual.

    Raises:
        ResourceError: it cannot be written there, or nearly nothing is free.
    """
    name = next((one for one in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(one)), "")
    root = os.path.abspath(os.environ.get(name) or SHORT)  # Ray takes no relative one
    told, size = f"{name}={os.environ[name]}" if name else root, len(os.fsencode(root))
    longest = SOCKET_BYTES - len(SOCKETS)
    if size > longest:
        _check_folder(
            SHORT,
            f"{told} is too long for Ray's sockets ({size} bytes, at most {longest}), and {SHORT}",
            name,
        )
        return {"RAY_TMPDIR": SHORT, "TMPDIR": SHORT}, (
            f"{told}: {size} bytes are too long a path for Ray's sockets (at most {longest}); Ray's files lie in {SHORT}. To "
            "have them elsewhere, set RAY_TMPDIR to a shorter one."
        )
    _check_folder(root, told, name)
    found = {"RAY_TMPDIR": root}
    if len(os.fsencode(os.environ.get("TMPDIR", ""))) > SOCKET_BYTES - len(
        PIPES
    ):  # Ray's dashboard has sockets there, too
        found["TMPDIR"] = root
    return found, ""


def _check_folder(root: str, told: str, name: str) -> None:
    """Refuse a folder in which Ray cannot keep its sockets and logs."""
    remedy = f"Set {name or 'TMPDIR'} to a folder that you may write" + (", or unset it." if name else ".")
    for folder in (root, f"{root}/ray"):
        if folder == root and not os.path.isdir(folder):
            what = "is no folder" if os.path.exists(folder) else "no such folder"
            raise ResourceError(f"{told}: {what}; Ray keeps its sockets and logs there. {remedy}")
        if os.path.exists(folder) and not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
            raise ResourceError(
                f"{told}: {folder} cannot be written; Ray keeps its sockets and logs there. {remedy}"
            )
    free = shutil.disk_usage(root).free
    if free < LEAST_DISK:
        raise ResourceError(
            f"{told}: {free / 2**20:.0f} MiB are free; Ray's sockets and logs need {LEAST_DISK / 2**20:.0f} MiB there. Free "
            f"disk space. {remedy}"
        )


def cluster_secret() -> tuple[str, str]:
    """Return a token for a Ray of our own, "" where Ray keeps one by itself, and a line if that is unusual.

    Ray (2.60) keeps it in the user's home, and does not start where that cannot be written.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "token").lower()
    if mode != "token" or os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return "", ""
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and nobody of this number
        home = Path("/")
    kept = home / ".ray" / "auth_token"
    if os.access(kept, os.R_OK):
        return "", ""
    nearest = next((one for one in (kept.parent, home) if one.exists()), None)
    if nearest is not None and nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return "", ""
    return secrets.token_hex(32), (
        f"HOME={home} cannot be written: the token of this Ray is not kept. To open its dashboard, set RAY_AUTH_TOKEN to a "
        "secret of your own."
    )


def _memory(slots: int) -> list[str]:
    """Return a warning where memory is short for so many trials at a time.

    Raises:
        ResourceError: not even one trial would fit.
    """
    found = free_memory()
    if found is None:
        return []
    free, whence = found
    have, slots = f"{free / GIB:.1f} GiB {whence}", max(1, slots)
    if free < LEAST_MEMORY:
        raise ResourceError(
            f"memory: {have}; Ray and one small trial need {LEAST_MEMORY / GIB:.1f} GiB. End other programs, ask for more, "
            "or join a cluster with --address."
        )
    if free < RAY_MEMORY + slots * TRIAL_MEMORY:
        return [
            f"memory may run short: {have}; Ray and {slots} small trials at a time need about "
            f"{(RAY_MEMORY + slots * TRIAL_MEMORY) / GIB:.1f} GiB, and Ray ends trials when it runs out. Ask for more, or use "
            "fewer cores (taskset)."
        ]
    return []


def _num_gpus(wanted: float | None) -> int:
    """Return how many GPUs this machine has for us; not counted where none is wanted."""
    return usable_gpus() if wanted else 0


def usable_gpus() -> int:
    """Return how many GPUs torch can use here; NVML, which Ray asks, may count others, or none."""
    import torch  # slow, and needed only here

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _unused_gpus() -> list[str]:
    """Return a line where this machine has GPUs, and trials will run on its CPUs all the same."""
    if not glob(GPU_FILES) or usable_gpus():
        return []
    from trainables.training.device import why_no_cuda

    return [f"the GPUs of this machine are not used, trials run on its CPUs. {why_no_cuda()}"]
