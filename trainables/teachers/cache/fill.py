"""Filling the cache: the teacher runs once over every row that some want needs.

A live teacher would more than double the time of a search; reading 64 rows costs half a millisecond.
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spaces.errors import ResourceError, TeacherError
from spaces.files import atomic_path, make_folder, reserve, write_text
from spaces.turns import in_turn
from trainables.datasets.base import Progress
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import PICTURE, Signals, Want, Wants
from trainables.teachers.cache.layout import META, PRECISIONS, array_path, array_shape, cacheable
from trainables.teachers.teacher import Teacher

CHUNK = 128
LARGEST_REUSED = (
    1 << 30
)  # bytes of signals kept in memory while the cache is filled, to encode each picture once


def build_cache(
    folder: Path, teacher: Teacher, split: EncodedSplit, wants: Wants, *, precision: str, progress: Progress
) -> None:
    """Compute and store what is not in `folder` yet.

    Each array is written beside its place and renamed when it is complete, so that an interrupted build
    leaves nothing that could be taken for a result. Of two searches that want it at the same time, one fills it and the
    other waits. A folder that holds everything is not touched.

    Raises:
        ResourceError: not enough disk, or a folder that cannot be written.
        TeacherError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise TeacherError(f"teacher_cache.precision: got {precision!r}; allowed: {', '.join(PRECISIONS)}.")
    usable = cacheable(wants, teacher.offers, split)

    def missing_now() -> list[Want]:
        return sorted((want for want in usable if not array_path(folder, want).exists()), key=str)

    if missing_now():
        make_folder(folder)
        with in_turn(folder, "teacher cache", say=progress):
            _fill(folder, teacher, split, missing_now(), precision=precision, progress=progress)
    if not (folder / META).exists():
        make_folder(folder)
        write_text(folder / META, json.dumps({"teacher": teacher.files.fingerprint}))


def _fill(
    folder: Path,
    teacher: Teacher,
    split: EncodedSplit,
    missing: Sequence[Want],
    *,
    precision: str,
    progress: Progress,
) -> None:
    """Compute and store what is missing."""
    if missing:  # another process may have filled it meanwhile
        shapes = {want: array_shape(teacher.offers[want], split) for want in missing}
        _check_disk(folder, shapes, precision)
        with ExitStack() as drafts:
            arrays = {
                want: _reserved(
                    drafts.enter_context(atomic_path(array_path(folder, want))),
                    dtype=precision if teacher.offers[want].rows else "float32",  # one number costs nothing
                    shape=shapes[want],
                )
                for want in missing
            }
            _Filling(teacher, split, arrays, _ticker(arrays, teacher, split, progress)).run()
            for array in arrays.values():
                array.flush()


def _reserved(draft: Path, *, dtype: str, shape: tuple[int, ...]) -> np.memmap:
    """Return a mapped array in a draft, whose space is taken: a disk that fills later does not kill the process."""
    array = np.lib.format.open_memmap(draft, mode="w+", dtype=dtype, shape=shape)
    reserve(draft, draft.stat().st_size)
    return array


def _check_disk(folder: Path, shapes: Mapping[Want, tuple[int, ...]], precision: str) -> None:
    need = sum(math.prod(shape) for shape in shapes.values()) * np.dtype(precision).itemsize
    free = shutil.disk_usage(folder).free
    if need > 0.9 * free:
        largest = sorted(shapes, key=lambda want: -math.prod(shapes[want]))[:3]
        raise ResourceError(
            f"teacher cache {folder}: needs {need / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free. Free "
            "disk, point XDG_CACHE_HOME to a larger one, run the teacher live "
            f"(--set teacher_cache.kind=live), or drop the losses that need the most: {', '.join(map(str, largest))}."
        )


