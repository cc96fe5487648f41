"""Where cached signals lie: files by ranges of pictures, and `meta.json`, which says whose signals they are.

A *set* is a number of wants that were filled together. It lies in parts, one file for each range of pictures, which holds
every want of the set about these pictures and about their texts. `meta.json` names the sets, and what decides their contents.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from trainables.code_version import foreign_code
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.pictures import VERSION as PIXELS_VERSION
from trainables.signals import PICTURE, Offer, Offers, Want, Wants
from trainables.teachers.cache.largest import forms_of, num_kept
from trainables.teachers.cache.part_file import Form
from trainables.teachers.teacher import Teacher

PRECISIONS = ("float16", "float32")
META = "meta.json"
VERSION = "4"  # of the code of this room: raise it whenever a file's contents change their meaning


class Stored(Protocol):
    """How values are stored."""

    @property
    def precision(self) -> str:
        """`float16` or `float32`."""

    @property
    def top_k(self) -> int:
        """Largest entries of a vocabulary that are kept of logits; 0 for all."""


def stored_as(how: Stored) -> str:
    """Return how values are stored, as the key tells it."""
    return f"{how.precision}, {how.top_k} largest of a vocabulary" if how.top_k else how.precision


Parts = Mapping[str, str]
"""What decides the contents of a cache, in the words of a refusal -> a text that is equal where it is equal."""


def key_parts(
    teacher: Teacher, dataset_fingerprint: str, precision: str, split: EncodedSplit, *, passes: str = ""
) -> dict[str, str]:
    """Return all that decides what the teacher says, and where its rows lie.

    That is its weights, tokenizer and preprocessing; the data, how pictures become pixels, the split with the very ids of
    its texts in their order; the precision of what is kept; and that of the passes, where it is not float32.
    """
    return {
        **parts_of(teacher, split),
        "data": dataset_fingerprint,
        "precision": precision,
        **({"passes": passes} if passes else {}),
    }


def parts_of(teacher: Teacher, split: EncodedSplit | None = None) -> dict[str, str]:
    """Return those parts of the key that follow from a teacher and a split: what a trial knows, too."""
    tokens = teacher.tokenizer
    found = {
        "teacher": teacher.files.fingerprint,
        "tokenizer": _told([tokens.digest, tokens.to_dict()]) if tokens else "none",
        "transform": _told(teacher.preprocess.to_dict()),
        "pixels": f"version {PIXELS_VERSION}",
        "code": f"version {VERSION}",
    }
    if code := foreign_code(teacher.blueprint.family):
        found["plug-in"] = ", ".join(f"{package} {digest}" for package, digest in code.items())
    if split is not None:
        texts = {
            kind: _digest(
                table.ids.tobytes() + table.starts.tobytes() + table.images.tobytes() + _once(table.order)
            )
            for kind, table in split.tables.items()
        }
        found |= {"split": f"{split.name}, {split.num_images} pictures", "texts": _told(texts)}
    return found


def _once(order: np.ndarray) -> bytes:
    """Return what keeps those caches apart that an earlier version filled with each row as often as it is drawn."""
    return b"each row once" if len(order) > len(np.unique(order)) else b""


def key_of(parts: Parts) -> str:
    """Return the name of the folder of a cache."""
    return _digest(json.dumps(dict(parts), sort_keys=True).encode())[:16]


def cache_key(teacher: Teacher, dataset_fingerprint: str, precision: str, split: EncodedSplit) -> str:
    """Return the folder name: a hash of all that `key_parts` names."""
    return key_of(key_parts(teacher, dataset_fingerprint, precision, split))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _told(value: Any) -> str:
    return _digest(json.dumps(value, sort_keys=True).encode())[:16]


def row_shape(offer: Offer, split: EncodedSplit) -> tuple[int, ...]:
    """Return the shape of what is kept for one row; text axes are as long as the longest text of the split."""
    longest = {"T": split.tables[offer.rows].ids.shape[1]} if offer.rows in split.tables else {}
    return tuple(longest.get(axis, size) for axis, size in zip(offer.axes, offer.sizes, strict=True))


def precision_of(offer: Offer, precision: str) -> str:
    """Return the type in which a want is kept: one number for all rows costs nothing."""
    return precision if offer.rows else "float32"


def forms(want: Want, offer: Offer, split: EncodedSplit, how: Stored) -> dict[str, Form]:
    """Return name -> form of the tensors that keep one row of a want."""
    kept = num_kept(offer, how.top_k)
    told = forms_of(row_shape(offer, split), precision_of(offer, how.precision), kept)
    return {f"{want}{ending}": Form(*form) for ending, form in told.items()}


def row_bytes(offer: Offer, split: EncodedSplit, how: Stored) -> int:
    """Return the bytes that are kept for one row, less its checksum."""
    return sum(form.num_bytes for form in forms(Want("", ""), offer, split, how).values())


def cacheable(wants: Wants, offers: Offers, split: EncodedSplit) -> Wants:
    """Return those wants that the split has rows for."""
    kinds = {"", PICTURE, *split.tables}
    return frozenset(want for want in wants if offers[want].rows in kinds)


def part_path(folder: Path, name: str, number: int, count: int) -> Path:
    """Return the file of a part of a set."""
    return folder / f"{name}-{number:03d}-of-{count:03d}.safetensors"


def to_json(want: Want) -> list[Any]:
    """Return a want as JSON has it; `from_json` reads it back."""
    return list(want)


def from_json(fields: Any) -> Want:
    """Return the want that `to_json` wrote.

    Raises:
        ValueError: it is none.
    """
    if isinstance(fields, list) and len(fields) == 3:
        mode, what, layer = fields
        if isinstance(mode, str) and isinstance(what, str) and (layer is None or type(layer) is int):
            return Want(mode, what, layer)
    raise ValueError(f"no want: {str(fields)[:80]}")
