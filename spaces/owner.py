"""Who works in a folder, or makes a file: one process at a time, told by `owner.json`, which lies there as long as it does.

The file itself is locked (`flock`), so of two processes that start at the same instant one wins, and a process that is
killed gives it back with its last breath: children do not inherit the descriptor. Where a file system has no locks, or
keeps them to one machine, what stands in the file decides: host, process and its start time, and when it last gave a sign
of life. Clocks of two machines may differ by hours, and be set while we look: nobody is taken for dead before he was watched.
"""

import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from spaces.commands import command_line
from spaces.errors import RunError
from spaces.files import storage_error

OWNER_FILE = "owner.json"
SIGN_EVERY_S = 20.0  # between signs of life, the times of the file
SILENT_S = 300.0  # without one: then a process of another machine is watched, and taken for dead
WATCHED_S = 1.5 * SIGN_EVERY_S
LOOK_EVERY_S = 1.0
WRITING_S = 1.0  # a file that is locked and empty is being written
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
TAKEN_OVER_CODE = 2
TOLD = {"host": str, "pid": int, "token": str}  # by every owner

_held: set[str] = set()  # tokens of this process, of all threads
_silent: set[tuple[str, int]] = set()  # tokens and last signs of those watched in vain: once is enough


class Busy(RunError):
    """Another process, or another thread of this one, works there.

    Attributes:
        who: in words; "" if it has not said so yet.
    """

    def __init__(self, message: str, who: str) -> None:
        super().__init__(message)
        self.who = who


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one process at a time may work.

    Attributes:
        noun: what it is called.
        path: of the folder, which exists; or of the file that is to be made.
        mark: the file that tells the owner.
        kept: what becomes of the work of a process that is interrupted.
        look: what can be done meanwhile.
        ends: whether a process whose place was taken over by another one must end.
    """

    noun: str
    path: Path
    mark: Path
    kept: str = ""
    look: str = ""
    ends: bool = True

    def __str__(self) -> str:
        return f"{self.noun} {self.path}"


def run_place(folder: Path) -> Place:
    """Return a run folder as a place to work in."""
    look = f"To look at its results: {command_line('analysis/report.py', folder)}"
    return Place(
        noun="run folder",
        path=folder,
        mark=folder / OWNER_FILE,
        kept=" (what it has is kept)",
        look=look,
    )


def _here() -> dict[str, Any]:
    """Return what tells this machine, this start of it, and this set of process numbers (a container has its own)."""

    def text(path: str) -> str:
        with suppress(OSError):
            return Path(path).read_text().strip()
        return ""

    numbers = ""
    with suppress(OSError):
        numbers = os.readlink("/proc/self/ns/pid")
    return {
        "host": socket.gethostname(),
        "boot": text("/proc/sys/kernel/random/boot_id"),
        "numbers": numbers,
    }


def started_at(pid: int) -> str:
    """Return when a process started, in ticks since the machine did: another one of the same number differs; "" if there is none.

    A process that has ended and only waits to be asked for its exit code does not count.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


