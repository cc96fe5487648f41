"""What the fault tests do to a machine: full disks, a clock that is set back, data that change."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLOCK = """\
import os, time

_true, _flag = time.time, os.environ["TEST_CLOCK_FLAG"]
_true_ns = time.time_ns


def _shift():
    return 3600.0 if os.path.exists(_flag) else 0.0


time.time = lambda: _true() - _shift()
time.time_ns = lambda: _true_ns() - int(_shift() * 1e9)
"""


@contextmanager
def small_disk(place: Path, *, mib: int) -> Iterator[Path]:
    """Give a folder that is a file system of its own; it needs the right to mount one.

    Raises:
        subprocess.CalledProcessError: this user may not mount.
    """
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def may_mount(place: Path) -> bool:
    """Return whether this user may mount a file system of his own."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    try:
        with small_disk(place, mib=1):
            return True
    except subprocess.CalledProcessError:
        return False


def fill(disk: Path, *, leave: int) -> Path:
    """Write a file that leaves so many bytes of a file system; return it."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    wanted = max(0, free.f_bavail * free.f_frsize - leave)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, wanted))
    return ballast


def clock_environment(place: Path) -> tuple[dict[str, str], Path]:
    """Return variables under which Python's clock goes one hour back as soon as a file exists, and that file."""
    folder, flag = place / "clock", place / "set back"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK)
    return {"PYTHONPATH": str(folder), "TEST_CLOCK_FLAG": str(flag)}, flag
