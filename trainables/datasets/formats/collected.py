"""What all formats have in common: from a listing of pictures to fingerprint, prepared splits and what is said of them."""

import hashlib
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from spaces.errors import DatasetError
from trainables.datasets.base import SPLITS, Dataset, Progress, Split
from trainables.datasets.contents import reason
from trainables.datasets.formats.entries import TOLD, Listing, Problems
from trainables.datasets.formats.stores import REMEDY, Entry, Source
from trainables.datasets.formats.walk import some
from trainables.datasets.jsonl_files import shown
from trainables.datasets.pictures import VERSION as PIXELS
from trainables.datasets.prepared import Prepared, mapped, owners
from trainables.datasets.quarantine import QUARANTINE, Looked, broken_places, list_of, told_left_out
from trainables.datasets.twins import Twin, told_twins, twins
from trainables.preprocess import Framing
from trainables.signals import CAPTION, LABEL, PICTURE

VERSION = 1  # raise it whenever a change here changes a pixel, a text, a class or a split
WORDS = {"train": "train on", "val": "validate on", "test": "test on"}


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The pictures that are used, once all are hashed.

    Attributes:
        splits: those of each split.
        left_out: names of those that cannot be read.
        twins: held-out pictures whose bytes stand before.
        doubts: what is said of pictures that are in two classes.
        file: the list of those that were left out.
    """

    fingerprint: str
    splits: dict[str, list[Entry]]
    left_out: list[str]
    twins: list[Twin]
    doubts: list[str]
    file: Path | None


class Collected(Dataset):
    """Pictures that lie in some order on disk; a subclass says which there are.

    Attributes:
        kind: name in the table of data sets.
        root: folder or file that all is below.
    """

    def __init__(self, kind: str, root: Path, *, broken: str) -> None:
        """Take what all formats have.

        Args:
            kind: name in the table of data sets.
            root: folder or file that all is below.
            broken: whether pictures that cannot be read end all, or are left out.
        """
        self.kind, self.root, self._broken = kind, root, broken
        self._known: _Kept | None = None

    @abstractmethod
    def _list(self) -> Listing:
        """Return all pictures.

        Raises:
            DatasetError: all that is wrong with names, classes and texts.
        """

    @cached_property
    def _listing(self) -> Listing:
        found = self._list()
        problems = Problems(self.root)
        _check_splits(found.by_split(), found.divided, problems)
        _check_classes(found.by_split(), found.classes, problems)
        problems.raise_any()
        return found

    @property
    def specification(self) -> str:
        """Empty: such data is bound to no task."""
        return ""

    @property
    def kinds(self) -> frozenset[str]:
        """Pictures; labels and captions where every picture has them."""
        entries = self._listing.entries
        captioned = all(entry.captions for entry in entries)
        return frozenset(
            {PICTURE, *([CAPTION] if captioned else []), *([LABEL] if self._listing.classes else [])}
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels."""
        return self._listing.classes

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that have pictures: train and val always."""
        there = {entry.split for entry in self._listing.entries}
        return tuple(name for name in SPLITS if name in there)

    @property
    def num_images(self) -> int:
        """Number of pictures in all splits, broken ones among them."""
        return len(self._listing.entries)

    @property
    def fingerprint(self) -> str:
        """Hash of what counts: bytes, class and captions of the pictures of each split in their order; and of the code.

        Names, paths and times do not count, names of classes do. Pictures that were left out count, too.
        """
        return self.fingerprinted(lambda line: None)

    def fingerprinted(self, progress: Progress) -> str:
        """Return `fingerprint`, telling the progress of reading pictures for the first time.

        Raises:
            DatasetError: all that is wrong with the data, and files that cannot be read.
        """
        return self._kept(progress).fingerprint

    def _kept(self, progress: Progress) -> _Kept:
        if self._known is None:
            self._known = self._sorted_out(progress)
        return self._known

    def _sorted_out(self, progress: Progress) -> _Kept:
        """Hash all pictures, and leave out those that are broken where that is asked for."""
        listing = self._listing
        entries = [entry for some_of in listing.by_split().values() for entry in some_of]
        hashes = listing.store.hashes(entries, progress)
        wrong: dict[int, str] = {
            place: f"{shown(entries[place].name)} cannot be read ({reason(found)}); replace it or {REMEDY}."
            for place, found in enumerate(hashes)
            if isinstance(found, OSError)
        }
        file: Path | None = None
        if self._broken == QUARANTINE:
            names = [entry.name for entry in entries]
            contents = _digest([[str(found)] for found in hashes])
            file = list_of(self.kind, contents)
            store = listing.store
            looked = Looked(
                kind=self.kind, names=names, items=lambda: store.sources(entries), decode=store.decode
            )
            wrong |= broken_places(file, looked, progress)
        elif wrong:
            self._refuse_texts(list(wrong.values()))
        kept = [(entry, str(hashes[place])) for place, entry in enumerate(entries) if place not in wrong]
        splits = {name: [entry for entry, _ in kept if entry.split == name] for name in SPLITS}
        if wrong:
            self._check_left(splits, [entries[place].name for place in wrong])
        told: list[Sequence[object]] = [[VERSION, PIXELS], listing.classes]
        told += [[entry.split, content, entry.label, entry.captions] for entry, content in kept]
        told += [["left out", str(hashes[place])] for place in sorted(wrong)]
        return _Kept(
            fingerprint=_digest(told),
            splits=splits,
            left_out=[entries[place].name for place in sorted(wrong)],
            twins=twins((entry.name, entry.split, content) for entry, content in kept),
            doubts=list(_doubts(kept, self.classes)),
            file=file,
        )

    def _check_left(self, splits: dict[str, list[Entry]], gone: Sequence[str]) -> None:
        """Refuse a quarantine that leaves a split or a class without pictures."""
        problems = Problems(self.root)
        _check_splits(splits, f"{len(gone):,} that cannot be read left out: {some(gone)}", problems)
        if not problems.count:
            _check_classes(splits, self.classes, problems)
        problems.raise_any()

    def _refuse(self, found: Sequence[tuple[tuple[Entry, Source], str]]) -> None:
        self._refuse_texts([why for _, why in found])

    def _refuse_texts(self, texts: Sequence[str]) -> None:
        rest = len(texts) - TOLD
        more = [f"... and {rest} more: {len(texts)} broken pictures in all."] if rest > 0 else []
        raise DatasetError("\n".join([*texts[:TOLD], *more]))

    def caption_counts(self, name: str, *, images: int, captions_per_image: int) -> tuple[int, int] | None:
        """Return how many pictures, and how many different captions, the first of a split have; None without captions."""
        if CAPTION not in self.kinds:
            return None
        chosen = self._kept(lambda line: None).splits[name][:images]
        different = {
            " ".join(text.casefold().split())
            for entry in chosen
            for text in entry.captions[:captions_per_image]
        }
        return len(chosen), len(different)

    def describe(self) -> str:
        """Return one line about place, sizes and division."""
        splits = self._kept(lambda line: None).splits
        held = ", ".join(
            f"{len(splits[name]):,} to {WORDS[name]}" for name in ("val", "test") if splits[name]
        )
        classes = f" of {len(self.classes):,} classes" if self.classes else ""
        captions = sum(len(entry.captions) for entry in splits["train"])
        with_texts = f" with {captions:,} captions" if CAPTION in self.kinds else ""
        return (
            f"{self.kind} {shown(self.root.name, 60)}: {len(splits['train']):,} images{classes} to train on{with_texts}; "
            f"{held} (divided by {self._listing.divided})"
        )

    def remarks(self) -> list[str]:
        """Return what was left out or not read, and pictures that are byte for byte in two splits."""
        kept = self._kept(lambda line: None)
        left = told_left_out(kept.left_out, self.num_images, kept.file) if kept.file else []
        return [
            *self._listing.notes,
            *left,
            *kept.doubts,
            *told_twins(kept.twins, captioned=CAPTION in self.kinds),
        ]

    def split(self, name: str, *, framing: Framing, progress: Progress) -> Split:
        """Return one split; the pictures of all splits are prepared at the first call.

        Raises:
            DatasetError: what is wrong with the data; an unknown split, or an empty one.
        """
        if name not in SPLITS:
            raise DatasetError(f"{self.kind}: no split is called {name!r}; allowed: {', '.join(SPLITS)}.")
        if name not in self.split_names:
            raise DatasetError(f"{self.root}: has no {name} pictures; it has {', '.join(self.split_names)}.")
        splits = self._kept(progress).splits
        chosen = splits[name]
        pixels = self._pixels(framing, progress)
        first = sum(len(splits[earlier]) for earlier in SPLITS[: SPLITS.index(name)])
        captioned, nothing = CAPTION in self.kinds, np.zeros(0, dtype=np.int64)
        return Split(
            name=name,
            pixels=pixels[first : first + len(chosen)],
            captions=[text for entry in chosen for text in entry.captions] if captioned else [],
            caption_images=owners(len(entry.captions) for entry in chosen) if captioned else nothing,
            questions=[],
            answers=[],
            question_images=nothing,
            labels=np.array([entry.label for entry in chosen], dtype=np.int64) if self.classes else None,
        )

    def _pixels(self, framing: Framing, progress: Progress) -> np.ndarray:
        """Return (N, S, S, 3) uint8 of all splits one after the other, mapped from disk."""
        kept, store = self._kept(progress), self._listing.store
        entries = [entry for name in SPLITS for entry in kept.splits[name]]
        wanted = Prepared[tuple[Entry, Source]](
            kind=self.kind,
            fingerprint=kept.fingerprint,
            count=len(entries),
            items=lambda: store.sources(entries),
            decode=store.decode,
            refuse=self._refuse,
        )
        return mapped(wanted, framing, progress)


def _check_splits(splits: dict[str, list[Entry]], why: str, problems: Problems) -> None:
    """Note splits that are needed and empty."""
    count = sum(map(len, splits.values()))
    for name in ("train", "val"):
        if not splits[name]:
            problems.add(
                f"has no pictures to {WORDS[name]}: got {count:,} pictures in all ({why}). Add some, or change the division."
            )


def _check_classes(splits: dict[str, list[Entry]], classes: tuple[str, ...], problems: Problems) -> None:
    """Note classes that are held out and not trained on, and data that has one class alone."""
    if not classes:
        return
    if len(classes) < 2:
        problems.add(f"has one class, {shown(classes[0], 60)}; allowed: two or more, to tell apart.")
    trained = {entry.label for entry in splits["train"]}
    for name in ("val", "test"):
        held = Counter(entry.label for entry in splits[name])
        strange = [classes[label] for label in sorted(held) if label not in trained]
        if strange and splits["train"]:
            problems.add(
                f"{name} has classes that train has no picture of: {some(strange)}. Add such pictures to train, or remove "
                f"them from {name}."
            )


def _doubts(kept: Sequence[tuple[Entry, str]], classes: tuple[str, ...]) -> Iterator[str]:
    """Yield what is said of pictures that are byte for byte in two classes."""
    first: dict[str, Entry] = {}
    found = [
        (other, entry)
        for entry, content in kept
        if (other := first.setdefault(content, entry)).label != entry.label
    ]
    if found:
        told = " and ".join(f"{shown(one.name)} ({shown(classes[one.label], 60)})" for one in found[0])
        yield (
            f"WARNING: {len(found):,} {'pictures are' if len(found) > 1 else 'picture is'} byte for byte in another class, too, "
            f"such as {told}: one of the two labels is wrong"
        )


def class_notes(entries: Sequence[Entry], classes: tuple[str, ...]) -> Iterator[str]:
    """Yield what is said of classes that a split has no pictures of."""
    there: dict[str, set[int]] = {}
    for entry in entries:
        there.setdefault(entry.split, set()).add(entry.label)
    for name in (name for name in SPLITS if name in there):
        lacking = [one for label, one in enumerate(classes) if label not in there[name]]
        if lacking:
            yield (
                f"WARNING: {name} has no pictures of {len(lacking):,} of {len(classes):,} classes: {some(lacking)}; figures on "
                f"it say nothing of them"
            )


def _digest(rows: Sequence[Sequence[object]]) -> str:
    found = hashlib.sha256()
    for row in rows:
        found.update(json.dumps(row).encode())
    return found.hexdigest()[:16]
