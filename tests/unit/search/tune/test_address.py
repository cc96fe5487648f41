"""Addresses of clusters: form, an answer within seconds, and what Ray refuses, each told in one line. No Ray is started."""

import json
import socket
from collections.abc import Iterator

import pytest

from search.tune import address
from search.tune.address import check_address, find_cluster, refusal
from spaces.errors import ResourceError

ANSWERS = "import os, sys\nos.write(int(sys.argv[2]), {!r})\n"


@pytest.fixture
def listener() -> Iterator[str]:
    """Return the address of somebody who listens, and says nothing."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield f"127.0.0.1:{one.getsockname()[1]}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("http://10.0.0.1:8265", "http://10.0.0.1:8265: this is the form of a dashboard"),
        ("ray://10.0.0.1:10001", "ray://10.0.0.1:10001: Ray Client is not supported"),
        ("tcp://10.0.0.1:1", "tcp://10.0.0.1:1: tcp:// is not known"),
        ("10.0.0.1", "10.0.0.1: the port is missing"),
        ("local", "local: the port is missing"),
        ("10.0.0.1:", "10.0.0.1:: '' is no port"),
        ("10.0.0.1:x", "10.0.0.1:x: 'x' is no port"),
        ("10.0.0.1:0", "10.0.0.1:0: '0' is no port"),
        ("10.0.0.1:65536", "10.0.0.1:65536: '65536' is no port"),
        pytest.param(f"10.0.0.1:{'9' * 5000}", f"10.0.0.1:{'9' * 5000}: ", id="no port that long"),
        (":6379", ":6379: no address"),
        ("::1:6379", "::1:6379: no address"),
        ("", "'': no address"),
        ("a b:1", "a b:1: no address"),
    ],
)
def test_what_is_no_address_is_told_with_what_is_one(given: str, said: str) -> None:
    with pytest.raises(ResourceError) as caught:
        check_address(given)
    told = str(caught.value)
    assert told.startswith(f"--address {said}")
    assert "allowed: host:port, such as 10.0.0.1:6379, or auto" in told
    assert "\n" not in told


def test_a_port_at_which_nobody_listens_is_told_at_once(listener: str) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        free = one.getsockname()[1]
    for host in ("127.0.0.1", "[::1]"):
        with pytest.raises(
            ResourceError, match=r"no Ray cluster answers \(.+\)\. Start one with `ray start --head`"
        ):
            check_address(f"{host}:{free}")


def test_auto_names_the_variable_that_it_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://10.0.0.1:10001")
    with pytest.raises(
        ResourceError, match=r"^--address auto \(RAY_ADDRESS=ray://10.0.0.1:10001\): Ray Client"
    ):
        check_address("auto")


def test_somebody_who_never_answers_is_given_up(listener: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "PROBE", "import time; time.sleep(300)")
    monkeypatch.setattr(address, "ANSWER_S", 0.5)
    with pytest.raises(ResourceError, match="something listens there, but is no Ray cluster that answers"):
        check_address(listener)


def test_what_answers_is_found_once_more_without_asking(
    listener: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "PROBE", ANSWERS.format(json.dumps({"gcs": "10.0.0.1:7"}).encode()))
    check_address(listener)
    monkeypatch.setattr(address, "PROBE", "import sys; sys.exit(7)")
    assert find_cluster(listener) == "10.0.0.1:7"
    with pytest.raises(ResourceError, match="Ray ended with code 7"):
        find_cluster(listener)


def test_ray_has_its_say_on_one_line(listener: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"kind": "RuntimeError", "text": "Cannot.\nAnd a long story."}
    monkeypatch.setattr(address, "PROBE", ANSWERS.format(json.dumps(said).encode()))
    with pytest.raises(
        ResourceError,
        match=rf"^--address {listener}: the cluster cannot be joined \(RuntimeError: Cannot\.\)",
    ):
        check_address(listener)


MISMATCH = """\
Version mismatch: The cluster was started with:
    Ray: 2.61.0
    Python: 3.12.1
This process on node 10.0.0.2 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""


def test_other_versions_are_told_with_both_on_one_line() -> None:
    told = str(refusal("--address 10.0.0.1:1", "RuntimeError", MISMATCH))
    assert "Ray: 2.61.0 Python: 3.12.1" in told
    assert "Ray: 2.60.0 Python: 3.11.7" in told
    assert "\n" not in told


def test_a_lack_of_a_token_and_a_refused_one_are_told() -> None:
    assert "RAY_AUTH_MODE=token" in str(refusal("--address a:1", "ConnectionError", "nobody there"))
    for kind, text in (("RuntimeError", "InvalidAuthToken: no"), ("AuthenticationError", "")):
        assert "--address a:1: the cluster refused the token" in str(refusal("--address a:1", kind, text))
