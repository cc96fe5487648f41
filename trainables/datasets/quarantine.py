"""Which pictures of a data set cannot be read: all are decoded once, and what is broken stands in a file of the cache."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import numpy as np

from spaces.errors import DatasetError
from spaces.files import write_text
from spaces.turns import in_turn
from trainables.datasets.base import Progress
from trainables.datasets.cache_folder import cache_folder, unusable
from trainables.datasets.jsonl_files import shown
from trainables.datasets.prepared import Countdown, Item, in_order
from trainables.preprocess import Framing

REFUSE, QUARANTINE = "refuse", "quarantine"
NAMED = 5  # in one sentence
SEEN = Framing(
    8, 8
)  # whether a picture can be decoded hangs on no size; lines are left out for every teacher


def list_of(kind: str, contents: str) -> Path:
    """Return the file that lists the broken pictures of data with these contents."""
    return cache_folder("quarantine") / f"{kind}-{contents}.json"


@dataclass(frozen=True, kw_only=True)
class Looked(Generic[Item]):
    """Pictures to look through.

    Attributes:
        kind: of the data set, for progress.
        names: of the pictures, in their order.
        items: gives them, in the same order; see `Prepared`.
        decode: gives the pixels of one, or what is wrong with it.
    """

    kind: str
    names: Sequence[str]
    items: Callable[[], Iterable[Item]]
    decode: Callable[[Item, Framing], np.ndarray | str]


def broken_places(file: Path, pictures: Looked[Item], progress: Progress) -> dict[int, str]:
    """Return place in the order -> what is wrong, of all that cannot be decoded.

    They are decoded by the first process that asks; the file holds what it found.

    Args:
        file: see `list_of`.
        pictures: all of them.
        progress: told while they are decoded.

    Raises:
        DatasetError: the file is damaged.
        StorageError: it cannot be written.
    """
    count = len(pictures.names)
    if not file.exists():
        with in_turn(file, "list of broken pictures", say=progress):
            if not file.exists():  # another process may have made it meanwhile
                _look_through(file, pictures, progress)
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        found = {int(one["place"]): str(one["why"]) for one in kept["left_out"]}
        if kept["pictures"] != count or not all(0 <= place < count for place in found):
            raise ValueError(f"of {kept['pictures']} pictures, here are {count}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(unusable(file, error, "all pictures are looked through again")) from error
    return found


def _look_through(file: Path, pictures: Looked[Item], progress: Progress) -> None:
    count = len(pictures.names)
    tell = Countdown(f"{pictures.kind}:", count, "looked through for broken ones", progress)
    found = []
    decoded = in_order(pictures.items(), lambda item: pictures.decode(item, SEEN))
    for place, (name, (_, pixels)) in enumerate(zip(pictures.names, decoded, strict=True)):
        if isinstance(pixels, str):
            found.append({"place": place, "name": shown(name), "why": pixels})
        tell.one_more()
    write_text(file, json.dumps({"pictures": count, "left_out": found}, indent=1) + "\n")


def told_left_out(names: Sequence[str], count: int, file: Path) -> list[str]:
    """Return what is said of pictures that were left out, a line; [] where there are none."""
    if not names:
        return []
    return [
        f"WARNING: {len(names):,} of {count:,} pictures cannot be read and are left out: {_some(names)}. "
        f"Each stands with the reason in {file}"
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(shown(name, 60) for name in names[:NAMED]) + more
