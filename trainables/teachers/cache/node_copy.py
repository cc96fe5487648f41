"""A teacher cache that a node reads from a copy of its own, see `datasets.node_copies`: the same signals, sooner.

The files of a cache never change once they are complete, and each says in its header what is in it. So a copy is good where its
header is that of the storage's file; its rows are checked after they were copied, and when they are read first, as any are.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import final

from spaces.errors import InputsChanged, StorageError
from spaces.files import MIB, write_text
from spaces.turns import in_turn
from trainables.datasets.node_copies import FLAG, Say, copy_files, node_copies, place_of, uncopied
from trainables.signals import Batch, Signals, Wants
from trainables.teachers.cache.contents import read_contents
from trainables.teachers.cache.layout import META
from trainables.teachers.cache.part_file import PartFile, head_of
from trainables.teachers.cache.read import TeacherCache

NOUN = "node copy of the teacher cache"
Open = Callable[[Path], TeacherCache]


def node_copy(folder: Path, say: Say) -> Path:
    """Return the copy of a cache on this node, made by the first process that asks; or the folder itself.

    The latter where no copies are kept, or this one cannot be made: that is told, with what to do.

    Args:
        folder: of the cache, on the storage.
        say: takes a line.

    Raises:
        TeacherError: there is no cache in the folder.
    """
    if not node_copies():
        return folder
    read_contents(folder)  # of none there is no copy
    try:
        local = place_of(folder)
        if _missing(folder, local):
            with in_turn(local, NOUN, say=say):
                _copy(folder, local, say)
    except ValueError as error:  # it has arrived twice alike
        said = f"{FLAG}: no copy of {folder} is made, which is damaged there ({error})"
        say(f"{said}. The storage itself is read, and refuses the rows that are wrong")
        return folder
    except (StorageError, OSError) as error:
        say(uncopied(folder, error))
        return folder
    return local


def _copy(folder: Path, local: Path, say: Say) -> None:
    """Copy what is missing or other than on the storage; what the storage has no more goes."""
    kept = {path.name for one in read_contents(folder).sets if one.complete for path in one.paths(folder)}
    for path in local.glob("*.safetensors"):
        if path.name not in kept:
            path.unlink(missing_ok=True)
    missing = _missing(folder, local)
    pairs = [(folder / name, local / name) for name in missing if name != META]
    if pairs:
        size = sum(source.stat().st_size for source, _ in pairs) / MIB
        again = sum(target.exists() for _, target in pairs)
        say(
            f"{NOUN} {local}: copies {len(pairs)} of {len(kept)} files, {size:,.1f} MiB, from {folder}"
            + (f"; {again} there were not as on the storage" if again else "")
        )
        copy_files(pairs, lambda draft: PartFile(draft).check(), say)
        say(f"{NOUN} {local}: complete")
    write_text(
        local / META, (folder / META).read_text(encoding="utf-8")
    )  # last: it makes all of it one cache


def _missing(folder: Path, local: Path) -> list[str]:
    """Return the names of the files that a copy lacks, or has otherwise."""
    complete = [one for one in read_contents(folder).sets if one.complete]
    files = [path for one in complete for path in one.paths(folder)]
    found = [path.name for path in files if not _same(path, local / path.name)]
    with suppress(OSError):
        if (local / META).read_bytes() == (folder / META).read_bytes():
            return found
    return [*found, META]


def _same(source: Path, copy: Path) -> bool:
    """Return whether a copy has the header of its source, which tells all that is in it, and its size."""
    try:
        return os.path.getsize(copy) == os.path.getsize(source) and head_of(copy) == head_of(source)
    except FileNotFoundError:
        return False


@final
class CopiedCache:
    """A source of signals that reads a copy on this node, and has it made anew where it turns out to be damaged."""

    def __init__(self, folder: Path, opened: Open, say: Say) -> None:
        """Open the copy of a cache.

        Args:
            folder: of the cache, on the storage.
            opened: opens a cache in a folder.
            say: takes a line.

        Raises:
            TeacherError: it cannot be read, or is of something else.
        """
        self.source, self._opened, self._say = folder, opened, say
        self._cache = opened(node_copy(folder, say))

    @property
    def folder(self) -> Path:
        """Where it reads."""
        return self._cache.folder

    def holds(self, wants: Wants) -> bool:
        """Return whether all of the wants have been cached."""
        return self._cache.holds(wants)

    def fields(self, split: str, wants: Wants) -> frozenset[str]:
        """Return the fields of a batch that it looks at."""
        return self._cache.fields(split, wants)

    def signals(self, batch: Batch, wants: Wants) -> Signals:
        """Return the cached signals for the given examples, see `TeacherCache.signals`.

        Raises:
            TeacherError: they are not in the cache.
            InputsChanged: the cache on the storage is damaged.
        """
        try:
            return self._cache.signals(batch, wants)
        except InputsChanged as error:
            if self.folder == self.source:
                raise
            self._say(f"{NOUN} is damaged, and made anew: {str(error).split('. Run the command')[0]}")
        self._mend(self.folder)
        self._cache = self._opened(node_copy(self.source, self._say))
        try:
            return self._cache.signals(batch, wants)
        except InputsChanged:
            if self.folder == self.source:
                raise
            self._say(
                f"{NOUN} {self.folder}: damaged once more; reads the storage itself. Look at the disk of {socket.gethostname()}"
            )
        self._cache = self._opened(self.source)
        return self._cache.signals(batch, wants)

    def _mend(self, local: Path) -> None:
        """Take out what is damaged of a copy; another process may have done so before."""
        with suppress(StorageError), in_turn(local, NOUN, say=self._say):
            for path in local.glob("*.safetensors"):
                try:
                    PartFile(path).check()
                except (OSError, ValueError):
                    path.unlink(missing_ok=True)
