"""Where derived data lives: `$XDG_CACHE_HOME/student-search`, by default `~/.cache/student-search`.

The folder may be shared: what is complete is read, and never written again. Where it cannot be written, that is told; no
other folder is taken in its place, since some entries are large.
"""

import os
import sys
from pathlib import Path

from spaces.errors import ResourceError, StorageError
from spaces.files import make_folder, refusal
from spaces.paths import user_path

VARIABLE = "XDG_CACHE_HOME"
ELSEWHERE = f"Or point {VARIABLE} to a folder of your own: export {VARIABLE}=/a/folder"


def cache_folder(*parts: str) -> Path:
    """Return (and make) a folder of the cache.

    Raises:
        StorageError: the folder cannot be made.
        ResourceError: there is no home folder that it could be in.
    """
    try:
        return make_folder(_base() / "student-search" / Path(*parts))
    except StorageError as error:
        raise StorageError(f"cache folder {error} {ELSEWHERE}") from error


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
        return f"{path}: cannot be read: {refusal(path, error)} {ELSEWHERE}"
    return f"{path}: damaged ({(str(error) or type(error).__name__).splitlines()[0]}). Delete it; {then}."


def _base() -> Path:
    """Return the folder of all caches of this user."""
    named = os.environ.get(VARIABLE)
    if not named:
        try:
            return (Path.home() / ".cache").absolute()
        except RuntimeError as error:  # no HOME, and nobody of this number in the list of users
            raise ResourceError(
                f"cache folder: HOME is not set, and this user has no home folder. Name one: export {VARIABLE}=/a/folder"
            ) from error
    base = user_path(named)  # a file of settings (.env, YAML) hands a `~` on as it stands
    if named.startswith("~") and not base.is_absolute():
        raise ResourceError(
            f"{VARIABLE}: got {named!r}, whose home folder is not known; allowed: a folder. Name one: "
            f"export {VARIABLE}=/a/folder"
        )
    if not Path(named).is_absolute():
        base = base.absolute()
        # workers have other working folders, and libraries take a `~` for a name, so it is settled here, once
        os.environ[VARIABLE] = str(base)
        what = named if named.startswith("~") else f"the relative path {named!r}"
        print(f"{VARIABLE}: got {what}; taken as {base}", file=sys.stderr, flush=True)
    return base
