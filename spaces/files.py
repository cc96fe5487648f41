"""The one writer of files: whole or not at all, for whoever may read the folder, and every failure told by its cause.

A file that is replaced (`atomic_path`) is written as a draft beside its place, synced, and renamed; a ledger that grows
(`append`) is synced after each entry; a file that is mapped into memory has its space reserved first (`reserve`), since a
disk that fills under a map kills the process. Drafts of killed processes are recognised by their names and removed.
"""

import errno
import hashlib
import os
import pwd
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from spaces.errors import StorageError, StudentSearchError

DRAFT = ".draft-"  # drafts are called .draft-HOST-PID-RANDOM-NAME
# after it a draft of another host, or of a process number that is in use again, is given up
STALE_S = 24 * 3600.0
MIB = 2**20
_NAME = re.compile(r"\.draft-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}-")
_KEPT_NAME_BYTES = 64  # of the target's name in a draft's: the longest allowed one leaves no room for all
_FOREIGN = re.compile(r"\(os error (\d+)\)")  # how libraries written in Rust tell of the system
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EBADF, errno.EROFS)
_TROUBLES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NO_RESERVE = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
_cleaned: set[Path] = set()  # folders that this process has looked through for old drafts


@contextmanager
def atomic_path(target: Path, *, needed: int | None = None) -> Iterator[Path]:
    """Give a draft beside `target`; on a clean exit it is synced and takes the target's place.

    A reader sees the old file or the new one, never half of one, also after a power cut. A new file gets the permissions
    that the umask leaves, a replaced one keeps its own. A link is followed; a device or pipe is written directly.

    Args:
        target: the file; its folder exists.
        needed: bytes that will be written, if known, for the message.

    Raises:
        StorageError: it cannot be written, whatever library tried; the file is as it was, and no draft is left.
    """
    target = Path(os.path.realpath(target)) if os.path.islink(target) else target
    if _takes_all(target):
        with guarded(target, needed=needed):
            yield target
        return
    with guarded(target, needed=needed):
        draft = _new_draft(target)
        try:
            yield draft
            _sync(draft)
            os.replace(draft, target)
        finally:
            with suppress(OSError):  # gone when it took the target's place; else what stopped us is told
                draft.unlink(missing_ok=True)
        _sync_folder(target.parent)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a draft folder beside `target`, which must not be there; on a clean exit it is synced and renamed.

    Raises:
        StorageError: it cannot be written, or something is there; no draft is left.
    """
    with guarded(target):
        _clean(target.parent)
        draft = _draft_path(target)
        draft.mkdir()
        try:
            yield draft
            for file in sorted(draft.rglob("*")):
                if file.is_file():
                    _sync(file)
            os.rename(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _sync_folder(target.parent)


def write_text(target: Path, text: str) -> None:
    """Replace a file by a text, see `atomic_path`.

    Raises:
        StorageError: it cannot be written; the file is as it was.
    """
    data = text.encode("utf-8")
    with atomic_path(target, needed=len(data)) as draft:
        draft.write_bytes(data)


def append(path: Path, text: str) -> None:
    """Add whole lines to a ledger, on disk when this returns; a line that a kill left torn is closed first.

    A device or pipe, such as /dev/null, gets them as they are.

    Raises:
        StorageError: they cannot be written; the ledger then holds what it held.
    """
    if _takes_all(path):
        with guarded(path), path.open("ab") as sink:
            sink.write(text.encode("utf-8"))
        return
    with guarded(path, needed=len(text)), path.open("ab") as sink:
        size = sink.seek(0, os.SEEK_END)
        with path.open("rb") as written:
            torn = size > 0 and (written.seek(size - 1), written.read(1))[1] != b"\n"
        try:
            sink.write(b"\n" * torn + text.encode("utf-8"))
            sink.flush()
            os.fsync(sink.fileno())
        except OSError:
            with suppress(OSError):  # what is not whole is taken back; a torn end is read over anyway
                os.truncate(path, size)
            raise


def _takes_all(path: Path) -> bool:
    """Return whether a path is a device or pipe: nothing of it can be synced, replaced or taken back."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def make_folder(folder: Path) -> Path:
    """Return a folder, made with its parents where it is not there.

    Raises:
        StorageError: it cannot be made.
    """
    if not os.path.isdir(folder):  # where Path.is_dir would raise on a folder that may not be entered
        with guarded(folder, "folder"):
            folder.mkdir(parents=True, exist_ok=True)
    return folder


