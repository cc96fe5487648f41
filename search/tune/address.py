"""The address of a running cluster: its form, whether anybody answers there, and whether it is a cluster that we can join.

The last is asked in a process of its own: Ray waits for minutes at an address where nobody answers, and cannot be told to stop.
"""

import json
import os
import re
import socket
import subprocess
import sys

from spaces.errors import ResourceError

CONNECT_S = 5.0
ANSWER_S = 90.0  # a busy machine needs ten to start a Python with Ray
PROBE = """\
import json, os, sys
import ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR", configure_logging=False)
    told = {"gcs": ray.get_runtime_context().gcs_address}
except BaseException as error:
    told = {"kind": type(error).__name__, "text": str(error)}
os.write(int(sys.argv[2]), json.dumps(told).encode())
os._exit(0)
"""
ALLOWED = "allowed: host:port, such as 10.0.0.1:6379, or auto, for the cluster that runs on this machine"

_found: dict[str, str] = {}


def check_address(address: str) -> None:
    """Refuse an address at which there is no cluster that we can join; `find_cluster` then knows it.

    Raises:
        ResourceError: one line that says what is wrong with it.
    """
    _found[address] = _look(address)


def find_cluster(address: str) -> str:
    """Return host:port of a cluster.

    Raises:
        ResourceError: one line that says what is wrong with the address.
    """
    return _found.pop(address, None) or _look(address)


def _look(address: str) -> str:
    told = f"--address {address or repr(address)}"
    asked = address
    if address == "auto" and os.environ.get("RAY_ADDRESS"):
        asked = os.environ["RAY_ADDRESS"]
        told = f"--address auto (RAY_ADDRESS={asked})"
    if asked != "auto":
        _connect(*_host_and_port(asked, told), told=told)
    return _ask(asked, told)


def _host_and_port(address: str, told: str) -> tuple[str, int]:
    """Take an address apart.

    Raises:
        ResourceError: it is none.
    """
    scheme, found, _ = address.partition("://")
    if found:
        what = {
            "ray": "Ray Client is not supported, since trials report to the search directly",
            "http": "this is the form of a dashboard",
            "https": "this is the form of a dashboard",
        }.get(scheme.lower(), f"{scheme}:// is not known")
        raise ResourceError(
            f"{told}: {what}; {ALLOWED}. Search on a machine of the cluster, or hand the command in with `ray job submit`."
        )
    host, colon, port = address.rpartition(":")
    bare = re.fullmatch(r"\[(.+)\]", host)
    host = bare.group(1) if bare else host
    if not colon or not host or re.search(r"\s", host) or (":" in host and not bare):
        raise ResourceError(
            f"{told}: {'the port is missing' if address.strip() and not colon else 'no address'}; {ALLOWED}."
        )
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536):
        raise ResourceError(f"{told}: {port!r} is no port; {ALLOWED}.")
    return host, int(port)


def _connect(host: str, port: int, *, told: str) -> None:
    """Refuse a place where nobody listens.

    Raises:
        ResourceError: says what came instead of an answer.
    """
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S):
            return
    except TimeoutError:
        why = f"no answer within {CONNECT_S:.0f} s; a wrong host, or a firewall"
    except socket.gaierror:
        why = f"no machine is known as {host}"
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
    raise ResourceError(f"{told}: no Ray cluster answers ({why}). {START}")


START = "Start one with `ray start --head`, give its address, or leave the flag out to run on this machine."


def _ask(address: str, told: str) -> str:
    """Join a cluster for a moment, in another process.

    Raises:
        ResourceError: it cannot be joined.
    """
    reader, writer = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", PROBE, address, str(writer)],
            pass_fds=[writer],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            raise ResourceError(
                f"{told}: something listens there, but is no Ray cluster that answers within {ANSWER_S:.0f} s. {START}"
            ) from None
        finally:
            process.kill()
            process.wait()
        os.close(writer)
        writer = -1
        answer = os.read(reader, 1 << 16).decode(errors="replace")
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    found = (
        json.loads(answer) if answer else {"kind": "", "text": f"Ray ended with code {process.returncode}"}
    )
    if "gcs" in found:
        return str(found["gcs"])
    raise refusal(told, str(found["kind"]), str(found["text"]))


def refusal(told: str, kind: str, text: str) -> ResourceError:
    """Return what a user is told when Ray cannot join a cluster.

    Args:
        told: what was asked for, first words of the message.
        kind: name of Ray's error.
        text: its message.
    """
    first = (text.strip().splitlines() or [kind])[0]
    if "version mismatch" in text.lower():
        return ResourceError(
            f"{told}: the cluster runs other versions ({' '.join(text.split())}). Use the same Ray and Python as the cluster: "
            "both stand above."
        )
    if "token" in text.lower() or "auth" in kind.lower():
        return ResourceError(
            f"{told}: the cluster refused the token ({first}). Copy the head's token: run `ray get-auth-token` there, and "
            "put it into ~/.ray/auth_token or RAY_AUTH_TOKEN here."
        )
    if kind == "ConnectionError":
        return ResourceError(
            f"{told}: no Ray cluster answers ({first}). {START} If the cluster runs: it may want a token (any since Ray 2.60 "
            "does): copy what `ray get-auth-token` prints on its head into RAY_AUTH_TOKEN here, and set RAY_AUTH_MODE=token."
        )
    return ResourceError(
        f"{told}: the cluster cannot be joined ({f'{kind}: ' if kind else ''}{first}). {START}"
    )
