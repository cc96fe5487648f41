"""Ray clusters as a user starts them: plain `ray start --head`, nothing configured by us."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tests.e2e import runs

LOOK = """\
import json, sys, time
from search.tune.cluster_token import offer_token
offer_token()
import ray

ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
deadline = time.monotonic() + float(sys.argv[2])
while True:
    table = ray.util.placement_group_table().values()
    groups = [one["placement_group_id"] for one in table if one["state"] != "REMOVED"]
    free, whole = (r.get("CPU", 0.0) for r in (ray.available_resources(), ray.cluster_resources()))
    if (not groups and free == whole) or time.monotonic() > deadline:
        break
    time.sleep(0.2)
print(json.dumps({"groups": groups, "seen": len(table), "free": free, "whole": whole}))
"""

NODES = """\
import sys, time
from search.tune.cluster_token import offer_token
offer_token()
import ray

ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
deadline = time.monotonic() + float(sys.argv[3])
while (alive := sum(node["Alive"] for node in ray.nodes())) != int(sys.argv[2]):
    if time.monotonic() > deadline:
        sys.exit(f"{alive} nodes are alive")
    time.sleep(0.1)
"""

FOREIGNER = """\
import sys
from search.tune.cluster_token import offer_token
offer_token()
import ray

ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
never = ray.util.placement_group([{"CPU": 99}])  # waits for as long as this process lives
held = None
each = {"CPU": 1, **{name: 0.001 for name in sys.argv[2:]}}
for line in map(int, sys.stdin):
    if held:
        ray.util.remove_placement_group(held)
    held = ray.util.placement_group([each] * line)
    assert held.wait(600), ray.cluster_resources()
    print(line, flush=True)
"""

HEAD = "node:__internal_head__"  # a resource of every head
QUICK_METRICS = {
    "RAY_metrics_report_interval_ms": "1000"
}  # of 10,000: longer than a whole search on a fast machine


@dataclass(frozen=True, kw_only=True)
class Head:
    """A running cluster of one node.

    Attributes:
        address: host:port.
        metrics: URL of its metrics page.
    """

    address: str
    metrics: str


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def head(
    *,
    num_cpus: int = 2,
    ports: Sequence[int] = (),
    more: Mapping[str, Any] | None = None,
    **variables: str,
) -> Iterator[Head]:
    """Start a cluster with a temporary folder of its own; nothing of it is left when the block ends.

    Args:
        num_cpus: that it has.
        ports: five that nobody listens on.
        more: flags of `ray start` with their values.
        variables: of its environment, and so of what runs there.
    """
    port, metrics, dashboard, agent, client = ports or free_ports(5)
    temporary = tempfile.mkdtemp(prefix="ray")  # not below pytest's: the path of a socket holds 107 bytes
    options = {
        "--node-ip-address": "127.0.0.1",
        "--port": port,
        "--num-cpus": num_cpus,
        "--temp-dir": temporary,
        "--metrics-export-port": metrics,
        # two clusters on one machine must not meet
        "--dashboard-port": dashboard,
        "--dashboard-agent-listen-port": agent,
        "--ray-client-server-port": client,
        **(more or {}),
    }
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
    process = subprocess.Popen(
        [*command, *(f"{name}={value}" for name, value in options.items())],
        env=runs.environment(**QUICK_METRICS, **variables),
        cwd=temporary,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_until_it_listens(port, process)
        yield Head(address=f"127.0.0.1:{port}", metrics=f"http://127.0.0.1:{metrics}/metrics")
    finally:
        # Ray's own good-bye takes ten seconds; there is nothing left to save
        runs.end_processes([process.pid, *runs.descendants(process.pid)])
        process.wait(10)
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def growing_head(*, workers: int) -> Iterator[Head]:
    """Start a cluster that has no CPU, and Ray's own stand-in for an autoscaler, which brings up to so many nodes of one CPU."""
    with tempfile.TemporaryDirectory() as place:
        config = Path(place) / "autoscaler.json"
        ports = free_ports(5)
        address = f"127.0.0.1:{ports[0]}"
        head_node = "f" * 51 + "00000"  # a name that Ray's stand-in expects
        config.write_text(json.dumps(_autoscaler(address, head_node, workers)))
        variables = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        extra = {"--autoscaling-config": config}
        with head(num_cpus=0, ports=ports, more=extra, **variables) as found:
            yield found


def _autoscaler(address: str, head_node: str, workers: int) -> dict[str, Any]:
    """Return what an autoscaler reads."""
    no_commands = {
        f"{name}_commands": []
        for name in (
            *("setup", "initialization", "head_setup", "worker_setup"),
            *("head_start_ray", "worker_start_ray"),
        )
    }
    return {
        **no_commands,
        "cluster_name": "growing",
        "max_workers": workers,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 30,
        "provider": {
            "type": "fake_multinode",
            "head_node_id": head_node,
            "gcs_address": address,
            "disable_node_updaters": True,  # these would reach its nodes by SSH
            "disable_launch_config_check": True,
            "foreground_node_launch": True,
        },
        "auth": {"ssh_user": "nobody"},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": workers},
        },
    }


