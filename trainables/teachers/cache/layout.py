"""Where cached signals lie: one `.npy` file per want, a row per row of the kind that the want is about."""

import hashlib
import json
from pathlib import Path

from trainables.datasets.encoded import EncodedSplit
from trainables.signals import PICTURE, Offer, Offers, Want, Wants
from trainables.teachers.teacher import Teacher

PRECISIONS = ("float16", "float32")
META = "meta.json"
VERSION = "2"  # raise it whenever a file's contents change their meaning


def cache_key(teacher: Teacher, dataset_fingerprint: str, precision: str) -> str:
    """Return the folder name: hash of teacher weights, tokenizer, data, preprocessing and precision."""
    parts = [
        teacher.files.fingerprint,
        dataset_fingerprint,
        precision,
        json.dumps(teacher.preprocess.to_dict(), sort_keys=True),
        teacher.tokenizer.digest if teacher.tokenizer else "",
        VERSION,
    ]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


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
