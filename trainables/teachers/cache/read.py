"""Reading the cache: what the live teacher would say, to the stored precision."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spaces.errors import TeacherError
from trainables.signals import Batch, Offer, Offers, Signals, Want, Wants
from trainables.teachers.cache.layout import META, array_path


class TeacherCache:
    """A source of signals that reads them from disk."""

    def __init__(self, folder: Path, offers: Offers, fingerprint: str = "") -> None:
        """Open the cache of a folder.

        Args:
            folder: as `build_cache` filled it.
            offers: of the teacher.
            fingerprint: of the teacher that it must come from; empty takes any.

        Raises:
            TeacherError: it cannot be read, or another teacher filled it.
        """
        self.folder, self.offers = folder, offers
        try:
            meta = json.loads((folder / META).read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise TeacherError(
                f"teacher cache {folder}: cannot be read ({error}). Delete it; it is computed again."
            ) from error
        if fingerprint and meta["teacher"] != fingerprint:
            raise TeacherError(
                f"teacher cache {folder}: comes from a teacher with fingerprint {meta['teacher']}, "
                f"this one has {fingerprint}. Delete it; it is computed again."
            )
        self._arrays: dict[Want, np.ndarray] = {}

    def holds(self, wants: Wants) -> bool:
        """Return whether all of the wants have been cached."""
        return all(array_path(self.folder, want).exists() for want in wants)

    def signals(self, batch: Batch, wants: Wants) -> Signals:
        """Return the cached signals for the given examples, float32 on the batch's device."""
        found = Signals()
        rows: dict[str, np.ndarray] = {}  # copied from the device once for each kind of row
        for want in wants:
            offer = self.offers[want]
            if offer.rows and offer.rows not in rows:
                rows[offer.rows] = batch.rows[offer.rows].cpu().numpy()
            value = self._value(want, offer, rows.get(offer.rows))
            if "T" in offer.axes:
                value = _trimmed(value, offer, batch[offer.mask].shape[1])
            found[want] = self._tensor(value, batch)
        return found

    @staticmethod
    def _tensor(value: np.ndarray, batch: Batch) -> Tensor:
        return torch.from_numpy(value.astype(np.float32)).to(batch.device)

    def _value(self, want: Want, offer: Offer, rows: np.ndarray | None) -> np.ndarray:
        array = self._array(want)
        if rows is None:
            return np.asarray(array)
        value = np.asarray(array[np.maximum(rows, 0)])
        if (rows < 0).any():
            value[rows < 0] = 0
        return value

    def _array(self, want: Want) -> np.ndarray:
        if want not in self._arrays:
            path = array_path(self.folder, want)
            try:
                self._arrays[want] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise TeacherError(
                    f"teacher cache {path}: cannot be read ({error}). Delete it; it is computed again."
                ) from error
        return self._arrays[want]


def _trimmed(value: np.ndarray, offer: Offer, tokens: int) -> np.ndarray:
    """Cut text axes to the batch's longest text."""
    cut = tuple(slice(0, tokens) if axis == "T" else slice(None) for axis in offer.axes)
    return value[(slice(None), *cut)]