def reserve(path: Path, num_bytes: int) -> None:
    """Take the space of a file before a memory map of it is written: a full disk is told here, not by a bus error.

    Where the file system cannot reserve, its free space is looked at.

    Raises:
        StorageError: the disk has no room.
    """
    with guarded(path, needed=num_bytes):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            os.posix_fallocate(handle, 0, num_bytes)
        except OSError as error:
            if error.errno not in _NO_RESERVE:
                raise
            held = os.fstat(handle).st_blocks * 512
            if shutil.disk_usage(path.parent).free + held < num_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        finally:
            os.close(handle)


@contextmanager
def guarded(path: Path, what: str = "file", *, needed: int | None = None) -> Iterator[None]:
    """Tell each failure of the system inside the block as one StorageError about `path`.

    Args:
        path: what is written.
        what: it is, `file` or `folder`.
        needed: bytes that are written, if known.

    Raises:
        StorageError: the system refused.
    """
    try:
        yield
    except OSError as error:
        if _is_of_another(error, path):
            raise
        raise storage_error(path, error, what=what, needed=needed) from error
    except StudentSearchError:
        raise
    except Exception as error:
        found = _FOREIGN.search(str(error))  # libraries in Rust wrap the system's errors in their own
        if not found:
            raise
        told = OSError(int(found[1]), os.strerror(int(found[1])))
        raise storage_error(path, told, what=what, needed=needed) from error


def _is_of_another(error: OSError, path: Path) -> bool:
    """Return whether an error names a file that has nothing to do with `path`: something that was read meanwhile."""
    if not isinstance(error.filename, str | bytes):
        return False
    named, here = Path(os.fsdecode(error.filename)).absolute(), path.absolute()
    return not (named.is_relative_to(here.parent) or here.is_relative_to(named))


def is_storage_trouble(error: BaseException) -> bool:
    """Return whether an error, of whatever library, comes of a disk that takes no more; it is nobody's work that failed.

    Told by its words where it has crossed a process: a disk may fill under files that are not ours, too.
    """
    if isinstance(error, StorageError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _TROUBLES
    return any(os.strerror(number) in str(error) for number in _TROUBLES)


def storage_error(
    path: Path, error: OSError, *, what: str = "file", needed: int | None = None
) -> StorageError:
    """Return an error of the system as one message: where, why, what to do."""
    verb = "be made" if what == "folder" else "be written"
    return StorageError(f"{path}: cannot {verb}: {refusal(path, error, needed)}")


def refusal(path: Path, error: OSError, needed: int | None = None) -> str:
    """Return cause and remedy of an error of the system, for readers too: what they may not read is not damaged."""
    number, folder = error.errno, _standing(path)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return _no_room(number, folder, needed)
    if number in (errno.EACCES, errno.EPERM):
        return _not_allowed(path, folder)
    if number in (errno.ENOENT, errno.ESTALE) and not os.path.isdir(path.parent):
        return f"its folder {path.parent} is not there (deleted, or no longer mounted). Put it back, or name another."
    return {
        errno.EROFS: f"{folder} is on a read-only file system. Name a folder that can be written.",
        errno.ENAMETOOLONG: f"the name has {len(os.fsencode(path.name))} bytes, the path {len(os.fsencode(path))}; "
        "allowed are 255 and 4096 at most, on some disks less. Give a shorter one.",
        errno.EMFILE: "this process has too many files open. Raise the limit (ulimit -n 4096) and try again.",
        errno.ENFILE: "this machine has too many files open. Close some programs and try again.",
        errno.EIO: "the disk reports an input/output error. Look at the disk (dmesg), or name a folder on another.",
        errno.EISDIR: "there is a folder of this name. Name another file.",
        errno.ENOTDIR: f"a part of its path is a file, not a folder (up to {folder} it is there). Name another.",
        errno.EEXIST: "something of this name is there already. Name another, or move it away.",
        errno.ENOTEMPTY: "something of this name is there already. Name another, or move it away.",
    }.get(
        number or 0, f"{error.strerror or error or type(error).__name__}. Try again, or name another folder."
    )


def _no_room(number: int | None, folder: Path, needed: int | None) -> str:
    """Return what is told of a full disk, a used up quota, or a limit on the size of files."""
    wanted = f", {needed / MIB:,.1f} MiB needed" if needed and needed >= MIB / 10 else ""
    if number == errno.EFBIG:
        return (
            f"a file may not grow that large here{wanted}. Raise the limit (ulimit -f), or use another disk."
        )
    if number == errno.EDQUOT:
        return f"your disk quota at {folder} is used up{wanted}. Free disk space there."
    room = f"{shutil.disk_usage(folder).free / MIB:,.1f} MiB free"
    with suppress(OSError):
        if os.statvfs(folder).f_files and not os.statvfs(folder).f_favail:
            room = "no room for more files, however small"
    return f"the disk of {folder} is full ({room}{wanted}). Free disk space there."


def _not_allowed(path: Path, folder: Path) -> str:
    """Return whose the thing in the way is."""
    held = path if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK) else folder
    return (
        f"no permission: {held} belongs to {owner(held)}, and you are {_user(os.geteuid())}. "
        "Ask for permission, or name a folder of your own."
    )


