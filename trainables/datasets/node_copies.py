"""Copies of what lies on shared storage, on a disk of this node: made by one process for all of it, checked before they are read.

Off unless a folder is named (`--node-copies`, `STUDENT_SEARCH_NODE_COPIES`). Where a copy cannot be made, that is told, and the
shared storage is read.
"""

import errno
import hashlib
import json
import os
import shutil
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spaces.errors import StorageError
from spaces.files import MIB, atomic_path, make_folder, write_text
from spaces.turns import in_turn

NODE_COPIES = "STUDENT_SEARCH_NODE_COPIES"
FLAG = "--node-copies"
PIECE = 16 * MIB  # read at a time
SPARE = 256 * MIB  # that a copy leaves free: a full disk is in the way of everybody else on the node
TOLD_EVERY_S = 30.0

Say = Callable[[str], None]
Check = Callable[[Path], None]
"""Raises ValueError where a file is damaged."""

_listeners: list[
    Say
] = []  # of the training that this process does; none reads what is prepared where there is no training


def node_copies() -> str:
    """Return the folder of this node's copies, `~` being the home of whoever reads it; "" where it keeps none."""
    return os.path.expanduser(os.environ.get(NODE_COPIES, ""))


@contextmanager
def copied_to(folder: str) -> Iterator[None]:
    """Let this process keep copies in a folder for a while; "" leaves the choice as it is."""
    if not folder:
        yield
        return
    before = os.environ.get(NODE_COPIES)
    os.environ[NODE_COPIES] = folder
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(NODE_COPIES, None)
        else:
            os.environ[NODE_COPIES] = before


@contextmanager
def heard_by(say: Say) -> Iterator[None]:
    """Let `near_file` copy for a while, and tell somebody of it."""
    _listeners.append(say)
    try:
        yield
    finally:
        _listeners.pop()


def near_file(source: Path) -> Path:
    """Return the copy of a file that never changes, made by the first training on this node that asks; or the file itself.

    The latter where no copies are kept, where nobody trains in this process, and where it cannot be made, which is told. That the
    copy arrived as it was is checked when it is made; after that, that it is of the same source, and whole.
    """
    if not node_copies() or not _listeners:
        return source
    say = _listeners[-1]
    try:
        target = place_of(source.parent) / source.name
        if not _is_of(source, target):
            with in_turn(target, "node copy", say=say):
                if not _is_of(source, target):
                    say(f"node copy {target}: copies {source.stat().st_size / MIB:,.1f} MiB from {source}")
                    copy_files([(source, target)], lambda draft: None, say)
                    write_text(_note(target), _origin(source))
    except (StorageError, OSError, ValueError) as error:
        say(uncopied(source, error))
        return source
    return target


def uncopied(source: Path, error: Exception) -> str:
    """Return what is told of something that is not copied, and read from the storage."""
    return (
        f"{FLAG} {node_copies()}: the node {socket.gethostname()} makes no copy of {source}: {error} The storage itself is read, "
        f"which may be slower. Free disk space there, or name another folder that this node may write: {FLAG} DIR"
    )


def _note(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _origin(source: Path) -> str:
    """Return what tells a file from what may stand in its place later."""
    found = source.stat()
    return json.dumps({"source": str(source), "bytes": found.st_size, "changed": found.st_mtime_ns})


def _is_of(source: Path, target: Path) -> bool:
    """Return whether a copy is there, and whole."""
    try:
        noted = _note(target).read_text(encoding="utf-8")
        return noted == _origin(source) and target.stat().st_size == source.stat().st_size
    except FileNotFoundError:
        return False


def place_of(source: Path) -> Path:
    """Return where the copy of a folder of the storage lies; that of another storage lies elsewhere.

    Raises:
        StorageError: its folder cannot be made.
    """
    digest = hashlib.sha256(os.fsencode(source.absolute())).hexdigest()[:8]
    return make_folder(Path(node_copies()) / source.parent.name / f"{source.name}-{digest}")


def usable(folder: str) -> str:
    """Return what hinders this node to keep copies in a folder, "" where nothing does."""
    probe = Path(folder) / f".probe-{os.getpid()}"
    try:
        make_folder(Path(folder))
        write_text(probe, "")
        probe.unlink()
    except Exception as error:  # whatever it is, it is told where the search was started
        return str(error)
    return ""


def copy_files(pairs: Sequence[tuple[Path, Path]], check: Check, say: Say) -> None:
    """Copy files, each whole or not at all, and check what has arrived; one that is damaged on its way is copied once more.

    Args:
        pairs: source and target of each.
        check: of a file that has arrived.
        say: takes a line on the progress, now and then.

    Raises:
        OSError, StorageError: a source cannot be read, a target not be written, or there is not the room for all.
        ValueError: a source is damaged itself.
    """
    sizes = [source.stat().st_size for source, _ in pairs]
    folder, whole = pairs[0][1].parent, sum(sizes)
    free = shutil.disk_usage(folder).free
    if free < whole + SPARE:
        raise OSError(
            errno.ENOSPC,
            f"{whole / MIB:,.1f} MiB are to be copied, {free / MIB:,.1f} MiB are free, of which {SPARE / MIB:.0f} are left alone",
        )
    done, began, told = 0, time.monotonic(), time.monotonic()

    def tell(count: int) -> None:
        nonlocal done, told
        done += count
        if time.monotonic() - told >= TOLD_EVERY_S:
            told = time.monotonic()
            say(
                f"node copy {folder}: {done / MIB:,.0f} of {whole / MIB:,.0f} MiB, {told - began:.0f} s so far"
            )

    for (source, target), size in zip(pairs, sizes, strict=True):
        with atomic_path(target, needed=size) as draft:
            try:
                _copy(source, draft, tell)
                check(draft)
            except ValueError as error:
                say(f"node copy {target}: damaged on its way ({error}); copied once more")
                _copy(source, draft, tell)
                check(draft)


def _copy(source: Path, draft: Path, tell: Callable[[int], None]) -> None:
    """Copy a file, and read it back.

    Raises:
        ValueError: it has not arrived as it was.
    """
    sent = arrived = 0
    with source.open("rb") as read, draft.open("wb") as written:
        while piece := read.read(PIECE):
            sent = zlib.crc32(piece, sent)
            written.write(piece)
            tell(len(piece))
    with draft.open("rb") as read:
        while piece := read.read(PIECE):
            arrived = zlib.crc32(piece, arrived)
    if sent != arrived:
        raise ValueError(f"checksum {arrived:08x}, sent was {sent:08x}")
