"""Joining or starting Ray, and what its resources allow. Needs nothing of a cluster that plain `ray start` did not give."""

import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from search.tune.address import find_cluster, refusal
from search.tune.capacity import Resources, found_resources
from search.tune.code_for_nodes import project_root, runtime_env
from search.tune.machine import cluster_secret, temporary_folder, usable_gpus
from spaces.console import UNBOUND
from spaces.errors import ResourceError
from spaces.files import guarded
from spaces.interruption import kept_handlers, shielded
from trainables.share import usable_cores

OURS = ("RAY_", "TUNE_")  # what variables begin with that are left as they were found
SHARING = "RAY_EXPERIMENTAL_NOSET_"  # other programs of Ray let each process see all GPUs: trials would all take the first

DRIVER_SETTINGS = {
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",  # what nodes get from us may be in the environment of a submitted job, too
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the search owns Ctrl-C
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the recorder's tables are the truth; tensorboardX would import torch
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a traceback of Ray's own for each lost process; we tell it in a line
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",  # actors start side by side; how many are prepared, `Paced` says
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_worker_niceness": "0",  # Ray's own default of 15 starves trials on a shared machine
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


_joined: list[list[str]] = []  # what `connect` returned, as long as this process is part of a cluster


@contextmanager
def joined(address: str | None) -> Iterator[list[str]]:
    """Be part of a cluster for a while, see `connect`; Ray, its logger and the environment are left as they were found.

    A Ray that runs in this process already is used where no address is given, and goes on running. Inside a block, another one
    does nothing.
    """
    if _joined:
        yield _joined[-1]
        return
    found, owned = dict(os.environ), not ray.is_initialized()
    logger = logging.getLogger("ray")
    level = logger.level
    try:
        lines = connect(address)
        logger.setLevel(logging.ERROR)  # Tune misses files of its own, which the recorder replaces
        _joined.append(lines)
        yield lines
    finally:
        _joined.clear()
        with shielded():
            if owned:
                with kept_handlers():
                    ray.shutdown()
            logger.setLevel(level)
            for name in [name for name in os.environ if name.startswith(OURS) and name not in found]:
                del os.environ[name]
            os.environ.update({name: value for name, value in found.items() if name.startswith(OURS)})


def connect(address: str | None) -> list[str]:
    """Start Ray on this machine, or join the cluster at `address`; return lines on its dashboard.

    To be called by `joined`, which takes all of it back.

    Raises:
        ResourceError: Ray does not start, or no cluster answers there, or it asks for a token.
    """
    for name, value in DRIVER_SETTINGS.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        return _running(address)
    for name in [name for name in os.environ if name.startswith(SHARING)]:
        del os.environ[name]  # `joined` puts it back
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    with kept_handlers():
        context = _start(options) if address is None else _join(address, options)
    return _dashboard_lines(context.dashboard_url or "", context.address_info.get("metrics_export_port"))


def _running(address: str | None) -> list[str]:
    """Use the Ray of this process; return a line that says so.

    Raises:
        ResourceError: another cluster is asked for.
    """
    here = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", here):
        raise ResourceError(
            f"--address {address}: this process has joined the cluster at {here} already; allowed: that one. "
            "Leave the address out, or call ray.shutdown() first."
        )
    os.environ["RAY_ADDRESS"] = here
    return [f"Ray runs in this process already ({here}): it is used, and left running"]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _start(options: dict[str, Any]) -> Any:
    """Start Ray here, at an address that every process below it knows, with what is ours of the machine.

    Ray Train's clean-up of stopped nested trials looks for the cluster by itself, and gives up where a second one runs on
    the machine (up to 2.60); RAY_ADDRESS tells it, and processes inherit it only if it is known before they start.

    Raises:
        ResourceError: it did not start.
    """
    places, _ = temporary_folder()
    token, _ = cluster_secret()
    if token:
        os.environ["RAY_AUTH_TOKEN"] = token
    port = os.environ.get("RAY_GCS_SERVER_PORT") or _free_port()
    try:
        with _environment(RAY_GCS_SERVER_PORT=port, **places, **UNBOUND), _own_process_groups():
            os.environ["RAY_ADDRESS"] = f"{ray.util.get_node_ip_address()}:{port}"
            return ray.init(
                address="local",
                num_cpus=usable_cores(),
                num_gpus=usable_gpus(),
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                **options,
            )
    except Exception as error:
        raise ResourceError(
            f"Ray could not be started on this machine ({type(error).__name__}: {_first_line(error)}). Its logs lie in "
            f"{places['RAY_TMPDIR']}/ray/session_latest/logs. A machine under load may have been too slow: try again; else free "
            "memory, disk and process slots, or join a running cluster with --address."
        ) from error


def _join(address: str, options: dict[str, Any]) -> Any:
    """Join a cluster; its processes get the address through the runtime environment, with our code.

    Raises:
        ResourceError: there is none at the address, or none that can be joined.
    """
    os.environ["RAY_ADDRESS"] = find_cluster(address)
    here = Path(tempfile.gettempdir())
    with guarded(here, "copy of the code"), tempfile.TemporaryDirectory(prefix="student-search-") as staged:
        code = runtime_env(project_root(), Path(staged))
        try:
            return ray.init(address=os.environ["RAY_ADDRESS"], runtime_env=code, **options)
        except Exception as error:
            raise refusal(f"--address {address}", type(error).__name__, str(error)) from error


@contextmanager
def _own_process_groups() -> Iterator[None]:
    """Start processes each in a group of its own.

    `timeout`, a closed terminal and others send their signal to the whole group of a command. Ray's processes would end
    with it at once, and with them the trials that are to end in good order.
    """
    _GROUPS["own"] = True
    try:
        yield
    finally:
        _GROUPS["own"] = False


_GROUPS = {"own": False}


def _leave_group() -> None:
    if _GROUPS["own"]:
        os.setpgid(0, 0)


os.register_at_fork(after_in_child=_leave_group)


def _free_port() -> str:
    with socket.socket() as one:
        one.bind(("", 0))
        return str(one.getsockname()[1])


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def resources(*, workers: int, cpus: int, gpus: float | None, most: int | None = None) -> Resources:
    """Return what a trial takes here, and how many there is room for now.

    Args:
        workers: training processes per trial.
        cpus: CPUs of each.
        gpus: GPUs of each; None is 1 where the cluster has any, else 0.
        most: trials at a time that the user wants at most.

    Raises:
        ResourceError: one trial does not fit into the cluster, and no autoscaler would bring more.
    """
    return found_resources(workers=workers, cpus=cpus, gpus=gpus, most=most)


def _dashboard_lines(url: str, metrics_port: int | None) -> list[str]:
    """Return where dashboard and metrics are, and how to get in."""
    if not url:
        return ["Ray dashboard: not running on this cluster"]
    lines = [f"Ray dashboard: http://{url} (a trial's log is found by its candidate id under Logs)"]
    if os.environ.get("RAY_AUTH_MODE") != "disabled":
        beside = Path(sys.executable).with_name("ray")
        lines.append(
            f"  it asks for a token: {beside if beside.exists() and not shutil.which('ray') else 'ray'} get-auth-token"
        )
    if metrics_port:
        lines.append(
            f"  metrics of this node: http://127.0.0.1:{metrics_port}/metrics (ray_student_search_*)"
        )
    return lines
