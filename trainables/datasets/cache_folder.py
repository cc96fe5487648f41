"""Where derived data lives: the storage of a search, else `$XDG_CACHE_HOME/student-search`, by default `~/.cache/student-search`.

The storage (`--storage`, `STUDENT_SEARCH_STORAGE`) is one folder that every node of a cluster sees at the same path.
The folder may be shared: what is complete is read, and never written again. Where it cannot be written, that is told; no
other folder is taken in its place, since some entries are large.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from spaces.errors import InputsChanged, ResourceError, StorageError
from spaces.files import make_folder, refusal
from spaces.paths import user_path

STORAGE = "STUDENT_SEARCH_STORAGE"
DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What reading a damaged Arrow or Parquet file raises; the last where a name or a text in it is no UTF-8."""
VARIABLE = "XDG_CACHE_HOME"
ELSEWHERE = f"Or point {VARIABLE} to a folder of your own: export {VARIABLE}=/a/folder"
OTHER_STORAGE = "Or name another storage, which every node sees: --storage /a/folder"


def cache_folder(*parts: str) -> Path:
    """Return (and make) a folder of the cache.

    Raises:
        StorageError: the folder cannot be made.
        ResourceError: there is no home folder that it could be in.
    """
    try:
        return make_folder(_base() / Path(*parts))
    except StorageError as error:
        raise StorageError(f"{'storage' if storage() else 'cache folder'} {error} {elsewhere()}") from error


def storage() -> str:
    """Return the storage that is named for this process, "" where none is and caches lie with the user's others."""
    return os.environ.get(STORAGE, "")


def elsewhere() -> str:
    """Return how one has derived data lie elsewhere."""
    return OTHER_STORAGE if storage() else ELSEWHERE


@contextmanager
def stored_in(folder: str) -> Iterator[None]:
    """Let all that this process derives lie in a folder for a while; "" leaves the choice as it is.

    Raises:
        InputsChanged: this machine does not see the folder, although whoever ordered the work does.
    """
    if not folder:
        yield
        return
    if not Path(folder).is_dir():
        raise InputsChanged(
            f"storage {folder}: {os.uname().nodename} does not see this folder, which holds what the search has prepared. "
            "Mount it there at the same path, or take that node out of the cluster; then --resume the run (nothing is lost)."
        )
    before = os.environ.get(STORAGE)
    os.environ[STORAGE] = folder
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(STORAGE, None)
        else:
            os.environ[STORAGE] = before


def unusable(path: Path, error: Exception, then: str) -> str:
    """Return what is told of a file of the cache that cannot be read.

    Args:
        path: the file.
        error: what reading it raised.
        then: what becomes of it once it is deleted, where it is damaged: `it is drawn again`.
    """
    if isinstance(error, FileNotFoundError) and path.parent.is_dir():
        return f"{path}: missing. Delete its folder; {then}."
    if isinstance(error, OSError) and error.errno:  # the system's refusal says nothing of what is in the file
        return f"{path}: cannot be read: {refusal(path, error)} {elsewhere()}"
    return f"{path}: damaged ({(str(error) or type(error).__name__).splitlines()[0]}). Delete it; {then}."


def _base() -> Path:
    """Return the folder of all that is derived."""
    if storage():
        return _settled(STORAGE)
    if os.environ.get(VARIABLE):
        return _settled(VARIABLE) / "student-search"
    try:
        return (Path.home() / ".cache").absolute() / "student-search"
    except RuntimeError as error:  # no HOME, and nobody of this number in the list of users
        raise ResourceError(
            f"cache folder: HOME is not set, and this user has no home folder. Name one: export {VARIABLE}=/a/folder"
        ) from error


def _settled(variable: str) -> Path:
    """Return the folder that a variable names, from the root."""
    named = os.environ[variable]
    base = user_path(named)  # a file of settings (.env, YAML) hands a `~` on as it stands
    if named.startswith("~") and not base.is_absolute():
        raise ResourceError(
            f"{variable}: got {named!r}, whose home folder is not known; allowed: a folder. Name one: "
            f"export {variable}=/a/folder"
        )
    if not Path(named).is_absolute():
        base = base.absolute()
        # workers have other working folders, and libraries take a `~` for a name, so it is settled here, once
        os.environ[variable] = str(base)
        what = named if named.startswith("~") else f"the relative path {named!r}"
        print(f"{variable}: got {what}; taken as {base}", file=sys.stderr, flush=True)
    return base
