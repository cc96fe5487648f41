"""What a format lists: pictures with their split, class and captions, before any of them is decoded."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from spaces.errors import DatasetError
from spaces.rules import Number
from trainables.datasets.base import SPLITS
from trainables.datasets.formats.stores import Entry, Store

SHARE = {"rule": Number(low=0, high=1, open_high=True)}
SEED = {"rule": Number(whole=True, low=0)}
TOLD = 10
KEPT = 1000  # problems of which the text is kept


class Problems:
    """What is wrong with a data set; all of it is told at once."""

    def __init__(self, place: object) -> None:
        """Take what is read: a folder or a file, as messages name it."""
        self.place = place
        self.texts: list[str] = []
        self.count = 0

    def add(self, text: str) -> None:
        """Note one problem."""
        self.count += 1
        if len(self.texts) < KEPT:
            self.texts.append(text)

    def raise_any(self) -> None:
        """Raise all problems as one error: the first ten, and how many there are.

        Raises:
            DatasetError: there is a problem.
        """
        if self.count:
            told = [f"{self.place}: {text}" for text in self.texts[:TOLD]]
            rest = self.count - TOLD
            raise DatasetError(
                "\n".join([*told, *([f"... and {rest} more: {self.count} in all."] if rest > 0 else [])])
            )


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All pictures of a data set.

    Attributes:
        entries: in an order that does not depend on the machine; those of a split follow each other in it.
        classes: names in the order of their labels; () where pictures have none.
        divided: by what the splits are made, for the log.
        store: reads the pictures.
        notes: what the user should know though nothing is wrong, a line each.
    """

    entries: Sequence[Entry]
    classes: tuple[str, ...]
    divided: str
    store: Store
    notes: Sequence[str] = field(default=())

    def by_split(self) -> dict[str, list[Entry]]:
        """Return the pictures of each split, in their order."""
        found: dict[str, list[Entry]] = {name: [] for name in SPLITS}
        for entry in self.entries:
            found[entry.split].append(entry)
        return found


def check_shares(**shares: float) -> None:
    """Refuse shares that leave nothing to train on.

    Raises:
        DatasetError: one is out of range, or all together.
    """
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise DatasetError(f"dataset.{name}: got {value}; allowed: 0 or more, below 1. Change it.")
    if sum(shares.values()) >= 1:
        names = " + ".join(f"dataset.{name}" for name in shares)
        raise DatasetError(f"{names}: got {sum(shares.values()):g}; allowed: below 1. Lower one of them.")


def divide(groups: Mapping[int, Sequence[str]], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Return name -> split: each group gives its share to each split, and the rest to train.

    What falls between whole pictures goes to the groups with the largest remainders, so that a split has its share of all
    pictures, too. Each group keeps one picture to train on. The order of names plays no part, and a name has its place in
    every machine.

    Args:
        groups: class -> names of its pictures.
        shares: held-out split -> share of the pictures.
        seed: another one holds out other pictures.
    """
    found: dict[str, str] = {}
    orders = {group: sorted(names, key=lambda name: _rank(name, seed)) for group, names in groups.items()}
    for split, share in shares.items():
        total = sum(map(len, groups.values()))
        exact = {group: len(names) * share for group, names in groups.items()}
        counts = {group: int(value) for group, value in exact.items()}
        missing = round(total * share) - sum(counts.values())
        by_rest = sorted(exact, key=lambda group: (counts[group] - exact[group], _rank(str(group), seed)))
        for group in by_rest[: max(0, missing)]:
            counts[group] += 1
        for group, order in orders.items():
            free = [name for name in order if name not in found]
            found |= dict.fromkeys(free[: min(counts[group], len(free) - 1)], split)
    return {name: found.get(name, "train") for order in orders.values() for name in order}


def redivided(entries: Iterable[Entry], shares: Mapping[str, float], seed: int) -> Iterator[Entry]:
    """Yield pictures with those of train divided anew, class by class; the other splits stay as they are."""
    known = list(entries)
    groups: dict[int, list[str]] = {}
    for entry in known:
        if entry.split == "train":
            groups.setdefault(entry.label, []).append(entry.name)
    splits = divide(groups, shares, seed)
    for entry in known:
        yield entry.in_split(splits[entry.name]) if entry.split == "train" else entry


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0".encode() + os.fsencode(name)).digest()
