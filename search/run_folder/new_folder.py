"""The folder of a new run: made where nothing is, and taken away again where nothing was trained."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analysis.table import HISTORY_FOLDER
from search.run_folder.facts import CHECKPOINTS, LOGS, SPACE_FILE
from spaces.errors import RunError, SpaceError
from spaces.files import storage_error
from spaces.load import load_space
from spaces.owner import OWNER_FILE, check_free
from spaces.paths import passing

RUNS = Path("runs")


@dataclass(frozen=True, kw_only=True)
class NewFolder:
    """A run folder that holds nothing yet.

    Attributes:
        path: as the user named it.
        made: folders that were made for it, the innermost first; what was there before stays.
    """

    path: Path
    made: tuple[Path, ...]


def new_folder(name: str, out: Path | None, *, say: Callable[[str], None]) -> NewFolder:
    """Return a fresh run folder, made: `out`, or runs/NAME, runs/NAME-2, ...

    Raises:
        RunError: `out` holds something already, or nothing lasts where it lies.
        StorageError: it cannot be made.
    """
    check_out(out, say=say)
    usual = [RUNS / (name if number == 1 else f"{name}-{number}") for number in range(1, 10_000)]
    folders = usual if out is None else [out]
    for folder in folders:
        made = tuple(one for one in (folder, *folder.parents) if not one.exists())
        try:
            folder.mkdir(parents=True, exist_ok=out is not None)
        except FileExistsError:
            continue
        except OSError as error:
            raise storage_error(folder, error, what="folder") from error
        return NewFolder(path=folder, made=made)
    raise RunError(f"{RUNS}: holds 9,999 runs called {name}. Give a folder with --out.")


def check_out(out: Path | None, *, say: Callable[[str], None]) -> None:
    """Refuse a folder for a new run that holds something already, in which another process begins one, or that is soon gone.

    Args:
        out: None for the usual one, below the folder that a command is given in.
        say: takes a line for the user.

    Raises:
        RunError: says what it holds, or which process; or why nothing lasts there.
        StorageError: it cannot be made or written, as far as permissions tell.
    """
    if why := passing(RUNS if out is None else out):
        got = f"got none, so that the run would lie in {RUNS}" if out is None else f"got {out}"
        raise RunError(f"--out: {got}, {why}")
    if out is None:
        return
    if out.is_dir():
        check_free(out, say=say)
    check_empty(out)
    there = next(one for one in (out.absolute(), *out.absolute().parents) if one.exists())
    number = None if there.is_dir() else errno.ENOTDIR
    if number is None and not os.access(there, os.W_OK | os.X_OK):
        number = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
    if number is not None:
        raise storage_error(out, OSError(number, os.strerror(number)), what="folder")


def check_empty(out: Path) -> None:
    """Refuse a folder that holds something beside the mark of its owner.

    Raises:
        RunError: says what it holds.
    """
    if out.exists() and (not out.is_dir() or any(one.name != OWNER_FILE for one in out.iterdir())):
        what = _what_is_in(out)
        raise RunError(
            f"--out {out}: {what}; nothing is ever overwritten. Give a new folder, or --resume {out} to go on with it."
        )


def discard_untrained(folder: NewFolder) -> bool:
    """Remove a new run folder in which nothing was trained; return whether it went.

    What ends a search before its first epoch, be it a mistake, Ctrl-C or a Ray that does not start, leaves nothing behind.
    What a trial has left stays: epochs, a checkpoint, or its log, which may say why there are none. To be called by the
    owner, who found the folder empty.
    """
    path = folder.path
    kept = (f"{HISTORY_FOLDER}/*", f"{CHECKPOINTS}/*/checkpoint.pt", f"{LOGS}/*")
    if any(True for pattern in kept for _ in path.glob(pattern)):
        return False
    for entry in path.iterdir():
        if entry.name == OWNER_FILE:
            continue  # last: until then nobody else makes a run here
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return True


def remove_made(folder: NewFolder) -> None:
    """Remove the folders that were made for a run, as far as nothing is in them; to be called when nobody owns it any more."""
    for one in folder.made:
        try:
            one.rmdir()
        except OSError:  # something lies there by now
            return


def _what_is_in(out: Path) -> str:
    if not out.is_dir():
        return "is a file"
    try:
        space = load_space(out / SPACE_FILE)
    except SpaceError:
        return "is not empty"
    return f"holds a run of the space {space.name!r}"