def _ticker(
    arrays: Mapping[Want, np.ndarray], teacher: Teacher, split: EncodedSplit, progress: Progress
) -> Callable[[int], None]:
    """Return what counts rows and tells how far the filling is."""
    kinds = {teacher.offers[want].rows for want in arrays} - {""}
    total = sum(split.num_rows(kind) for kind in kinds)
    start, done, shown = time.monotonic(), 0, time.monotonic()

    def tick(count: int) -> None:
        nonlocal done, shown
        done += count
        now = time.monotonic()
        if done == total or now - shown > 5:
            shown = now
            left = (now - start) / done * (total - done)
            progress(f"teacher cache: {done:,} of {total:,} rows, {left:.0f} s left")

    return tick


class _Filling:
    """Runs the teacher over the rows of each kind, pictures first."""

    def __init__(
        self,
        teacher: Teacher,
        split: EncodedSplit,
        arrays: Mapping[Want, np.ndarray],
        tick: Callable[[int], None],
    ) -> None:
        self.teacher, self.split, self.arrays, self.tick = teacher, split, arrays, tick
        self.device = teacher.model.device
        offers = [teacher.offers[want] for want in teacher.model.reusable]
        size = sum(4 * split.num_images * math.prod(offer.sizes) for offer in offers)
        self.reused: dict[int, Signals] | None = {} if size <= LARGEST_REUSED else None

    def run(self) -> None:
        """Fill all arrays."""
        groups: dict[str, set[Want]] = {}
        for want in self.arrays:
            groups.setdefault(self.teacher.offers[want].rows, set()).add(want)
        self._constants(frozenset(groups.pop("", ())))
        for kind in sorted(groups, key=lambda kind: (kind != PICTURE, kind)):
            self._rows(kind, frozenset(groups[kind]))

    def _constants(self, wants: Wants) -> None:
        """Store what is one value of the model."""
        if wants:
            first = self.split.batch({PICTURE: np.zeros(1, dtype=np.int64)}, self.device)
            for want, value in self.teacher.signals(first, wants).items():
                self.arrays[want][...] = value.float().cpu().numpy()

    def _rows(self, kind: str, wants: Wants) -> None:
        """Store all rows of a kind, short texts first: a chunk is as wide as its longest."""
        table = self.split.tables.get(kind)
        order = np.arange(self.split.num_rows(kind))
        if table is not None:
            order = np.argsort(table.lengths, kind="stable")
        needs = self.teacher.model.inputs(wants).fields
        grounded = any(name.startswith(f"{PICTURE}.") for name in needs)
        for first in range(0, len(order), CHUNK):
            rows = order[first : first + CHUNK]
            numbers = {PICTURE: rows} if table is None else {PICTURE: table.images[rows], kind: rows}
            known = self._known(numbers[PICTURE]) if table is not None and grounded else None
            batch = self.split.batch(numbers, self.device, pixels=grounded and known is None)
            for want, value in self.teacher.signals(batch, wants, known).items():
                _place(self.arrays[want], rows, value)
            self.tick(len(rows))

    def _known(self, images: np.ndarray) -> Signals | None:
        """Return the reusable signals of pictures, each encoded once as long as memory allows."""
        wants = self.teacher.model.reusable
        if self.reused is None or not wants:
            return None
        # texts of one chunk share pictures
        new = dict.fromkeys(image for image in images.tolist() if image not in self.reused)
        missing = np.array(list(new), dtype=np.int64)
        if len(missing):
            found = self.teacher.signals(self.split.batch({PICTURE: missing}, self.device), wants)
            for place, image in enumerate(missing.tolist()):
                self.reused[image] = Signals({want: value[place] for want, value in found.items()})
        kept = [self.reused[image] for image in images.tolist()]
        return Signals({want: torch.stack([one[want] for one in kept]) for want in wants})


def _place(array: np.ndarray, rows: np.ndarray, values: Tensor) -> None:
    """Write a chunk; text axes shorter than the array's stay zero behind it."""
    block = values.float().cpu().numpy()
    where: tuple[Any, ...] = (rows, *(slice(0, size) for size in block.shape[1:]))
    array[where] = block
