"""Our code for nodes that do not have it: the four rooms, and nothing else of the folder in which they lie."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spaces.console import UNBOUND

ROOMS = ("spaces", "trainables", "search", "analysis")
TEACHERS, SHIPPED = Path("trainables", "teachers"), "embedded_*"  # folders of files that are no code
NODE_SETTINGS = {
    **UNBOUND,  # else a node's shell may bind each of its processes to the same core
    # else, where its shell has one, each trial sees all GPUs of the node, and takes the first; to MetaX's "0" were a yes
    "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "",
    "RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES": "",
}


def project_root() -> Path:
    """Return the folder that holds the four rooms."""
    return Path(__file__).resolve().parents[2]


def runtime_env(root: Path, staged: Path) -> dict[str, Any]:
    """Return the runtime environment that brings our code, and the cluster's address, to nodes that have neither.

    A package that was installed, not checked out, is expected on every node: its folder is all of site-packages.

    Args:
        root: holds the rooms.
        staged: an empty folder for a copy of them; Ray sends it to the cluster when that is joined.
    """
    settings: dict[str, Any] = {"env_vars": {"RAY_ADDRESS": os.environ["RAY_ADDRESS"], **NODE_SETTINGS}}
    # `ray job submit` has brought a working directory already
    if (root / "pyproject.toml").exists() and "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
        for path in _code(root):
            target = staged / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        settings["working_dir"] = str(staged)
    return settings


def _code(root: Path) -> Iterator[Path]:
    """Yield what the rooms are made of: Python files, and the files of the shipped teachers.

    Named, not left over: a checkout may hold data, runs, environments and secrets, under any name.
    """
    for room in ROOMS:
        yield from (path for path in sorted((root / room).rglob("*.py")) if path.is_file())
    for folder in sorted((root / TEACHERS).rglob(SHIPPED)):
        if folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if path.is_file())
