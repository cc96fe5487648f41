"""What a run was begun with, and by which code each of its sessions went on: kept in `run.json`, compared at each start."""

import hashlib
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any

from spaces.commands import command_line
from spaces.errors import RunError
from spaces.rules import show
from trainables.code_version import OURS as ROOMS
from trainables.code_version import SEARCHING, code_digest, package_digest
from trainables.datasets import PLACES as PLACES_OF_DATA

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "ray",
    "pyarrow",
    "hyperopt",
    "plotly",
    "moocore",
    "numpy",
)
OURS = "student-search"
PLUGINS = "student_search."  # groups of entry points
CHANGEABLE = (  # when, where, how long, and what is kept; not what comes out
    *("search.trials", "search.stop"),
    *("resources", "failures", "checkpoints.keep", "latency.samples", "plan"),
)
PLACES = (
    "teacher",
    *(f"dataset.{name}" for name in PLACES_OF_DATA),
)  # their fingerprints are compared instead
ABSENT = "nothing"


def stamp() -> str:
    """Return the time as run.json and the report show it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())


def fixed_part(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted path -> value of all of a space file that must stay as the run began it, as JSON gives it back.

    Args:
        space: plain values, as `space.yaml` holds them.
    """
    found = {
        path: value
        for path, value in _leaves(space)
        if not any(path == name or path.startswith(f"{name}.") for name in (*CHANGEABLE, *PLACES))
    }
    again: dict[str, Any] = json.loads(json.dumps(found))
    return again


def space_digest(fixed: Mapping[str, Any]) -> str:
    """Return the hash of a `fixed_part`."""
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]


def check_unedited(path: Path, space: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Refuse a `space.yaml` that is another one than the run began with.

    Args:
        path: of the file.
        space: what it says now.
        facts: `run.json`.

    Raises:
        RunError: each path with what was and what is.
    """
    before = facts.get("space")
    if not isinstance(before, Mapping):
        return  # of an earlier version, which did not keep it
    now = fixed_part(space)
    names = [name for name in {**before, **now} if before.get(name, ABSENT) != now.get(name, ABSENT)]
    if not names:
        return

    def told(values: Mapping[str, Any], name: str) -> str:
        return show(values[name]) if name in values else ABSENT

    changes = "; ".join(f"{name}: was {told(before, name)}, is {told(now, name)}" for name in names)
    raise RunError(
        f"{path}: was changed after the run had begun: {changes}. allowed: the space as it was, since all candidates of a run "
        f"are compared with one another; what may change are {', '.join(CHANGEABLE)}. Put the values back, or search anew with "
        f"the changed one: {command_line('search/run.py', '--space', path)}"
    )


def session_now(command: str = "") -> dict[str, Any]:
    """Return what is kept of a session that begins: when, where, by which command ("": that of this process) and code."""
    return {
        "started": stamp(),
        "ended": None,  # stays so where it was killed
        "ended_by": None,
        "host": socket.gethostname(),
        "command": command or shlex.join(["python", *sys.argv]),
        "code": code_digest(SEARCHING),
        "git_commit": git_commit(),
        "versions": versions(),
        "plugins": plugins(),
    }


def code_changes(facts: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return lines that tell in which code and packages a run goes on otherwise than its last session; [] if in none."""
    sessions = facts.get("sessions") or []
    if not sessions:
        return []
    last, lines = sessions[-1], []
    if last["code"] != now["code"]:
        lines.append(
            f"WARNING: the code is not that of the last session: it was {_code(last)}, it is {_code(now)}. What is trained from "
            "here on may come out otherwise; run.json keeps both (sessions)"
        )
    before, after = last["versions"], now["versions"]
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name) and name != OURS]
    if changed:
        told = ", ".join(
            f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}" for name in changed
        )
        lines.append(
            f"WARNING: packages are not those of the last session: {told}; run.json keeps both (sessions)"
        )
    kept, code = last.get("plugins") or {}, now.get("plugins") or {}
    if edited := [name for name in kept if name in code and kept[name] != code[name]]:
        told = ", ".join(f"{name} {kept[name]} -> {code[name]}" for name in edited)
        lines.append(
            f"WARNING: the code of plug-ins is not that of the last session: {told}. What is trained from here on may come out "
            "otherwise; run.json keeps both (sessions)"
        )
    return lines


def _code(session: Mapping[str, Any]) -> str:
    commit = f", commit {session['git_commit']}" if session.get("git_commit") else ""
    return f"{OURS} {session['versions'].get(OURS, '')}{commit}, digest {session['code']}"


def versions() -> dict[str, str]:
    """Return the versions of Python, of this program, of the packages that matter, and of those that bring plug-ins."""
    installed = {point.dist.name for point in _plugin_points() if point.dist is not None}
    names = [OURS, *PACKAGES, *sorted(installed - {OURS})]
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


def plugins() -> dict[str, str]:
    """Return package -> hash of its code, of those that bring plug-ins: while one is written its version stays the same."""
    tops = {point.value.partition(":")[0].partition(".")[0].strip() for point in _plugin_points()}
    return {top: package_digest(top) for top in sorted(tops.difference(ROOMS, {""}))}


def _plugin_points() -> Iterator[EntryPoint]:
    points = entry_points()
    for group in points.groups:
        if group.startswith(PLUGINS):
            yield from points.select(group=group)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def git_commit() -> str:
    """Return the commit of this checkout, with `+` if files differ from it; "" outside of git.

    An environment may lie in somebody else's repository, which does not know this file; and git itself, whose hooks and aliases
    run commands, names its own by variables (GIT_DIR).
    """
    here = Path(__file__).resolve()
    outer = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_") or "CONFIG" in name
    }

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=here.parent,
            env=outer,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)
        head, dirty = (
            git("rev-parse", "--short", "HEAD"),
            git("status", "--porcelain", "--untracked-files=no"),
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return head + ("+" if dirty else "")


def _leaves(value: Any, path: Sequence[str] = ()) -> Iterator[tuple[str, Any]]:
    """Yield dotted path and value of everything that is no mapping with something in it."""
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _leaves(part, (*path, str(name)))
    else:
        yield ".".join(path), value
