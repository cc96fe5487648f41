"""What is still to be filled of a cache, in parts that any process can fill: here, or on another node."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from spaces.errors import TeacherError
from trainables.datasets.cache_folder import unusable
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import PICTURE, Offers, Want, Wants
from trainables.teachers.cache.contents import AGAIN, Contents, WantSet, known_contents
from trainables.teachers.cache.layout import (
    PRECISIONS,
    cacheable,
    from_json,
    key_parts,
    part_path,
    row_bytes,
    stored_as,
    to_json,
)
from trainables.teachers.cache.part_file import PartFile
from trainables.teachers.teacher import Teacher

PART_BYTES = 1 << 26  # of a part, so that a resume repeats little; but
FEWEST, MOST = 16, 64  # parts, for workers to share, and since a reader keeps each one open
SMALLEST = 32  # pictures in a part

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How signals are kept.

    Attributes:
        precision: `float16` or `float32`.
        top_k: largest entries of a vocabulary that are kept of logits, see `largest`; 0 for all.
        data: fingerprint of the data set; "" where nobody asks.
        passes: of the teacher in another precision than float32; "" for that.
        told: for people: name of the teacher, kind of data, ...
    """

    precision: str
    top_k: int = 0
    data: str = ""
    passes: str = ""
    told: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise TeacherError(
                f"teacher_cache.precision: got {self.precision!r}; allowed: {', '.join(PRECISIONS)}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file to fill: what is wanted about a range of pictures and their texts. JSON all through.

    Attributes:
        folder: of the cache, absolute, as every node sees it.
        name: of its set.
        wants: what is kept.
        number, count: which part of the set this is, and how many there are.
        first, behind: the pictures.
        num_rows: of all kinds, for the progress.
        precision, top_k: of what is kept.
    """

    folder: str
    name: str
    wants: tuple[Want, ...]
    number: int
    count: int
    first: int
    behind: int
    num_rows: int
    precision: str
    top_k: int = 0

    @property
    def path(self) -> Path:
        """Its file."""
        return part_path(Path(self.folder), self.name, self.number, self.count)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON; `from_dict` reads it back."""
        return {**asdict(self), "wants": [to_json(want) for want in self.wants]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the part that `to_dict` wrote."""
        return cls(**{**fields, "wants": tuple(from_json(list(one)) for one in fields["wants"])})


def plan_fill(
    folder: Path, teacher: Teacher, split: EncodedSplit, wants: Wants, kept: Kept, *, say: Say | None = None
) -> tuple[list[Part], Contents]:
    """Return the parts that are missing or damaged, and what `meta.json` is to say before they are filled. Writes nothing.

    What an earlier filling has left undone is gone on with, where all of it is still wanted.

    Args:
        folder: of the cache, there or not.
        teacher, split: whose signals.
        wants: what is to be there in the end.
        kept: how.
        say: takes a line on a file that is damaged.

    Raises:
        TeacherError: the folder is that of another cache: names what differs.
    """
    parts = key_parts(teacher, kept.data, stored_as(kept), split, passes=kept.passes)
    known = known_contents(folder, parts, kept.told)
    left = cacheable(wants, teacher.offers, split)
    found: list[Part] = []
    for one in known.sets:
        asked = left & frozenset(one.wants)
        if asked and (one.complete or len(asked) == len(one.wants)):
            left -= asked
            missing = _missing(_parts(folder, one, split, teacher.offers, kept), say)
            found += missing
            known = known.with_set(
                WantSet(name=one.name, wants=one.wants, count=one.count, complete=not missing)
            )
    if left:
        new = _new_set(left, teacher.offers, split, kept)
        known = known.with_set(new)
        found += _missing(_parts(folder, new, split, teacher.offers, kept), say)
    return found, known


def passes_on(device: torch.device) -> str:
    """Return the precision of a teacher's passes on a device, as the key of a cache tells it: "" for float32."""
    return "bfloat16 in autocast" if device.type == "cuda" else ""


def part_bytes(part: Part, teacher: Teacher, split: EncodedSplit) -> int:
    """Return how much room a part takes."""
    rows = rows_of(part.first, part.behind, split)
    return sum(
        len(rows[offer.rows]) * row_bytes(offer, split, part)
        for offer in (teacher.offers[want] for want in part.wants)
        if offer.rows
    )


def rows_of(first: int, behind: int, split: EncodedSplit) -> dict[str, np.ndarray]:
    """Return kind of row -> the rows about a range of pictures, those of texts in the order of their pictures."""
    found = {PICTURE: np.arange(first, behind, dtype=np.int64)}
    for kind, table in split.tables.items():
        rows = table.order[table.offsets[first] : table.offsets[behind]].astype(np.int64)
        found[kind] = rows[
            np.diff(rows, prepend=-1) != 0
        ]  # one that is drawn several times stands side by side, and is kept once
    return found


def _new_set(wants: Wants, offers: Offers, split: EncodedSplit, kept: Kept) -> WantSet:
    """Return a set of wants, cut such that its parts are neither too large nor too many."""
    size = sum(
        split.num_rows(offers[want].rows) * row_bytes(offers[want], split, kept)
        for want in wants
        if offers[want].rows
    )
    count = min(max(math.ceil(size / PART_BYTES), FEWEST), MOST, math.ceil(split.num_images / SMALLEST))
    ordered = tuple(sorted(wants, key=str))
    told = json.dumps([*map(to_json, ordered), kept.precision, kept.top_k, count])
    name = hashlib.sha256(told.encode()).hexdigest()[:8]
    return WantSet(name=name, wants=ordered, count=max(count, 1))


def _parts(folder: Path, one: WantSet, split: EncodedSplit, offers: Offers, kept: Kept) -> list[Part]:
    """Return all parts of a set."""
    kinds = {offers[want].rows for want in one.wants}
    found = []
    for number in range(one.count):
        first, behind = (split.num_images * at // one.count for at in (number, number + 1))
        rows = rows_of(first, behind, split)
        found.append(
            Part(
                folder=str(folder),
                name=one.name,
                wants=one.wants,
                number=number,
                count=one.count,
                first=first,
                behind=behind,
                num_rows=sum(len(rows[kind]) for kind in kinds if kind),
                precision=kept.precision,
                top_k=kept.top_k,
            )
        )
    return found


def _missing(parts: Sequence[Part], say: Say | None) -> list[Part]:
    """Return those whose file is not there, or is not as it was written."""
    return [part for part in parts if not _is_there(part.path, say)]


def _is_there(path: Path, say: Say | None) -> bool:
    """Return whether a file is there and sound; say what is wrong with it."""
    if not path.exists():
        return False
    try:
        PartFile(path).check()
    except OSError as error:
        raise TeacherError(f"teacher cache {unusable(path, error, AGAIN)}") from error
    except ValueError as error:
        if say:
            say(f"teacher cache {path}: damaged ({error}); {AGAIN}")
        return False
    return True
