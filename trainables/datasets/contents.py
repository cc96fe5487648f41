"""What files hold, as a hash of their bytes: read once, and again only when something wrote to them.

To hash a hundred thousand pictures takes minutes, and every process of a search needs the hashes. So they are kept in the
cache folder beside what `stat` said of the file: inode, size, and the times of its last write and of its last change of any
kind (ctime). Nobody but the kernel sets the last one, and every write moves it: a file that was changed and given its old
time again is read again. As in git's index, a file that was changed within the last seconds before it was read is not kept:
another write in the same tick of the clock would not be seen.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from spaces.errors import ResourceError
from spaces.files import write_text
from trainables.datasets.base import Progress
from trainables.datasets.cache_folder import cache_folder

VERSION = 1
SETTLED_S = 3.0  # coarser clocks than two seconds are known on no file system
TOLD_EVERY = 5000
CHUNK = 500
PART = 20  # files for which a thread is woken once: to look at one that is known takes less time than that

State = tuple[int, int, int, int]
"""Inode, size in bytes, nanoseconds of the last write, and of the last change of any kind."""


def state_of(path: Path) -> State:
    """Return what moves whenever a file is written or replaced.

    Raises:
        OSError: it cannot be looked at.
    """
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Contents:
    """Hashes of files, kept from one process to the next.

    Attributes:
        states: path -> what the file was when it was hashed.
    """

    def __init__(self, owner: str, *, largest: int | None = None) -> None:
        """Take what the files are.

        Args:
            owner: a text that tells one collection of files from another, such as the path of a data set.
            largest: bytes of a file at most; a larger one is told and not read. None for any.
        """
        self.owner, self._largest = owner, largest
        self.states: dict[Path, State] = {}

    def hashes(self, paths: Sequence[Path], progress: Progress) -> list[str | OSError]:
        """Return the hash of every file's bytes, or what hinders to read it.

        Args:
            paths: of regular files.
            progress: told of files that are read, not of those that are known.
        """
        known, read = self._known(), 0
        found: list[str | OSError] = []
        fresh: dict[str, list[int | str]] = {}
        with ThreadPoolExecutor() as pool:
            for first in range(0, len(paths), CHUNK):
                chunk = paths[first : first + CHUNK]
                parts = [chunk[start : start + PART] for start in range(0, len(chunk), PART)]
                hashed = chain.from_iterable(
                    pool.map(lambda part: [_hashed(path, known, self._largest) for path in part], parts)
                )
                for path, (digest, state, new) in zip(chunk, hashed, strict=True):
                    found.append(digest)
                    if state is None or isinstance(digest, OSError):
                        continue
                    self.states[path] = state
                    read += new
                    if not new or time.time() - max(state[2:]) / 1e9 > SETTLED_S:
                        fresh[str(path)] = [*state, digest]
                done = first + len(chunk)
                if read and len(paths) > TOLD_EVERY and (done == len(paths) or done % TOLD_EVERY == 0):
                    progress(f"pictures: contents of {done:,} of {len(paths):,} files read")
        if read and fresh != known:
            self._keep(fresh)
        return found

    def is_as_it_was(self, path: Path) -> bool:
        """Return whether nothing has written to a file since it was hashed; True for one that never was.

        Raises:
            OSError: it cannot be looked at.
        """
        return path not in self.states or state_of(path) == self.states[path]

    def _file(self) -> Path:
        name = hashlib.sha256(f"{VERSION}|{self.owner}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return cache_folder("contents") / f"{name}.json"

    def _known(self) -> dict[str, list[int | str]]:
        """Return path -> state and hash of earlier; {} where nothing readable is kept: all is read again then."""
        try:
            kept = json.loads(self._file().read_text())
        except (OSError, ValueError, RecursionError, ResourceError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _keep(self, fresh: dict[str, list[int | str]]) -> None:
        try:
            write_text(self._file(), json.dumps(fresh))
        except ResourceError:
            return  # it saves time only. A cache folder that cannot be written is told by those who need it


def _hashed(
    path: Path, known: dict[str, list[int | str]], largest: int | None
) -> tuple[str | OSError, State | None, bool]:
    """Return hash and state of a file, and whether it was read."""
    try:
        state = state_of(path)
        kept = known.get(str(path))
        if isinstance(kept, list) and kept[:-1] == list(state) and isinstance(kept[-1], str):
            return kept[-1], state, False
        if largest is not None and state[1] > largest:
            raise OSError(None, f"it has {state[1]:,} bytes, more than {largest:,}")
        with path.open("rb") as source:
            digest = hashlib.file_digest(source, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        if state_of(path) != state:
            raise OSError(None, "it changes while it is read")
        return digest, state, True
    except OSError as error:
        return error, None, True


def reason(error: OSError) -> str:
    """Return why a file cannot be read, without its path, which stands in the message already."""
    return error.strerror or (os.strerror(error.errno) if error.errno else str(error))
