"""A group of Ray Train's workers, and the driver's part of it: they stay for one candidate after another.

About 1 CPU-second of overhead for each candidate, where a group of workers for each would cost 25. Imported by the driver and
by Ray Train's controller, which train nothing: torch is imported in the workers only.
"""

import fcntl
import gc
import os
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import ray
from ray import train, tune
from ray.exceptions import RayActorError, RayError
from ray.train.backend import Backend, BackendConfig
from ray.train.collective import broadcast_from_rank_zero
from ray.train.v2._internal.exceptions import (
    RayTrainError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
)
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from spaces.errors import ResourceError, StudentSearchError
from spaces.files import make_folder, write_text
from trainables.exchange import DONE, ROW, Exchange
from trainables.training.control import Row
from trainables.training.job import Job
from trainables.trial import OUT_OF_MEMORY, Launch, check_code, check_folder, note

SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1.0",  # a lost worker is seen so late; rows come another way
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",  # a wait for room; after it, the driver waits anew
}
"""Ray Train reads them where `fit` is called, and hands them on; whoever started this Ray need not know of them."""

GROUPS = "groups"  # in `Launch.storage`: one file for each group of workers, named after its placement group
IDLE_S = 30.0  # of workers without a candidate, before they give their CPUs back
END_S = 60.0  # for workers to leave
Report = Callable[[Row], object]
TORN = ("gloo", "nccl", "connection", "socket", "broken pipe", "timed out", "timeout", "peer", "store")
"""What an error says that a worker meets when another one is lost in the middle of what they do together."""
PATIENCE = timedelta(
    days=1
)  # of a worker for another one, which scores captions or copies a cache; Ray tells of lost ones
INTERFACE = "GLOO_SOCKET_IFNAME"  # names the network interface by which gloo speaks
SIOCGIFADDR = 0x8915  # of Linux: asks for the address of an interface


class Stopped(Exception):
    """Ray Tune has stopped the trial: its workers are to take the next."""


class TrainControl:
    """One of several workers under Ray Train."""

    def __init__(self, log: Path, exchange: Any) -> None:
        context = train.get_context()
        self.rank, self.world, self.log = context.get_world_rank(), context.get_world_size(), log
        self.exchange = exchange

    def report(self, row: Row) -> None:
        """Hand rank 0's row to the driver, and wait with all workers for its verdict.

        Raises:
            Stopped: the trial is stopped.
        """
        go_on = True
        if self.rank == 0:
            note(self.log, f"epoch {row['epoch']}: {row['status']}, loss {row.get('loss', float('nan')):.4f}")
            go_on = ray.get(self.exchange.report.remote(row))
        if not broadcast_from_rank_zero(go_on):
            raise Stopped

    def say(self, line: str) -> None:
        """Note a line in the trial's log."""
        note(self.log, f"worker {self.rank}: {line}")


def _note_group(storage: Path) -> None:
    """Write down which placement group this worker is in, for `release`."""
    held = ray.util.get_current_placement_group()
    assert held is not None, "Ray Train puts its workers into one"
    write_text(make_folder(storage / GROUPS) / held.id.hex(), "")


def release(storage: Path) -> None:
    """Give back what workers still hold when no trial is left; to be called by the driver of the search.

    Ray Train's own clean-up asks the dashboard, and gives up where Ray runs without one (up to 2.60): the CPUs of a Ray that
    goes on running would be lost.
    """
    for file in (storage / GROUPS).glob("*"):
        ray.util.remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(file.name)))
        file.unlink()


