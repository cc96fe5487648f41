"""The teacher's passes over one part of a cache: each picture is encoded once, whatever its number of texts."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch

from spaces.errors import TeacherError
from spaces.files import atomic_path
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import PICTURE, Signals, Want, Wants, looks_at_pictures
from trainables.teachers.cache.largest import num_kept, shortened
from trainables.teachers.cache.layout import VERSION, forms, precision_of
from trainables.teachers.cache.part_file import ROWS, Form, PartWriter
from trainables.teachers.cache.plan import Part, part_bytes, rows_of
from trainables.teachers.teacher import Teacher

CHUNK = 128  # rows of a pass, fewer where they say much
CHUNK_BYTES = 1 << 28  # of what a pass says
REUSED_BYTES = 1 << 28  # of what is kept of pictures until the passes over their texts

Tick = Callable[[int], None]


def fill_part(part: Part, teacher: Teacher, split: EncodedSplit, tick: Tick) -> None:
    """Compute one part and put it in its place, whole and with its checksums; one that is there is made anew.

    Args:
        part: of the plan.
        teacher: on the device on which it is to be asked; on a GPU its passes are in autocast.
        split: that of the plan, in the teacher's encoding.
        tick: takes the number of rows that were computed, now and then.

    Raises:
        StorageError: it cannot be written, or the disk has no room.
        TeacherError: it says values that the precision cannot hold.
    """
    rows = rows_of(part.first, part.behind, split)
    offers = {want: teacher.offers[want] for want in part.wants}
    kinds = {one.rows for one in offers.values()} - {""}
    made = {f"{ROWS}{kind}": Form("int64", (len(rows[kind]),)) for kind in kinds}
    for want, offer in offers.items():
        if offer.rows or part.number == 0:
            count = len(rows[offer.rows]) if offer.rows else 1
            for name, form in forms(want, offer, split, part).items():
                made[name] = Form(form.dtype, (count, *form.shape))
    metadata = {"cache": f"version {VERSION}", "part": f"{part.number} of {part.count}"}
    needed = part_bytes(part, teacher, split)
    with atomic_path(part.path, needed=needed) as draft, PartWriter(draft, made, metadata) as writer:
        _Passes(part, teacher, split, writer, tick).run()


class _Passes:
    """Runs the teacher over blocks of pictures, and over the texts of each block."""

    def __init__(
        self, part: Part, teacher: Teacher, split: EncodedSplit, writer: PartWriter, tick: Tick
    ) -> None:
        self.part, self.teacher, self.split, self.writer, self.tick = part, teacher, split, writer, tick
        self.device = teacher.model.device
        wanted: dict[str, set[Want]] = {}
        for want in part.wants:
            wanted.setdefault(teacher.offers[want].rows, set()).add(want)
        self.constants = frozenset(wanted.pop("", ()))
        self.pictures = frozenset(wanted.pop(PICTURE, ()))
        self.texts = {kind: frozenset(wants) for kind, wants in sorted(wanted.items())}
        self.done = dict.fromkeys((PICTURE, *self.texts), 0)
        grounded = [wants for wants in self.texts.values() if self._is_grounded(wants)]
        self.reused: Wants = frozenset().union(*(teacher.model.reused(wants) for wants in grounded))

    def run(self) -> None:
        """Compute and write all that is wanted."""
        if self.constants and self.part.number == 0:
            example = self.split.batch({PICTURE: np.zeros(1, dtype=np.int64)}, self.device)
            for want, value in self.teacher.signals(example, self.constants).items():
                self.writer.write(str(want), 0, value.float().cpu().numpy()[None])
        for first, behind in self._blocks():
            kept = self._of_pictures(np.arange(first, behind, dtype=np.int64))
            for kind, wants in self.texts.items():
                self._of_texts(kind, wants, first, behind, kept)

    def _is_grounded(self, wants: Wants) -> bool:
        """Return whether passes over texts look at pictures."""
        return looks_at_pictures(self.teacher.model.inputs(wants).fields)

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Yield ranges of pictures, of which as much is kept in memory as their texts need."""
        size = sum(4 * math.prod(self.teacher.offers[want].sizes) for want in self.reused)
        step = max(1, REUSED_BYTES // size) if size else self.part.behind - self.part.first
        for first in range(self.part.first, self.part.behind, max(step, 1)):
            yield first, min(first + step, self.part.behind)

    def _chunks(self, rows: np.ndarray, wants: Wants) -> Iterator[np.ndarray]:
        """Yield some rows at a time."""
        size = sum(4 * math.prod(self.teacher.offers[want].sizes) for want in wants)
        step = max(1, min(CHUNK, CHUNK_BYTES // max(size, 1)))
        for first in range(0, len(rows), step):
            yield rows[first : first + step]

    def _of_pictures(self, images: np.ndarray) -> Signals:
        """Write what is wanted of some pictures; return what the passes over their texts use again of them."""
        asked = self.pictures | self.reused
        if not asked:
            return Signals()
        kept: dict[Want, list[torch.Tensor]] = {want: [] for want in self.reused}
        for rows in self._chunks(images, asked):
            found = self.teacher.signals(self.split.batch({PICTURE: rows}, self.device), asked)
            for want in self.reused:
                kept[want].append(found[want])
            if self.pictures:
                self._write(PICTURE, rows, found.only(self.pictures))
        return Signals({want: torch.cat(values) for want, values in kept.items()})

    def _of_texts(self, kind: str, wants: Wants, first: int, behind: int, kept: Signals) -> None:
        """Write what is wanted of the texts of a block, short ones first: a chunk is as wide as its longest."""
        table = self.split.tables[kind]
        rows = rows_of(first, behind, self.split)[kind]
        rows = rows[np.argsort(table.lengths[rows], kind="stable")]
        grounded = self._is_grounded(wants)
        for chunk in self._chunks(rows, wants | (self.reused if grounded else frozenset())):
            images = table.images[chunk]
            known = None
            if grounded and kept:
                places = torch.from_numpy(images - first).to(self.device)
                known = Signals({want: values[places] for want, values in kept.items()})
            numbers = {PICTURE: images, kind: chunk}
            batch = self.split.batch(numbers, self.device, pixels=grounded and known is None)
            self._write(kind, chunk, self.teacher.signals(batch, wants, known))

    def _write(self, kind: str, rows: np.ndarray, found: Signals) -> None:
        """Write a chunk behind those before it."""
        place = self.done[kind]
        self.writer.number(kind, place, rows)
        for want, value in found.items():
            if kept := num_kept(self.teacher.offers[want], self.part.top_k):
                value, beside = shortened(value, kept)
                for ending, array in beside.items():
                    self.writer.write(f"{want}{ending}", place, array)
            self.writer.write(str(want), place, self._rounded(want, value))
        self.done[kind] += len(rows)
        self.tick(len(rows))

    def _rounded(self, want: Want, value: torch.Tensor) -> np.ndarray:
        """Return values in the precision of the cache.

        Raises:
            TeacherError: they lie beyond it.
        """
        whole = value.float().cpu().numpy()
        with np.errstate(over="ignore"):  # looked at below
            kept: np.ndarray = whole.astype(precision_of(self.teacher.offers[want], self.part.precision))
        if (np.isinf(kept) & np.isfinite(whole)).any():
            most = np.abs(whole[np.isfinite(whole)]).max()
            raise TeacherError(
                f"teacher cache {self.part.folder}: {want} has values up to {most:.3g}, {self.part.precision} holds 65,504 at "
                "most. Keep it in float32: --set teacher_cache.precision=float32"
            )
        return kept
