"""How workers of one trial find one another: by the network of the cluster, not by what a host's own name leads to."""

import os
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainables import worker_group
from trainables.worker_group import INTERFACE, interface_of


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | None]]:
    """What gloo was told each time that a worker met the others."""
    told: list[str | None] = []
    waits: list[timedelta] = []
    names = (
        "MASTER_ADDR",
        "MASTER_PORT",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "NODE_RANK",
        "RANK",
        "WORLD_SIZE",
    )
    for name in (*names, INTERFACE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(worker_group, "take_device", lambda: None)
    monkeypatch.setattr(
        torch.distributed,
        "init_process_group",
        lambda backend, timeout: told.append(os.environ.get(INTERFACE)) or waits.append(timeout),
    )
    yield told
    assert all(one >= timedelta(hours=12) for one in waits), (
        "one worker scores captions for all, or copies a cache"
    )


def meet(monkeypatch: pytest.MonkeyPatch, *, here: str, on_this_node: int, backend: str = "gloo") -> None:
    """Let one of two workers meet the other, on a node of that address."""
    sizes: dict[str, Any] = {
        "get_local_rank": 0,
        "get_local_world_size": on_this_node,
        "get_node_rank": 0,
        "get_world_rank": 0,
        "get_world_size": 2,
    }
    context = SimpleNamespace(**{name: lambda value=value: value for name, value in sizes.items()})
    monkeypatch.setattr(worker_group.train, "get_context", lambda: context)
    monkeypatch.setattr(worker_group.ray.util, "get_node_ip_address", lambda: here)
    monkeypatch.setattr(worker_group, "interface_of", {"10.9.0.1": "net7"}.get)
    worker_group._meet(backend=backend, host="10.9.0.1", port=1)


def test_an_interface_is_found_by_its_address() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("203.0.113.9") == ""  # of a range for documents alone
    assert interface_of("::1") == ""


def test_workers_on_several_nodes_speak_by_the_network_of_the_cluster(
    met: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    meet(monkeypatch, here="10.9.0.1", on_this_node=1)
    assert met == ["net7"]


def test_an_interface_that_the_user_names_stays(
    met: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(INTERFACE, "ib0")
    meet(monkeypatch, here="10.9.0.1", on_this_node=1)
    assert met == ["ib0"]


@pytest.mark.parametrize(
    ("here", "on_this_node", "backend"),
    [("10.9.0.1", 2, "gloo"), ("127.0.0.1", 1, "gloo"), ("10.8.0.1", 1, "gloo"), ("10.9.0.1", 1, "nccl")],
)
def test_elsewhere_nothing_is_named(
    here: str, on_this_node: int, backend: str, met: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    meet(monkeypatch, here=here, on_this_node=on_this_node, backend=backend)
    assert met == [None]
