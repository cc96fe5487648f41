"""Where derived data lives: `$XDG_CACHE_HOME/student-search`, by default `~/.cache/student-search`."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spaces.errors import ResourceError


def cache_folder(*parts: str) -> Path:
    """Return (and make) a folder of the cache.

    Raises:
        ResourceError: the folder cannot be made.
    """
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "student-search" / Path(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cache folder {folder}: {error.strerror}. Point XDG_CACHE_HOME to a folder you may write."
        ) from error
    return folder


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`, synced and renamed over it only when the block ends well.

    Raises:
        ResourceError: the disk is full or the file cannot be written; the previous file stays as it was.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        os.close(handle)
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise ResourceError(
            f"{target}: could not be written ({error.strerror or error}). Free disk space and try again."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
