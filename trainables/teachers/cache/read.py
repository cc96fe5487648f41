"""Reading the cache: what the live teacher would say, to the stored precision."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spaces.errors import InputsChanged, TeacherError
from trainables.datasets.cache_folder import unusable
from trainables.signals import Batch, Offer, Offers, Signals, Want, Wants
from trainables.teachers.cache.contents import AGAIN, WantSet, check_parts, read_contents
from trainables.teachers.cache.largest import AXIS, IDS, REST, widened
from trainables.teachers.cache.part_file import PartFile
from trainables.transfer import room_for, to_device


class TeacherCache:
    """A source of signals that reads them from disk; each row is checked when this process reads it first."""

    def __init__(
        self, folder: Path, offers: Offers, fingerprint: str = "", *, asked: Mapping[str, str] | None = None
    ) -> None:
        """Open the cache of a folder.

        Args:
            folder: as `fill_cache` filled it.
            offers: of the teacher.
            fingerprint: of the teacher that it must come from; empty takes any.
            asked: other parts of its key, as far as they are known, see `layout.key_parts`.

        Raises:
            TeacherError: it cannot be read, or is of something else: names what differs.
        """
        self.folder, self.offers = folder, offers
        contents = read_contents(folder)
        check_parts(folder, contents.parts, {"teacher": fingerprint, **(asked or {})})
        self.wants: Wants = contents.wants
        self._sets = {want: one for one in contents.sets if one.complete for want in one.wants}
        self._open: dict[str, _OpenSet] = {}

    def holds(self, wants: Wants) -> bool:
        """Return whether all of the wants have been cached."""
        return wants <= self.wants

    def fields(self, split: str, wants: Wants) -> frozenset[str]:
        """Return the fields of a batch that it looks at: texts are cut to those of the batch, pixels are not read."""
        return frozenset(self.offers[want].mask for want in wants if "T" in self.offers[want].axes)

    def signals(self, batch: Batch, wants: Wants) -> Signals:
        """Return the cached signals for the given examples, float32 on the batch's device.

        Raises:
            TeacherError: they are not in the cache.
            InputsChanged: what is there is damaged or gone: says where, and on which node.
        """
        found = Signals()
        for want in wants:
            offer = self.offers[want]
            rows = batch.numbers(offer.rows) if offer.rows else None
            tokens = batch[offer.mask].shape[1] if "T" in offer.axes else 0
            opened = self._set_of(want)
            kept: list[Any] = [
                to_device(opened.value(name, offer, rows, tokens, batch.device), batch.device)
                for name in opened.names[want]
            ]
            # wider there: numpy takes five times as long
            found[want] = (
                kept[0].float()
                if len(kept) == 1
                else widened(kept[0], kept[1], kept[2], size=offer.sizes[-1])
            )
        return found

    def _set_of(self, want: Want) -> "_OpenSet":
        """Return the set that holds a want, opened at its first use."""
        one = self._sets.get(want)
        if one is None:
            raise TeacherError(
                f"teacher cache {self.folder} on {socket.gethostname()}: does not hold {want}. Run the search again: what is "
                "missing is computed before its trials."
            )
        if one.name not in self._open:
            self._open[one.name] = _OpenSet(one, self.folder, self.offers)
        return self._open[one.name]


class _OpenSet:
    """The files of a set, and where each row lies in them."""

    def __init__(self, one: WantSet, folder: Path, offers: Offers) -> None:
        """Open all files.

        Raises:
            InputsChanged: one is missing or damaged.
        """
        self.paths = one.paths(folder)
        self.files = [self._opened(path) for path in self.paths]
        self.places = {kind: self._places(kind) for kind in self.files[0].rows}
        self.names = {want: self._checked(want, offers[want]) for want in one.wants}
        self._arrays, self._sound = dict[str, list[np.ndarray]](), dict[str, np.ndarray]()
        for want, names in self.names.items():
            for name in names if offers[want].rows else ():
                self._arrays[name] = [file.arrays[name] for file in self.files]
                self._sound[name] = np.zeros(len(self.places[offers[want].rows]), dtype=bool)

    def value(
        self, name: str, offer: Offer, rows: np.ndarray | None, tokens: int, device: torch.device
    ) -> Tensor:
        """Return the values (B, ...) of rows of a tensor, zeros for row -1; or the one value of the model.

        On the host, on their way to the device.
        """
        if rows is None:
            self._verify(name, 0, 0)
            return torch.from_numpy(np.array(self.files[0].arrays[name][0]))
        arrays, sound = self._arrays[name], self._sound[name]
        if not sound[rows].all():
            self._verify_all(name, rows, self.places[offer.rows])
        sizes = arrays[0].shape[1:]
        if "T" in offer.axes:  # to the longest text of the batch
            axes = offer.axes[: len(sizes)]  # what the rest of logits comes to is one number
            sizes = tuple(tokens if axis == "T" else size for axis, size in zip(axes, sizes, strict=True))
            cut = (slice(None), *(slice(size) for size in sizes))
            arrays = [array[cut] for array in arrays]
        missing = rows < 0
        kind = np.int32 if name.endswith(IDS) else arrays[0].dtype  # torch hardly knows uint16
        room, found = room_for((len(rows), *sizes), kind, device)
        for example, (number, place) in enumerate(self.places[offer.rows][rows].tolist()):
            found[example] = arrays[number][place]
        if missing.any():
            found[missing] = 0
        return room

    def _verify_all(self, name: str, rows: np.ndarray, places: np.ndarray) -> None:
        """Refuse rows that are not as they were written; those that were looked at before are not again."""
        sound = self._sound[name]
        for row in rows[~sound[rows]].tolist():
            if row >= 0:
                self._verify(name, *places[row].tolist())
                sound[row] = True

    def _opened(self, path: Path) -> PartFile:
        try:
            return PartFile(path)
        except (OSError, ValueError) as error:
            raise _told(path, error) from error

    def _places(self, kind: str) -> np.ndarray:
        """Return (N, 2) numbers of the file of each row, and of the row in it."""
        count = sum(len(file.rows[kind]) for file in self.files)
        found = np.full((count, 2), -1, dtype=np.int64)
        for number, file in enumerate(self.files):
            rows = file.rows[kind]
            if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
                raise _told(self.paths[number], ValueError(f"numbers of rows beyond {count:,}"))
            found[rows] = np.stack([np.full(len(rows), number), np.arange(len(rows))], axis=1)
        if (found < 0).any():
            raise _told(self.paths[0], ValueError(f"no row {int((found < 0).any(1).argmax())} of {kind}"))
        return found

    def _checked(self, want: Want, offer: Offer) -> tuple[str, ...]:
        """Return the names of the tensors of a want; refuse files that do not hold what the teacher offers."""
        name = str(want)
        few = f"{name}{IDS}" in self.files[0].arrays
        names = (name, f"{name}{IDS}", f"{name}{REST}") if few else (name,)
        for path, file in zip(self.paths, self.files, strict=True):
            if not offer.rows and file is not self.files[0]:
                continue
            arrays = [file.arrays.get(one) for one in names]
            if arrays[0] is None or not _is_of(arrays[0], offer, few=few) or (few and not _is_short(arrays)):
                told = ["nothing" if one is None else f"{one.dtype} of shape {one.shape}" for one in arrays]
                raise _told(path, ValueError(f"{', '.join(told)} for {want}"))
        return names

    def _verify(self, name: str, number: int, row: int) -> None:
        """Refuse a row that is not as it was written."""
        if not self.files[number].is_sound(name, row):
            raise _told(self.paths[number], ValueError(f"the checksum of row {row} of {name} is wrong"))


def _told(path: Path, error: Exception) -> InputsChanged:
    """Return what is told of a file that is missing or damaged: where, on which node, and what to do."""
    node = socket.gethostname()
    if isinstance(error, OSError) and not (isinstance(error, FileNotFoundError) and path.parent.is_dir()):
        return InputsChanged(f"teacher cache on {node}: {unusable(path, error, AGAIN)}")
    what = "missing" if isinstance(error, OSError) else f"damaged ({error})"
    return InputsChanged(
        f"teacher cache {path}: {what}, as {node} sees it. Run the command again, or --resume the run: {AGAIN}, and nothing "
        "is lost."
    )


def _is_of(array: np.ndarray, offer: Offer, *, few: bool) -> bool:
    """Return whether an array can hold what a teacher offers, or the largest of it; text axes are as long as the texts are."""
    sizes = array.shape[1:]
    if not np.issubdtype(array.dtype, np.floating) or len(sizes) != len(offer.sizes):
        return False
    if few and offer.axes[-1:] != (AXIS,):
        return False
    return all(
        got <= size if axis == "T" or (few and axis == AXIS) else got == size
        for got, size, axis in zip(sizes, offer.sizes, offer.axes, strict=True)
    )


def _is_short(arrays: list[np.ndarray | None]) -> bool:
    """Return whether values, numbers and rest of logits belong together."""
    values, ids, rest = arrays
    if values is None or ids is None or rest is None:
        return False
    kinds = np.issubdtype(ids.dtype, np.integer) and np.issubdtype(rest.dtype, np.floating)
    return bool(kinds and ids.shape == values.shape and rest.shape == values.shape[:-1])
