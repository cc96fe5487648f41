"""Pictures decoded and framed once, into one array in the cache folder that is mapped from disk ever after."""

import warnings
from collections.abc import Callable, Iterable, Sequence
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
from trainables.preprocess import Framing
from trainables.share import usable_cores

CHUNK = 250  # pictures in memory at a time

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
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    broken: list[tuple[Item, str]] = []
    with (
        warnings.catch_warnings(),
        atomic_path(path, needed=int(np.prod(shape, dtype=np.int64))) as temporary,
        ThreadPoolExecutor(usable_cores()) as pool,
    ):
        # of damaged metadata, and of pictures that are large, but not too large
        warnings.filterwarnings("ignore", module=r"PIL\.")
        # written in order, not through a map: a full disk is then an error and not a bus error
        with temporary.open("wb") as sink:
            np.lib.format.write_array_header_1_0(sink, header)
            done = 0
            items = iter(wanted.items())
            while chunk := list(islice(items, CHUNK)):
                decoded = pool.map(lambda item: wanted.decode(item, framing), chunk)
                for item, pixels in zip(chunk, decoded, strict=True):
                    if isinstance(pixels, np.ndarray):
                        sink.write(pixels.tobytes())
                    else:
                        broken.append((item, pixels))
                done += len(chunk)
                if done == wanted.count or done % (4 * CHUNK) == 0:
                    progress(f"{wanted.kind}: {done:,} of {wanted.count:,} pictures prepared")
        if broken:
            wanted.refuse(broken)


def broken(name: str, error: Exception, *, remedy: str) -> str:
    """Return what is told of a picture that cannot be decoded.

    Args:
        name: of the picture.
        error: what reading it raised; Pillow's readers raise whatever their formats lead them to.
        remedy: what may be done instead of replacing it, such as `remove it`.
    """
    if isinstance(error, DatasetError):
        return f"{shown(name)}: {error}; or {remedy}."
    why = reason(error) if isinstance(error, OSError) else shown(str(error)) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        why = "of another format, or in a layout that Pillow does not know; PNG and JPEG are safe"
    return f"{shown(name)} cannot be read as a picture ({why}); replace it or {remedy}."


def owners(counts: Iterable[int]) -> np.ndarray:
    """Return for every text the row of its picture, from the number of texts of each picture."""
    numbers = np.fromiter(counts, dtype=np.int64)
    return np.repeat(np.arange(len(numbers)), numbers)