@final
class Owner:
    """A claim on one place; made by `owned`."""

    def __init__(self, place: Place, handle: int, *, locks: bool) -> None:
        """Take an open, locked file; nothing is written yet."""
        self.place, self.path = place, place.mark
        self.token = uuid.uuid4().hex
        self._handle, self._locks = handle, locks
        self._over = threading.Event()

    def write(self) -> None:
        """Put this process down as the owner, and begin with its signs of life.

        Raises:
            OSError: it cannot be written.
        """
        fields = {
            **_here(),
            "pid": os.getpid(),
            "process_start": started_at(os.getpid()),
            "command": shlex.join(["python", *sys.argv]),
            "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            "inode": os.fstat(self._handle).st_ino,  # a copy of the folder is nobody's
            "token": self.token,
        }
        _held.add(self.token)  # first: another thread may read the file as soon as it is written
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, (json.dumps(fields, indent=1) + "\n").encode(), 0)
        os.fsync(self._handle)

    def watch(self) -> None:
        """Give signs of life from a thread of its own."""
        threading.Thread(target=self._live, name=f"owner of the {self.place.noun}", daemon=True).start()

    def is_mine(self) -> bool:
        """Return whether the file at the place of ours is ours."""
        return self.in_place() and (self._locks or _read(self.path).get("token") == self.token)

    def in_place(self) -> bool:
        """Return whether the open file is still the one that others find."""
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        mine = os.fstat(self._handle)
        return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)

    def give_back(self) -> None:
        """Remove the file, if it is still ours."""
        self._over.set()
        _held.discard(self.token)
        with suppress(OSError):
            if self.is_mine():
                os.ftruncate(self._handle, 0)  # says the same as no file, should it not go
                self.path.unlink()
        os.close(self._handle)

    def _live(self) -> None:
        """Touch the file now and then; end this process where another one has taken the place over, unless both may work."""
        while not self._over.wait(SIGN_EVERY_S):
            with suppress(OSError):
                os.utime(self._handle)
            other = _read(self.path).get("token", self.token)
            if other != self.token and self.place.ends and not self._over.is_set():
                told = (
                    f"error: {self.place}: another process has taken it over ({self.path.name} is not this one's "
                    "any more); this one ends at once, and writes no more.\n"
                )
                os.write(2, told.encode())
                os._exit(TAKEN_OVER_CODE)  # in good order, it would write its tables over those of the other


@contextmanager
def owned(place: Path | Place, *, say: Callable[[str], None]) -> Iterator[Owner]:
    """Be the one process that works in a place, as long as the block lasts.

    Args:
        place: a run folder, or another place.
        say: takes a line, where the place of a process is taken that ended without giving it back.

    Raises:
        Busy: another process works there; says which, since when, and what to do.
        StorageError: nothing can be written there.
    """
    owner = _claim(place if isinstance(place, Place) else run_place(place), say=say)
    owner.watch()
    try:
        yield owner
    finally:
        owner.give_back()


def check_free(folder: Path, *, say: Callable[[str], None]) -> None:
    """Refuse a run folder in which a process works right now, without touching anything in it.

    Raises:
        Busy: as `owned`.
    """
    place = run_place(folder)
    found = _read(place.mark)
    if found and _alive(found, place, say=say):
        raise _busy(place, found)


