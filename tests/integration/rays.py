"""Ray clusters as a user starts them: plain `ray start --head`, nothing configured by us."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
def head(*, num_cpus: int = 2, **variables: str) -> Iterator[Head]:
    """Start a cluster with a temporary folder of its own; nothing of it is left when the block ends.

    Args:
        num_cpus: that it has.
        variables: of its environment, and so of what runs there.
    """
    port, metrics, dashboard, agent, client = free_ports(5)
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


@dataclass(frozen=True, kw_only=True)
class Node:
    """A further node of a cluster.

    Attributes:
        address: of the machine that it plays.
        process: of `ray start --block`, with the raylet below it.
    """

    address: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """Send kill -9 to all of it, as when a machine is lost."""
        runs.end_processes([self.process.pid, *runs.descendants(self.process.pid)])
        self.process.wait(10)


@contextmanager
def further_node(first: Head, *, num_cpus: int = 1, **variables: str) -> Iterator[Node]:
    """Start one more node on loopback; nothing of it is left when the block ends.

    Args:
        first: the head that it joins.
        num_cpus: that it brings.
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
        wait_for_nodes(first.address, 2)
        yield node
    finally:
        node.kill()


def wait_for_nodes(address: str, count: int, *, patience_s: float = 120) -> None:
    """Wait until a cluster has so many nodes.

    Raises:
        AssertionError: it has not.
    """
    code, text = runs.run(
        ("-c", NODES, address, str(count), str(patience_s)), folder=runs.ROOT, env=runs.environment()
    )
    assert code == 0, text


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
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
    except OSError:
        return []
    return [line for line in lines if line.startswith(prefix)]