@dataclass(frozen=True, kw_only=True)
class Node:
    """A further node of a cluster.

    Attributes:
        address: of the machine that it plays.
        process: of `ray start --block`, with the raylet below it.
    """

    address: str
    process: subprocess.Popen[bytes]

    def kill_raylet(self) -> list[int]:
        """Send kill -9 to Ray's own process there; return all of the node's, which are to end by themselves.

        What trains goes on for a moment, until it notices; this returns when that has ended, too.
        """
        processes = [self.process.pid, *runs.descendants(self.process.pid)]
        training = [
            pid
            for title in (runs.TRIAL, runs.TRAIN_WORKER)
            for pid in runs.processes_called(title, self.process.pid)
        ]
        (raylet,) = runs.processes_called(b"raylet/raylet", self.process.pid)
        os.kill(raylet, signal.SIGKILL)
        runs.wait_for_end([raylet, *training], patience_s=60.0)
        return processes

    def kill(self) -> None:
        """Send kill -9 to all of it, as when a machine is lost."""
        runs.end_processes([self.process.pid, *runs.descendants(self.process.pid)])
        self.process.wait(10)


@contextmanager
def further_node(
    first: Head, *, num_cpus: int = 1, hidden: Path | None = None, **variables: str
) -> Iterator[Node]:
    """Start one more node on loopback; nothing of it is left when the block ends.

    Args:
        first: the head that it joins.
        num_cpus: that it brings.
        hidden: a folder in which it sees nothing, as a machine that does not mount it; this takes root.
        variables: of its environment, such as a home of its own.
    """
    metrics, agent = free_ports(2)
    address = "127.0.0.2"
    options = {
        "--address": first.address,
        "--node-ip-address": address,
        "--num-cpus": num_cpus,
        "--metrics-export-port": metrics,
        "--dashboard-agent-listen-port": agent,
    }
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block"]
    if hidden is not None:
        covered = 'mount -t tmpfs none "$0" && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", covered, str(hidden), *command]
    process = subprocess.Popen(
        [*command, *(f"{name}={value}" for name, value in options.items())],
        env=runs.environment(**QUICK_METRICS, **variables),
        cwd=tempfile.gettempdir(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    node = Node(address=address, process=process)
    try:
        token = {name: value for name, value in variables.items() if name.startswith("RAY_AUTH")}
        wait_for_nodes(first.address, 2, **token)
        yield node
    finally:
        node.kill()


def wait_for_nodes(address: str, count: int, *, patience_s: float = 600, **variables: str) -> None:
    """Wait until a cluster has so many nodes; `variables` are those of the environment, such as its token.

    Raises:
        AssertionError: it has not.
    """
    code, text = runs.run(
        ("-c", NODES, address, str(count), str(patience_s)),
        folder=runs.ROOT,
        env=runs.environment(**variables),
    )
    assert code == 0, text


class Foreigner:
    """Another job on a cluster: it holds CPUs in a placement group, and always waits for one that it cannot get."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def hold(self, num_cpus: int) -> None:
        """Hold so many CPUs from now on, instead of those before."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{num_cpus}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == f"{num_cpus}\n"

    def leave(self) -> None:
        """End, as if its work were done: all that it holds is free."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(60) == 0


@contextmanager
def foreigner(address: str, *where: str) -> Iterator[Foreigner]:
    """Let another job use a cluster; of nodes that have all these resources, such as `HEAD`, if any are named."""
    process = subprocess.Popen(
        [sys.executable, "-c", FOREIGNER, address, *where],
        cwd=runs.ROOT,
        env=runs.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Foreigner(process)
    finally:
        runs.end_processes([process.pid, *runs.descendants(process.pid)])
        process.wait(10)


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + runs.PATIENCE_S  # a machine that is shared by many may take a minute
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("ray start --head: did not come up")


def leftovers(address: str, *, patience_s: float) -> dict[str, Any]:
    """Return placement groups, free and all CPUs of a cluster, as soon as nothing is held or patience ends."""
    arguments = ("-c", LOOK, address, str(patience_s))
    code, text = runs.run(arguments, folder=runs.ROOT, env=runs.environment())
    assert code == 0, text
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def gauges(url: str, prefix: str) -> list[str]:
    """Return the lines of a metrics page that begin so; none while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            lines: list[str] = page.read().decode().splitlines()
    except (OSError, HTTPException):  # the second where it ends in the middle of an answer
        return []
    return [line for line in lines if line.startswith(prefix)]
