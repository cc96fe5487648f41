"""Reading the cache: what the live teacher would say, to the stored precision."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spaces.errors import TeacherError
from trainables.datasets.cache_folder import unusable
from trainables.signals import Batch, Offer, Offers, Signals, Want, Wants
from trainables.teachers.cache.layout import META, array_path

AGAIN = "it is computed again"


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
            meta = json.loads((folder / META).read_text(encoding="utf-8"))
            filled_by = str(meta["teacher"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise TeacherError(f"teacher cache {unusable(folder / META, error, AGAIN)}") from error
        if fingerprint and filled_by != fingerprint:
            raise TeacherError(
                f"teacher cache {folder}: comes from a teacher with fingerprint {filled_by[:40]}, "
                f"this one has {fingerprint}. Delete it; it is computed again."
            )
        self._arrays: dict[Want, np.ndarray] = {}

    def holds(self, wants: Wants) -> bool:
        """Return whether all of the wants have been cached."""
        return all(array_path(self.folder, want).exists() for want in wants)

    def fields(self, split: str, wants: Wants) -> frozenset[str]:
        """Return the fields of a batch that it looks at: texts are cut to those of the batch, pixels are not read."""
        return frozenset(self.offers[want].mask for want in wants if "T" in self.offers[want].axes)

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
                with np.errstate(over="ignore"):  # of a size that a damaged header claims
                    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
            except Exception as error:  # a damaged header raises almost anything
                raise TeacherError(f"teacher cache {unusable(path, error, AGAIN)}") from error
            if not _is_of(array, self.offers[want]):
                wrong = ValueError(f"{array.dtype} of shape {array.shape}")
                raise TeacherError(f"teacher cache {unusable(path, wrong, AGAIN)}")
            self._arrays[want] = array
        return self._arrays[want]


def _is_of(array: np.ndarray, offer: Offer) -> bool:
    """Return whether an array can hold what a teacher offers; text axes are as long as the texts are."""
    sizes = array.shape[1:] if offer.rows else array.shape
    if not np.issubdtype(array.dtype, np.floating) or len(sizes) != len(offer.sizes):
        return False
    return all(
        got <= size if axis == "T" else got == size
        for got, size, axis in zip(sizes, offer.sizes, offer.axes, strict=True)
    )


def _trimmed(value: np.ndarray, offer: Offer, tokens: int) -> np.ndarray:
    """Cut text axes to the batch's longest text."""
    cut = tuple(slice(0, tokens) if axis == "T" else slice(None) for axis in offer.axes)
    return value[(slice(None), *cut)]
