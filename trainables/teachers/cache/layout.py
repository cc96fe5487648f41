"""Where cached signals lie: one `.npy` file per want, a row per row of the kind that the want is about."""

import hashlib
import json
from pathlib import Path

from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.pictures import VERSION as PIXELS_VERSION
from trainables.signals import PICTURE, Offer, Offers, Want, Wants
from trainables.teachers.teacher import Teacher

PRECISIONS = ("float16", "float32")
META = "meta.json"
VERSION = "3"  # raise it whenever a file's contents change their meaning


def cache_key(teacher: Teacher, dataset_fingerprint: str, precision: str, split: EncodedSplit) -> str:
    """Return the folder name: a hash of all that decides what the teacher says, and of where its rows lie.

    That is its weights, tokenizer and preprocessing; the data, how pictures become pixels, the split with the very ids of
    its texts in their order; and the precision.
    """
    texts = {
        kind: hashlib.sha256(
            table.ids.tobytes() + table.starts.tobytes() + table.images.tobytes()
        ).hexdigest()
        for kind, table in split.tables.items()
    }
    parts = {
        "version": VERSION,
        "teacher": teacher.files.fingerprint,
        "tokenizer": [teacher.tokenizer.digest, teacher.tokenizer.to_dict()] if teacher.tokenizer else None,
        "preprocess": teacher.preprocess.to_dict(),
        "data": dataset_fingerprint,
        "pixels": PIXELS_VERSION,
        "split": [split.name, split.num_images],
        "texts": texts,
        "precision": precision,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def array_path(folder: Path, want: Want) -> Path:
    """Return the file of a want."""
    return folder / f"{want}.npy"


def array_shape(offer: Offer, split: EncodedSplit) -> tuple[int, ...]:
    """Return the shape of a cached array; text axes are as long as the longest text of the split."""
    if not offer.rows:
        return offer.sizes
    longest = {"T": split.tables[offer.rows].ids.shape[1]} if offer.rows in split.tables else {}
    sizes = (longest.get(axis, size) for axis, size in zip(offer.axes, offer.sizes, strict=True))
    return (split.num_rows(offer.rows), *sizes)


def cacheable(wants: Wants, offers: Offers, split: EncodedSplit) -> Wants:
    """Return those wants that the split has rows for."""
    kinds = {"", PICTURE, *split.tables}
    return frozenset(want for want in wants if offers[want].rows in kinds)
