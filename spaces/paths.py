"""Paths as users type them: `~` is their home folder wherever a path may stand, in flags, spaces and Python calls."""

import os
from argparse import ArgumentTypeError
from glob import glob, has_magic
from pathlib import Path

SPACES = Path(__file__).resolve().parent  # the shipped files lie here
UNPACKED = "working_dir_files"  # where in its session Ray unpacks working directories


def user_path(text: str | os.PathLike[str]) -> Path:
    """Return a path with `~` and `~name` expanded; one whose home is unknown stays as typed, and is then told as missing.

    Shells expand `--out ~/x`, but neither `--out=~/x` nor `--dataset jsonl:~/x`; `Path.expanduser` raises on `~nobody`.
    """
    return Path(os.path.expanduser(text))


def path_flag(text: str) -> Path:
    """Return the path of a flag, as `user_path`; for `argparse`.

    Raises:
        ArgumentTypeError: it is empty, as a variable of a shell that is not set: it would mean the folder one is in.
    """
    if not text.strip():
        raise ArgumentTypeError(f"got {text!r}; allowed: a path. Give one, or . for the folder you are in.")
    return user_path(text)


def kept_flag(text: str) -> Path:
    """Return the path of a flag under which something is to be kept, as `path_flag`.

    Raises:
        ArgumentTypeError: it is empty, or lies where nothing lasts.
    """
    path = path_flag(text)
    if why := passing(path):
        raise ArgumentTypeError(f"got {text!r}, {why}")
    return path


def passing(path: Path) -> str | None:
    """Return why what is written there is soon gone, and what to do; None where it stays.

    `ray job submit --working-dir` begins a command in a folder on a disk of the head, into which Ray unpacks that of the user and
    which it deletes for want of room when the job is over.
    """
    parts = Path(os.path.realpath(path)).parts
    if UNPACKED not in parts[:-1]:
        return None
    package = Path(*parts[: parts.index(UNPACKED) + 2])
    return (
        f"inside of {package}, which Ray has unpacked for this job and deletes after it; allowed: a path on storage that stays "
        "and that every node sees. Give it from the root, such as /shared/runs/NAME."
    )


def settled(text: str | os.PathLike[str]) -> Path:
    """Return the path from the root: it means the same from any folder. Links are kept but before a `..`."""
    path = user_path(text).absolute()
    return path.resolve() if ".." in path.parts else path


def shipped(path: Path) -> Path:
    """Return where a file lies that the current folder lacks and we ship, such as `spaces/dlip.yaml`; any other path as it is."""
    ours = SPACES.parent / path
    if path.parts[:1] != (SPACES.name,) or os.path.lexists(path) or not os.path.isfile(ours):
        return path
    return ours


def is_there(text: str | os.PathLike[str]) -> bool:
    """Return whether a path leads to something, or is a pattern such as `data/*.parquet` that a file is called like."""
    path = user_path(text)
    if os.path.exists(path):  # False for a name that no disk can hold, at which `Path.exists` raises
        return True
    return has_magic(str(path)) and bool(glob(str(path), recursive=True))


def listed(value: object) -> list[str]:
    """Return the paths of an option that holds one or several; nothing else that may stand there."""
    several = value if isinstance(value, list | tuple) else [value]
    return [one for one in several if isinstance(one, str)]
