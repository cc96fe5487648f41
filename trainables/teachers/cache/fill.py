"""Filling the cache: the teacher runs once over every row that some want needs.

A live teacher would more than double the time of a search; reading 64 rows costs half a millisecond.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from spaces.errors import ResourceError, TeacherError
from spaces.files import make_folder, remove_abandoned
from spaces.turns import in_turn
from trainables.datasets.base import Progress
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import Want, Wants
from trainables.teachers.cache.contents import Contents, read_contents
from trainables.teachers.cache.largest import num_kept
from trainables.teachers.cache.layout import row_bytes
from trainables.teachers.cache.passes import Tick
from trainables.teachers.cache.plan import Kept, Part, part_bytes, plan_fill
from trainables.teachers.cache.workers import fill_here
from trainables.teachers.teacher import Teacher

GIB = 2**30
USABLE = 0.9  # of a disk
FEW = 64  # logits that are advised where the disk does not hold all

Run = Callable[[Sequence[Part], Tick], None]
"""Fills parts wherever it likes; tells the rows that were computed."""


def build_cache(
    folder: Path, teacher: Teacher, split: EncodedSplit, wants: Wants, *, precision: str, progress: Progress
) -> None:
    """Compute and store what is not in `folder` yet, in this process; see `fill_cache`."""
    fill_cache(folder, teacher, split, wants, Kept(precision=precision), Filling(say=progress))


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """How a cache is filled.

    Attributes:
        say: takes a line of progress.
        workers: processes of this machine that fill its parts, on a CPU.
        device: what the teacher is asked on here; None is where it is.
        run: fills them somewhere else.
    """

    say: Progress
    workers: int = 1
    device: torch.device | None = None
    run: Run | None = None


def fill_cache(
    folder: Path, teacher: Teacher, split: EncodedSplit, wants: Wants, kept: Kept, how: Filling
) -> None:
    """Compute and store what is not in `folder` yet.

    Each part is written beside its place and renamed when it is complete: whatever ends a filling leaves only whole parts, and
    the next one goes on from there. Of two searches that want it at the same time, one fills it and the other waits. A
    folder that holds everything is not touched; a part that is damaged is told, and computed again.

    Raises:
        ResourceError: not enough disk, or a folder that cannot be written.
        TeacherError: an unknown precision, or a folder that is another cache's.
    """
    missing, contents = plan_fill(folder, teacher, split, wants, kept, say=how.say)
    if not missing and contents == _known(folder):
        return
    make_folder(folder)
    with in_turn(folder, "teacher cache", say=how.say):
        missing, contents = plan_fill(folder, teacher, split, wants, kept)
        if missing:  # another process may have filled it meanwhile
            _check_disk(missing, teacher, split, how.say)
        if contents != _known(folder):
            contents.write(folder)
        if missing:
            tick = _ticker(sum(part.num_rows for part in missing), how.say)
            if how.run:
                how.run(missing, tick)
            else:
                with _asked_on(teacher, how.device or teacher.model.device):
                    fill_here(missing, teacher, split, tick, workers=how.workers)
            finish(folder)


def finish(folder: Path) -> None:
    """Write down which sets of a cache are complete now, and remove what nobody needs any more.

    Raises:
        TeacherError: the folder is no cache.
        StorageError: it cannot be written.
    """
    contents = read_contents(folder)
    sets = [replace(one, complete=all(path.exists() for path in one.paths(folder))) for one in contents.sets]
    whole = {want for one in sets if one.complete for want in one.wants}
    left = [one for one in sets if one.complete or not whole.issuperset(one.wants)]
    replace(contents, sets=tuple(left)).write(folder)
    known = {path.name for one in left for path in one.paths(folder)}
    for path in folder.glob("*-of-*.safetensors"):
        if path.name not in known and not path.name.startswith("."):
            path.unlink(missing_ok=True)
    remove_abandoned(folder)  # of a filling that was killed just before: its processes live on for a batch


@contextmanager
def _asked_on(teacher: Teacher, device: torch.device) -> Iterator[None]:
    """Let a teacher be on a device for a while."""
    before = teacher.model.device
    teacher.to(device)
    try:
        yield
    finally:
        teacher.to(before)


def _known(folder: Path) -> Contents | None:
    """Return what a folder says of itself, None if that is nothing."""
    try:
        return read_contents(folder)
    except TeacherError:
        return None


def _check_disk(parts: Sequence[Part], teacher: Teacher, split: EncodedSplit, say: Progress) -> None:
    """Tell how large the cache will be; refuse one that the disk does not hold.

    Raises:
        ResourceError: says what needs the most.
    """
    folder = Path(parts[0].folder)
    need, free = sum(part_bytes(part, teacher, split) for part in parts), shutil.disk_usage(folder).free
    if need > USABLE * free:
        wants = {want for part in parts for want in part.wants}

        def size(want: Want) -> int:
            offer = teacher.offers[want]
            return row_bytes(offer, split, parts[0]) * split.num_rows(offer.rows) if offer.rows else 0

        largest = sorted(wants, key=lambda want: (-size(want), str(want)))[:3]
        long = any(num_kept(teacher.offers[want], FEW) for want in wants) and not parts[0].top_k
        fewer = (
            f" keep {FEW} of the logits over its vocabulary (--set teacher_cache.top_k={FEW}),"
            if long
            else ""
        )
        raise ResourceError(
            f"teacher cache {folder}: needs {need / GIB:.1f} GiB, {free / GIB:.1f} GiB are free. Free "
            "disk, point XDG_CACHE_HOME to a larger one, run the teacher live "
            f"(--set teacher_cache.kind=live),{fewer} or drop the losses that need the most: {', '.join(map(str, largest))}."
        )
    say(f"teacher cache {folder}: {need / GIB:.2f} GiB to compute, {free / GIB:.1f} GiB are free")


def _ticker(total: int, progress: Progress) -> Tick:
    """Return what counts rows and tells how far the filling is."""
    start, done, shown = time.monotonic(), 0, time.monotonic()

    def tick(count: int) -> None:
        nonlocal done, shown
        done += count
        now = time.monotonic()
        if done == total or now - shown > 5:
            shown = now
            left = (
                (now - start) / max(done, 1) * (total - done)
            )  # what is kept once for all pictures has no rows
            progress(f"teacher cache: {done:,} of {total:,} rows, {left:.0f} s left")

    return tick