def owner(path: Path) -> str:
    """Return whose a file or folder is, with its permissions."""
    try:
        found = path.stat()
    except OSError:
        return "somebody else"
    return f"{_user(found.st_uid)} ({stat.filemode(found.st_mode)})"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # in a container, often
        return f"user {number}"


def _standing(path: Path) -> Path:
    """Return the nearest folder above a path that is there."""
    for folder in path.absolute().parents:
        if os.path.isdir(folder):
            return folder
    return Path("/")


def _new_draft(target: Path) -> Path:
    """Return an empty file beside the target, with the permissions that the target is to have."""
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    _clean(target.parent)
    draft = _draft_path(target)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    with suppress(OSError):  # a new file; or another's, whose permissions are not ours to give
        draft.chmod(stat.S_IMODE(target.stat().st_mode))
    return draft


def _draft_path(target: Path) -> Path:
    """Return a name of its own beside the target; it ends as the target's, since libraries go by endings."""
    kept = os.fsdecode(os.fsencode(target.name)[-_KEPT_NAME_BYTES:])
    return target.parent / f"{DRAFT}{_host()}-{os.getpid()}-{secrets.token_hex(4)}-{kept}"


@cache
def _host() -> str:
    """Return eight hex digits for this machine since its start; containers that share a folder count as machines."""
    parts = [os.uname().nodename]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:8]


def _clean(folder: Path) -> None:
    """Remove, once per process, the drafts that killed processes left in a folder."""
    if folder not in _cleaned:
        _cleaned.add(folder)
        remove_abandoned(folder)


def remove_abandoned(folder: Path) -> None:
    """Remove the drafts in a folder that nobody writes any more: of processes of this machine that have gone, and old ones."""
    with suppress(OSError):  # another's folder, or gone: nothing of ours hangs on it
        for entry in list(os.scandir(folder)):
            found = _NAME.match(entry.name)
            if found and _abandoned(entry, host=found["host"], pid=int(found["pid"])):
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with suppress(OSError):
                        path.unlink(missing_ok=True)


def remove_drafts(folder: Path, pid: int) -> None:
    """Remove the drafts that a process of this machine left in a folder when it was killed.

    Args:
        folder: where it wrote.
        pid: its number; it has been waited for.
    """
    with suppress(OSError):  # as above
        for entry in list(os.scandir(folder)):
            found = _NAME.match(entry.name)
            if found and found["host"] == _host() and int(found["pid"]) == pid:
                Path(entry.path).unlink(missing_ok=True)


def _abandoned(entry: os.DirEntry[str], *, host: str, pid: int) -> bool:
    """Return whether nobody writes a draft any more."""
    if host == _host() and not _alive(pid):
        return True
    with suppress(OSError):
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_S
    return False


def _alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended does not, though nobody may have waited for it yet."""
    with suppress(OSError, IndexError):  # Linux tells
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _sync(path: Path) -> None:
    """Put a file on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Put the names of a folder on disk, where the file system can."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