def _work(config: Mapping[str, Any]) -> None:
    """Run in each worker process of nested trials: train one candidate after another, until no more come."""
    from trainables.datasets.node_copies import copied_to
    from trainables.training.loop import train as train_candidate  # imports torch
    from trainables.training.memory import limit_memory

    take_device()
    limit_memory(config["memory_share"])
    exchange, first = config["exchange"], train.get_context().get_world_rank() == 0
    if first:
        _note_group(Path(config["storage"]))
    while broadcast_from_rank_zero(ray.get(exchange.wait_for_order.remote()) if first else None):
        order = ray.get(exchange.order.remote())
        try:
            job = Job.from_dict(order["job"])
            check_folder(Path(job.folder))
            check_code(job)
            with copied_to(config["node_copies"]):
                train_candidate(job, TrainControl(Path(order["log"]), exchange))
        except Stopped:
            pass
        else:
            if first:
                ray.get(exchange.done.remote())
        gc.collect()  # models and their reducers refer to one another


def take_device() -> None:
    """Let this thread work on the GPU of its worker; it sees those of all workers of its node, and begins with the first."""
    import torch
    from ray.train.torch import get_device

    device = get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)


@dataclass
class LightTorch(BackendConfig):
    """Ray's `TorchConfig` for drivers and controllers that never import torch.

    Attributes:
        backend: of torch.distributed.
    """

    backend: str = "gloo"

    @property
    def backend_cls(self) -> type[Backend]:
        """What the controller does when workers start and end."""
        return _LightTorchBackend


class _LightTorchBackend(Backend):
    """Lets the workers find one another, and part."""

    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Make one process group of all workers."""
        host, port = worker_group.execute_single(0, _meeting_point)
        worker_group.execute(_meet, backend=backend_config.backend, host=host, port=port)

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        """Part, if all are there to do so; they end in any case."""
        ray.wait(worker_group.execute_async(_part), num_returns=len(worker_group), timeout=5)


def _meeting_point() -> tuple[str, int]:
    """Return an address at which rank 0 listens."""
    host = ray.util.get_node_ip_address()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.bind((host, 0))
        return host, int(one.getsockname()[1])


def _meet(*, backend: str, host: str, port: int) -> None:
    """Join the process group, in each worker."""
    import torch

    take_device()  # this is another thread than that of the training
    context = train.get_context()
    os.environ |= {
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
        "LOCAL_RANK": str(context.get_local_rank()),
        "LOCAL_WORLD_SIZE": str(context.get_local_world_size()),
        "NODE_RANK": str(context.get_node_rank()),
        "RANK": str(context.get_world_rank()),
        "WORLD_SIZE": str(context.get_world_size()),
    }
    if backend == "gloo" and context.get_local_world_size() < context.get_world_size():
        _speak_to_other_nodes()
    torch.distributed.init_process_group(backend, timeout=PATIENCE)  # finds all else in the environment


def _speak_to_other_nodes() -> None:
    """Let gloo speak by the interface that has the address of this node in the cluster, unless the user names another one.

    By itself gloo takes the address to which the host's own name leads. On many machines (`127.0.1.1 NAME` in /etc/hosts of
    Debian and Ubuntu) that is one which no other machine reaches.
    """
    here = ray.util.get_node_ip_address()
    if not here.startswith("127.") and (found := interface_of(here)):  # nodes on a loopback are one machine
        os.environ.setdefault(INTERFACE, found)


def interface_of(address: str) -> str:
    """Return the network interface of this machine whose IPv4 address that is, "" where none has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # it has no address
                told = fcntl.ioctl(asked.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()))
                if socket.inet_ntoa(told[20:24]) == address:
                    return name
    return ""