def _claim(place: Place, *, say: Callable[[str], None]) -> Owner:
    """Return the claim on a place."""
    while True:
        try:
            handle = os.open(place.mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise storage_error(place.mark, error) from error
        try:
            owner = _locked(place, handle)
            if owner is None or not _take(
                owner, handle, say=say
            ):  # its file was given back while we waited for it
                os.close(handle)
                continue
        except OSError as error:
            os.close(handle)
            raise storage_error(place.mark, error) from error
        except BaseException:
            os.close(handle)
            raise
        return owner


def _locked(place: Place, handle: int) -> Owner | None:
    """Return the claim on a locked file, None if that file has left its place meanwhile.

    Raises:
        Busy: another process holds the lock.
    """
    locks = True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _busy(place, _patiently(place.mark)) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        locks = False
    owner = Owner(place, handle, locks=locks)
    return owner if owner.in_place() else None


def _take(owner: Owner, handle: int, *, say: Callable[[str], None]) -> bool:
    """Write down a new owner, where the one before it is gone; return False if the file left its place meanwhile.

    Raises:
        Busy: it is not gone.
    """
    place, before = owner.place, _read(owner.path)
    if before and _alive(before, place, say=say):
        raise _busy(place, before)
    if not owner.in_place():
        return False
    owner.write()
    if not owner._locks:  # two may have come so far: the last one to write has it
        time.sleep(WRITING_S)
        if not owner.is_mine():
            _held.discard(owner.token)
            raise _busy(place, _read(owner.path))
    if before and before.get("inode") == os.fstat(handle).st_ino:
        ended = f"{_who(before)} ended without giving it back {_doing(before)}"
        say(f"{place}: {ended}; this process takes it over")
    return True


def _read(path: Path) -> dict[str, Any]:
    """Return what an owner's file says, {} where there is none, or none yet."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    sound = isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in TOLD.items())
    return found if sound else {}


def _patiently(path: Path) -> dict[str, Any]:
    """Return what the file of somebody says who may only just have made it."""
    deadline = time.monotonic() + WRITING_S
    while not (found := _read(path)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _alive(owner: Mapping[str, Any], place: Place, *, say: Callable[[str], None]) -> bool:
    """Return whether the process of a file may still run; its lock, which we have or cannot see, is left aside."""
    try:
        status = place.mark.stat()
    except OSError:
        return False
    if owner.get("inode") != status.st_ino:
        return False  # copied with its folder
    if owner["token"] in _held:
        return True
    here = _here()
    if all(owner.get(name) == here[name] for name in here):
        start = started_at(int(owner["pid"]))
        return bool(start) and start == owner.get("process_start") and int(owner["pid"]) != os.getpid()
    if owner["host"] == here["host"]:
        return False  # the machine, or the container, was started anew
    silent = time.time() - status.st_mtime
    if silent < SILENT_S:
        return True
    if (owner["token"], status.st_mtime_ns) in _silent:
        return False
    say(
        f"{place}: {_who(owner)} gave its last sign of life {silent:,.0f} s ago by this machine's clock, which may differ from "
        f"that of the disk; watching it for {WATCHED_S:.0f} s"
    )
    return _gives_a_sign(owner, place.mark)


def _gives_a_sign(owner: Mapping[str, Any], mark: Path) -> bool:
    """Return whether a process gives a sign of life while we look: no clock is compared with another one."""
    first, until = _sign(mark), time.monotonic() + WATCHED_S
    while first is not None and (left := until - time.monotonic()) > 0:
        time.sleep(min(LOOK_EVERY_S, left))
        now = _sign(mark)
        if now != first:
            return now is not None
    if first is not None:
        _silent.add((owner["token"], first))
    return False


def _sign(mark: Path) -> int | None:
    """Return the last sign of life, None if the file has gone; it is opened, for which network disks ask their server."""
    try:
        with mark.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None


def _who(owner: Mapping[str, Any]) -> str:
    """Return process and machine in words."""
    where = "on this machine" if owner["host"] == socket.gethostname() else f"on {owner['host']}"
    return f"process {owner['pid']} {where}"


def _doing(owner: Mapping[str, Any]) -> str:
    return f"({owner.get('command') or 'unknown'}, since {owner.get('since') or 'unknown'})"


def _busy(place: Place, owner: Mapping[str, Any]) -> Busy:
    """Return what to tell whoever comes second."""
    if not owner:
        return Busy(
            f"{place}: another process is about to work in it; allowed: one at a time. Wait for it. {place.look}".rstrip(),
            "",
        )
    if owner["token"] in _held:
        return Busy(
            f"{place}: this process works in it already; allowed: one at a time. Wait for it, or name another folder.",
            "another thread of this process",
        )
    head = f"{place}: {_who(owner)} works in it {_doing(owner)}; allowed: one at a time."
    if owner["host"] == socket.gethostname():
        told = f"{head} Wait for its end, or end it: kill -INT {owner['pid']}{place.kept}. {place.look}"
    else:
        told = (
            f"{head} Its last sign of life {_silence(place.mark)}; after {SILENT_S:.0f} s without one it is taken for dead. "
            f"Wait for its end, or end it there; if you are sure that it is gone: rm {shlex.quote(str(place.mark))}. {place.look}"
        )
    return Busy(told.rstrip(), _who(owner))


def _silence(mark: Path) -> str:
    """Return when a process gave its last sign of life, as far as the clocks agree."""
    try:
        silent = time.time() - mark.stat().st_mtime
    except OSError:
        return "is unknown"
    if silent < -SIGN_EVERY_S:
        return f"lies {-silent:,.0f} s ahead of this machine's clock (the clocks differ)"
    return f"was {max(0.0, silent):.0f} s ago"
