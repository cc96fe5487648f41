"""Who works in a run folder: one process at a time, told by `owner.json`, which lies there as long as it does.

The file itself is locked (`flock`), so of two processes that start at the same instant one wins, and a process that is
killed gives it back with its last breath: children do not inherit the descriptor. Where a file system has no locks, or
keeps them to one machine, what stands in the file decides: host, process and its start time, and when it last gave a sign
of life.
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
from pathlib import Path
from typing import Any, final

from spaces.commands import command_line
from spaces.errors import RunError
from spaces.files import storage_error

OWNER_FILE = "owner.json"
SIGN_EVERY_S = 20.0  # between signs of life, the times of the file
SILENT_S = 300.0  # without one: then a process of another machine is taken for dead
WRITING_S = 1.0  # a file that is locked and empty is being written
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
TAKEN_OVER_CODE = 2

_held: set[str] = set()  # tokens of this process, of all threads


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
    """A claim on one run folder; made by `owned`."""

    def __init__(self, folder: Path, handle: int, *, locks: bool) -> None:
        """Take an open, locked file; nothing is written yet."""
        self.path = folder / OWNER_FILE
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
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, (json.dumps(fields, indent=1) + "\n").encode(), 0)
        os.fsync(self._handle)
        _held.add(self.token)

    def watch(self) -> None:
        """Give signs of life from a thread of its own."""
        threading.Thread(target=self._live, name="owner of the run folder", daemon=True).start()

    def is_mine(self) -> bool:
        """Return whether the file at the place of ours is ours."""
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        mine = os.fstat(self._handle)
        same = (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)
        return same and (self._locks or _read(self.path).get("token") == self.token)

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
        """Touch the file now and then; end this process where another one has taken the folder over."""
        while not self._over.wait(SIGN_EVERY_S):
            with suppress(OSError):
                os.utime(self._handle)
            other = _read(self.path).get("token", self.token)
            if other != self.token and not self._over.is_set():
                told = (
                    f"error: run folder {self.path.parent}: another process has taken it over ({OWNER_FILE} is not this one's "
                    "any more); this one ends at once, and writes no more.\n"
                )
                os.write(2, told.encode())
                os._exit(TAKEN_OVER_CODE)  # in good order, it would write its tables over those of the other


@contextmanager
def owned(folder: Path, *, say: Callable[[str], None]) -> Iterator[Owner]:
    """Be the one process that works in a run folder, as long as the block lasts.

    Args:
        folder: it exists.
        say: takes a line, where the place of a process is taken that ended without giving it back.

    Raises:
        RunError: another process works there; says which, since when, and what to do.
        StorageError: nothing can be written there.
    """
    owner = _claim(folder, say=say)
    owner.watch()
    try:
        yield owner
    finally:
        owner.give_back()


def check_free(folder: Path) -> None:
    """Refuse a folder in which a process works right now, without touching anything in it.

    Raises:
        RunError: as `owned`.
    """
    found = _read(folder / OWNER_FILE)
    if found and _alive(found, folder / OWNER_FILE):
        raise RunError(_refusal(folder, found))


def _claim(folder: Path, *, say: Callable[[str], None]) -> Owner:
    """Return the claim on a folder."""
    path = folder / OWNER_FILE
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise storage_error(path, error) from error
        try:
            owner = _locked(folder, handle)
            if owner is None:  # its file was given back while we waited for it
                os.close(handle)
                continue
            _take(owner, handle, say=say)
        except OSError as error:
            os.close(handle)
            raise storage_error(path, error) from error
        except BaseException:
            os.close(handle)
            raise
        return owner


def _locked(folder: Path, handle: int) -> Owner | None:
    """Return the claim on a locked file, None if that file has left its place meanwhile.

    Raises:
        RunError: another process holds the lock.
    """
    locks = True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(_refusal(folder, _patiently(folder / OWNER_FILE))) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        locks = False
    try:
        there = os.stat(folder / OWNER_FILE).st_ino == os.fstat(handle).st_ino
    except FileNotFoundError:
        there = False
    return Owner(folder, handle, locks=locks) if there else None


def _take(owner: Owner, handle: int, *, say: Callable[[str], None]) -> None:
    """Write down a new owner, where the one before it is gone.

    Raises:
        RunError: it is not.
    """
    folder, before = owner.path.parent, _read(owner.path)
    if before and _alive(before, owner.path):
        raise RunError(_refusal(folder, before))
    owner.write()
    if not owner._locks:  # two may have come so far: the last one to write has it
        time.sleep(WRITING_S)
        if not owner.is_mine():
            _held.discard(owner.token)
            raise RunError(_refusal(folder, _read(owner.path)))
    if before and before.get("inode") == os.fstat(handle).st_ino:
        say(
            f"run folder {folder}: {_who(before)} ended without giving it back ({before.get('command')}, since "
            f"{before.get('since')}); this process takes it over"
        )


def _read(path: Path) -> dict[str, Any]:
    """Return what an owner's file says, {} where there is none, or none yet."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and {"host", "pid", "token"} <= found.keys() else {}


def _patiently(path: Path) -> dict[str, Any]:
    """Return what the file of somebody says who may only just have made it."""
    deadline = time.monotonic() + WRITING_S
    while not (found := _read(path)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _alive(owner: Mapping[str, Any], path: Path) -> bool:
    """Return whether the process of a file may still run; its lock, which we have or cannot see, is left aside."""
    try:
        status = path.stat()
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
    return time.time() - status.st_mtime < SILENT_S


def _who(owner: Mapping[str, Any]) -> str:
    """Return process and machine in words."""
    where = "on this machine" if owner["host"] == socket.gethostname() else f"on {owner['host']}"
    return f"process {owner['pid']} {where}"


def _refusal(folder: Path, owner: Mapping[str, Any]) -> str:
    """Return what to tell whoever comes second."""
    look = f"To look at its results: {command_line('analysis/report.py', folder)}"
    if not owner:
        return f"run folder {folder}: another process is about to work in it; allowed: one at a time. Wait for it. {look}"
    if owner["token"] in _held:
        return (
            f"run folder {folder}: this process works in it already; allowed: one search at a time. Wait for it, or name another "
            "folder."
        )
    what = f"({owner.get('command')}, since {owner.get('since')})"
    head = f"run folder {folder}: {_who(owner)} works in it {what}; allowed: one at a time."
    if owner["host"] == socket.gethostname():
        return f"{head} Wait for its end, or end it: kill -INT {owner['pid']} (what it has is kept). {look}"
    silence = "unknown"
    with suppress(OSError):
        silence = f"{max(0.0, time.time() - (folder / OWNER_FILE).stat().st_mtime):.0f} s ago"
    return (
        f"{head} Its last sign of life was {silence}; after {SILENT_S:.0f} s without one it is taken for dead. Wait for its end, "
        f"or end it there; if you are sure that it is gone: rm {shlex.quote(str(folder / OWNER_FILE))}. {look}"
    )