def _part() -> None:
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class Workers:
    """A group of Ray Train's workers; it stays with this process from trial to trial.

    Attributes:
        kind: what they were started for.
        gone: they have left or were lost.
    """

    def __init__(self, launch: Launch) -> None:
        """Start them in the background.

        Args:
            launch: how many, of what; its log is of no matter.
        """
        self.kind = replace(launch, log="")
        self.gone = False
        self._error: Exception | None = None
        # on this very node: with a soft wish Ray put it on another one, whose loss then took the driver's trials along
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(num_cpus=0, scheduling_strategy=here)  # type: ignore[call-overload]  # Ray's own example
        self._exchange = actor(Exchange).remote(idle_s=IDLE_S)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        launch = self.kind
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            DataParallelTrainer(
                _work,
                train_loop_config={
                    "exchange": self._exchange,
                    "storage": launch.storage,
                    "memory_share": launch.memory_share,
                    "node_copies": launch.node_copies,
                },
                backend_config=LightTorch(backend="nccl" if launch.gpus else "gloo"),
                scaling_config=train.ScalingConfig(
                    num_workers=launch.workers,
                    use_gpu=launch.gpus > 0,
                    resources_per_worker={
                        "CPU": launch.cpus,
                        **({"GPU": launch.gpus} if launch.gpus else {}),
                    },
                ),
                run_config=train.RunConfig(
                    name=f"workers-{uuid.uuid4().hex[:8]}",
                    storage_path=launch.storage,
                    # workers that are lost or do not come up end the group: the driver counts, and starts another
                    failure_config=train.FailureConfig(max_failures=0, controller_failure_limit=0),  # type: ignore[call-arg]
                ),
            ).fit()
        except Exception as error:  # told to the driver, who waits in another thread
            self._error = error
        finally:
            self._close()

    def _close(self) -> None:
        with suppress(RayError):  # it is gone itself, which whoever asks it next is told
            ray.get(self._exchange.close.remote())

    def train(self, job: Job, log: str, report: Report = tune.report) -> bool:
        """Train one candidate, telling each row; return False if the workers left before it began.

        Args:
            job: the candidate's.
            log: its log file.
            report: takes a row; by default Ray Tune does, and from a trial that it stops that does not return.

        Raises:
            Exception: what Ray Train says of workers that were lost or never came; or Ray of an exchange that is gone.
        """
        try:
            return self._train(job, log, report)
        except RayError:
            self.gone = True
            raise

    def _train(self, job: Job, log: str, report: Report) -> bool:
        self.gone = not ray.get(self._exchange.offer.remote({"job": job.to_dict(), "log": log}))
        if self.gone:
            return False
        while True:
            kind, row = ray.get(self._exchange.event.remote())
            if kind == DONE:
                return True
            if kind != ROW:
                self.gone = True
                raise self._error or ResourceError(
                    f"trial {job.candidate_id}: its workers left before it ended"
                )
            go_on = False
            try:
                report(row)
                go_on = True
            finally:
                ray.get(self._exchange.decide.remote(go_on))

    def end(self) -> None:
        """Let them leave, and wait until they have given back what they held."""
        self._close()
        self._thread.join(END_S)


def found_no_room(error: Exception) -> bool:
    """Return whether a group of workers has waited in vain for its resources: no failure, it may wait on."""
    return isinstance(error, train.ControllerError) and isinstance(
        error.controller_failure, WorkerGroupStartupTimeoutError
    )


def own_fault(error: Exception) -> Exception | None:
    """Return what a worker says of its candidate, which new workers would say again; None where one was lost.

    Where one of several workers is lost, the others end with errors of their own: they were torn from what they did together.
    """
    if not isinstance(error, train.WorkerGroupError):
        return None
    said = list(error.worker_failures.values())
    clear = [
        one
        for one in said
        if isinstance(one, StudentSearchError) or OUT_OF_MEMORY in (type(one).__name__, str(one))
    ]
    if clear or any(map(_tells_of_a_loss, said)):
        return next(iter(clear), None)
    return next((one for one in said if not _is_torn(one)), None)


def _tells_of_a_loss(error: Exception) -> bool:
    """Return whether a process or its node has gone, by Ray's own words."""
    return isinstance(error, RayActorError | RayTrainError | WorkerHealthCheckFailedError)


def _is_torn(error: Exception) -> bool:
    """Return whether an error may come from another worker's end."""
    kind = type(error)
    if kind.__name__.startswith("Dist") or isinstance(error, ConnectionError | TimeoutError):
        return True
    return kind is RuntimeError and any(word in str(error).lower() for word in TORN)
