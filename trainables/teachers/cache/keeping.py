"""Keeping house among the caches: what lies there, and removing what is asked."""

import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from spaces.errors import PluginError, TeacherError
from spaces.files import guarded
from spaces.owner import OWNER_FILE, Busy, Place, owned
from trainables.datasets.cache_folder import cache_folder
from trainables.teachers.cache.contents import Contents, read_contents
from trainables.teachers.cache.layout import META, VERSION

ROOM = "teacher-outputs"
MIB, DAY_S = 2**20, 86400.0
WORDS = ("incomplete", "unreadable", "all")
KEY = re.compile(r"[0-9a-f]{4,16}", re.ASCII)
COMPLETE, PARTLY, INCOMPLETE, UNREADABLE = "complete", "complete and begun", "incomplete", "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A cache that lies there.

    Attributes:
        folder: its place; the name is its key.
        contents: what it says of itself; None where it cannot be read.
        size: bytes of all its files.
        waste: of them, those of sets that were begun and never finished.
        changed: when it was last written, seconds since 1970.
    """

    folder: Path
    contents: Contents | None
    size: int
    waste: int
    changed: float

    @property
    def state(self) -> str:
        """Whether it is complete, in a word or two."""
        if self.contents is None:
            return UNREADABLE
        if not self.contents.wants:
            return INCOMPLETE
        return COMPLETE if all(one.complete for one in self.contents.sets) else PARTLY

    def line(self) -> str:
        """Return what is told of it."""
        age = max(0.0, time.time() - self.changed) / DAY_S
        told = dict(self.contents.told) if self.contents else {}
        precision = self.contents.parts.get("precision", "?") if self.contents else "?"
        what = " ".join(f"{name}={told[name]}" for name in ("teacher", "data", "split") if name in told)
        signals = f", {len(self.contents.wants)} signals in {precision}" if self.contents else ""
        return f"{self.folder.name}  {self.size / MIB:10,.1f} MiB  {age:5.1f} days  {self.state}{signals}  {what}".rstrip()


def kept_caches() -> list[Kept]:
    """Return all caches of the storage or of this user, the largest first.

    Raises:
        StorageError: the folder cannot be made.
    """
    found = []
    for folder in cache_folder(ROOM).iterdir():
        if folder.is_dir() and KEY.fullmatch(folder.name):
            with suppress(FileNotFoundError):  # another process has just removed it
                found.append(_looked_at(folder))
    return sorted(found, key=lambda one: (-one.size, one.folder.name))


def chosen(caches: Sequence[Kept], words: Sequence[str]) -> list[Kept]:
    """Return the caches that words name: beginnings of keys, or a state.

    Raises:
        PluginError: a word that names none.
    """
    found: list[Kept] = []
    for word in words:
        if word in WORDS:
            fitting = [one for one in caches if _fits(one, word)]
        elif KEY.fullmatch(word):
            fitting = [one for one in caches if one.folder.name.startswith(word)]
            if not fitting:
                raise PluginError(f"--prune {word}: no cache has a key that begins so. See --list.")
        else:
            raise PluginError(
                f"--prune: got {word!r}; allowed: the beginning of a key (4 digits or more), {', '.join(WORDS)}."
            )
        found += [one for one in fitting if one not in found]
    return found


def removable(one: Kept, words: Sequence[str]) -> int:
    """Return the bytes that go: of a cache with complete sets that only `incomplete` names, those of the others."""
    return one.waste if _is_thinned(one, words) else one.size


def remove(one: Kept, words: Sequence[str], *, say: Callable[[str], None]) -> bool:
    """Remove a cache, or its unfinished sets; return whether that was done: one that is being filled is left alone.

    Raises:
        StorageError: it cannot be removed.
    """
    place = Place(noun="teacher cache", path=one.folder, mark=one.folder / OWNER_FILE, ends=False)
    try:
        with owned(place, say=say), guarded(one.folder, "folder"):
            if _is_thinned(one, words):
                _thin(one.folder)
            else:
                (one.folder / META).unlink(missing_ok=True)  # first: from now on nobody takes it for a cache
                for path in one.folder.iterdir():
                    if path.name != OWNER_FILE:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
        with guarded(one.folder, "folder"):
            if not _is_thinned(one, words):
                one.folder.rmdir()
    except Busy as busy:
        say(f"teacher cache {one.folder}: {busy.who or 'another process'} fills it; left as it is")
        return False
    return True


def _thin(folder: Path) -> None:
    """Remove the files of unfinished sets."""
    contents = read_contents(folder)
    for one in contents.sets:
        for path in () if one.complete else one.paths(folder):
            path.unlink(missing_ok=True)
    replace(contents, sets=tuple(one for one in contents.sets if one.complete)).write(folder)


def _is_thinned(one: Kept, words: Sequence[str]) -> bool:
    """Return whether only a part of a cache goes."""
    named = "all" in words or any(one.folder.name.startswith(word) for word in words)
    return one.state == PARTLY and not named


def _fits(one: Kept, word: str) -> bool:
    if word == "incomplete":
        return one.state in (INCOMPLETE, PARTLY)
    return word == "all" or one.state == UNREADABLE


def _looked_at(folder: Path) -> Kept:
    files, made = dict(_files(folder)), folder.stat().st_mtime
    try:
        contents: Contents | None = read_contents(folder)
    except TeacherError:
        contents = None
    if contents is not None and contents.parts.get("code") != f"version {VERSION}":
        contents = None
    begun = (
        {path for one in contents.sets if not one.complete for path in one.paths(folder)}
        if contents
        else set()
    )
    return Kept(
        folder=folder,
        contents=contents,
        size=sum(status.st_size for status in files.values()),
        waste=sum(status.st_size for path, status in files.items() if path in begun),
        changed=max((status.st_mtime for status in files.values()), default=made),
    )


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield all files with what the system says of them, but those that get their place, or go, while they are looked at."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                yield path, status
