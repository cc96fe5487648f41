"""Pictures decoded and framed once, into one array in the cache folder that is mapped from disk ever after."""

import errno
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from PIL import UnidentifiedImageError

from spaces.errors import DatasetError
from spaces.files import atomic_path
from spaces.turns import in_turn
from trainables.datasets.base import Progress
from trainables.datasets.cache_folder import cache_folder, unusable
from trainables.datasets.contents import reason
from trainables.datasets.jsonl_files import shown
from trainables.datasets.node_copies import near_file
from trainables.preprocess import Framing
from trainables.share import usable_cores

CHUNK = 250  # pictures in memory at a time
TOLD_EVERY = 1000
RATED_S = 5.0  # of work, before it is said how much is left

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Prepared(Generic[Item]):
    """Pictures in an order, and how they are read.

    Attributes:
        kind: of the data set: a folder of the cache, and the first word of progress.
        fingerprint: of all the pictures in their order.
        count: N, how many there are.
        items: gives all N in their order; they are read on only as they are decoded.
        decode: gives the pixels (S, S, 3) uint8 of one, or what is wrong with it.
        refuse: takes the broken ones with what is wrong, and raises them as one error.
    """

    kind: str
    fingerprint: str
    count: int
    items: Callable[[], Iterable[Item]]
    decode: Callable[[Item, Framing], np.ndarray | str]
    refuse: Callable[[Sequence[tuple[Item, str]]], None]


def mapped(wanted: Prepared[Item], framing: Framing, progress: Progress) -> np.ndarray:
    """Return (N, S, S, 3) uint8, mapped from disk; prepared by the first process that asks.

    Raises:
        DatasetError: broken pictures, all in one; or a damaged array.
        StorageError: the cache folder has no room.
    """
    path = cache_folder(wanted.kind) / f"{wanted.fingerprint}-{framing.key}.npy"
    if not path.exists():
        with in_turn(path, "prepared pictures", say=progress):
            if not path.exists():  # another process may have made it meanwhile
                _write(path, wanted, framing, progress=progress)
    path = near_file(path)
    try:
        with np.errstate(over="ignore"):  # of a size that a damaged header claims
            pixels: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header raises almost anything
        raise DatasetError(unusable(path, error, "it is made again")) from error
    if pixels.shape != (wanted.count, framing.side, framing.side, 3) or pixels.dtype != np.uint8:
        raise DatasetError(f"{path}: damaged (shape {pixels.shape}). Delete it; it is made again.")
    return pixels


def _write(path: Path, wanted: Prepared[Item], framing: Framing, *, progress: Progress) -> None:
    """Decode all pictures; all broken ones are told in one error, and nothing is kept then."""
    shape = (wanted.count, framing.side, framing.side, 3)
    needed = int(np.prod(shape, dtype=np.int64))
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    wrong: list[tuple[Item, str]] = []
    tell = Countdown(f"{wanted.kind}:", wanted.count, "prepared", progress)
    with atomic_path(path, needed=needed) as temporary:
        if shutil.disk_usage(path.parent).free < needed:  # told now, and not after hours
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # written in order, not through a map: a full disk is then an error and not a bus error
        with temporary.open("wb") as sink:
            np.lib.format.write_array_header_1_0(sink, header)
            for item, pixels in in_order(wanted.items(), lambda item: wanted.decode(item, framing)):
                if isinstance(pixels, np.ndarray):
                    sink.write(pixels.tobytes())
                else:
                    wrong.append((item, pixels))
                tell.one_more()
        if wrong:
            wanted.refuse(wrong)


def in_order(
    items: Iterable[Item], decode: Callable[[Item], np.ndarray | str]
) -> Iterator[tuple[Item, np.ndarray | str]]:
    """Yield each item with what it decodes to, a few hundred at a time on all cores, in their order."""
    with warnings.catch_warnings(), ThreadPoolExecutor(usable_cores()) as pool:
        # of damaged metadata, and of pictures that are large, but not too large
        warnings.filterwarnings("ignore", module=r"PIL\.")
        rest = iter(items)
        while chunk := list(islice(rest, CHUNK)):
            yield from zip(chunk, pool.map(decode, chunk), strict=True)


class Countdown:
    """Tells how many pictures are through, and about how long the rest takes."""

    def __init__(self, noun: str, count: int, verb: str, progress: Progress) -> None:
        self._noun, self._count, self._verb, self._progress = noun, count, verb, progress
        self._done, self._began = 0, time.monotonic()

    def one_more(self) -> None:
        """Count one picture; tell the progress now and then, and at the end."""
        self.more(1)

    def more(self, number: int) -> None:
        """Count some pictures; tell the progress whenever the next thousand is full, and at the end."""
        before, self._done = self._done, self._done + number
        done, count = self._done, self._count
        if done != count and done // TOLD_EVERY == before // TOLD_EVERY:
            return
        worked_s = time.monotonic() - self._began
        rest = ""
        if done < count and worked_s >= RATED_S:
            rest = f", about {_span(worked_s * (count - done) / done)} left"
        self._progress(f"{self._noun} {done:,} of {count:,} pictures {self._verb}{rest}")


def _span(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def broken(name: str, error: Exception, *, remedy: str) -> str:
    """Return what is told of a picture that cannot be decoded.

    Args:
        name: of the picture.
        error: what reading it raised; Pillow's readers raise whatever their formats lead them to.
        remedy: what may be done instead of replacing it, such as `remove it`.
    """
    if isinstance(error, DatasetError):
        return f"{shown(name)}: {error}; or {remedy}."
    return f"{shown(name)} cannot be read as a picture ({why_broken(error)}); replace it or {remedy}."


def why_broken(error: Exception) -> str:
    """Return why a picture cannot be decoded, from what reading it raised."""
    if isinstance(error, UnidentifiedImageError):
        return "of another format, or in a layout that Pillow does not know; PNG and JPEG are safe"
    return reason(error) if isinstance(error, OSError) else shown(str(error)) or type(error).__name__


def owners(counts: Iterable[int]) -> np.ndarray:
    """Return for every text the row of its picture, from the number of texts of each picture."""
    numbers = np.fromiter(counts, dtype=np.int64)
    return np.repeat(np.arange(len(numbers)), numbers)
