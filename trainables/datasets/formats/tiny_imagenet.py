"""Tiny ImageNet as it is published: 200 classes of 64 x 64 pictures in a folder format of its own.

    tiny-imagenet-200/
      wnids.txt                       the 200 classes, a WordNet id a line
      words.txt                       id, tab, names: those of all of ImageNet
      train/n01443537/images/*.JPEG   500 of each class (the boxes beside them are not read)
      val/images/*.JPEG               10,000
      val/val_annotations.txt         file, tab, class, and a box that is not read
      test/images/*.JPEG              without labels: not used

The published validation split is `val`; sorted into class folders, as many do, it is read by them. There are no labels of a
test split: `test_ratio` of train can be held out as one.
Classes are ordered by their ids, as the class folders of an `ImageFolder` would be.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from trainables.datasets.formats.collected import Collected, class_notes
from trainables.datasets.formats.entries import SEED, SHARE, Listing, Problems, check_shares, redivided
from trainables.datasets.formats.stores import Entry, FileStore
from trainables.datasets.formats.tables import lines
from trainables.datasets.formats.walk import folder_of, folders_in, pictures_below, some
from trainables.datasets.jsonl_files import shown

WNIDS = "the list of the classes, a WordNet id a line"
ANNOTATIONS = "val/val_annotations.txt"


class TinyImageNetDataset(Collected):
    """Tiny ImageNet."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Where it is.

        Attributes:
            root: the folder that holds wnids.txt.
            test_ratio: share of each class of train that is held out as test split; without one there is none.
            seed: of that division.
            broken: `refuse` tells all pictures that cannot be read, and ends; `quarantine` leaves them out, and lists them.
        """

        root: str
        test_ratio: float = field(default=0.0, metadata=SHARE)
        seed: int = field(default=0, metadata=SEED)
        broken: Literal["refuse", "quarantine"] = "refuse"

    def __init__(self, config: Config) -> None:
        self.config = config
        check_shares(test_ratio=config.test_ratio)
        super().__init__("tiny_imagenet", folder_of("tiny_imagenet", config.root), broken=config.broken)

    def _list(self) -> Listing:
        problems, notes = Problems(self.root), list[str]()
        self._check_root(problems)
        ids = self._ids(problems)
        labels = {one: label for label, one in enumerate(ids)}
        sorted_in = self._val_folders()
        entries = [*self._train(ids, problems), *self._val(labels, sorted_in, problems)]
        if sorted_in:
            notes.append(
                f"val is sorted into class folders, which tell the classes; {ANNOTATIONS} is not read"
            )
        problems.raise_any()
        classes = self._names(ids, notes)
        c = self.config
        return Listing(
            entries=list(redivided(entries, {"test": c.test_ratio}, c.seed)),
            classes=classes,
            divided="the folders"
            + (f", test is {c.test_ratio:g} of train, seed {c.seed}" if c.test_ratio else ""),
            store=FileStore(self.kind, self.root),
            notes=[*notes, *class_notes(entries, classes)],
        )

    def _check_root(self, problems: Problems) -> None:
        """Refuse a folder that is another one."""
        if (self.root / "wnids.txt").exists():
            return
        inside = [name for name in folders_in(self.root) if (self.root / name / "wnids.txt").exists()]
        hint = (
            f"Did you mean {shown(str(self.root / inside[0]))}?"
            if inside
            else "Other class folders: --dataset imagefolder:FOLDER."
        )
        problems.add(f"holds no wnids.txt, {WNIDS}. {hint}")
        problems.raise_any()

    def _ids(self, problems: Problems) -> list[str]:
        """Return the ids of the classes, rising."""
        found: list[str] = []
        for number, columns in lines(self.root / "wnids.txt", WNIDS):
            if len(columns) != 1 or len(columns[0].split()) != 1:
                problems.add(
                    f"wnids.txt:{number}: got {shown(' '.join(columns), 60)!r}; allowed: one WordNet id."
                )
            elif columns[0] in found:
                problems.add(f"wnids.txt:{number}: {shown(columns[0], 60)} stands twice. Remove one.")
            else:
                found.append(columns[0])
        if not found and not problems.count:
            problems.add("wnids.txt is empty; allowed: a WordNet id a line.")
        problems.raise_any()
        return sorted(found)

    def _train(self, ids: list[str], problems: Problems) -> list[Entry]:
        """Return the pictures of the class folders."""
        if not (self.root / "train").is_dir():
            problems.add("holds no folder train. Unpack the whole archive.")
            return []
        folders = folders_in(self.root / "train")
        strange, missing = sorted(set(folders) - set(ids)), sorted(set(ids) - set(folders))
        if strange:
            problems.add(
                f"train has folders of classes that are not in wnids.txt: {some(strange)}. Add them to it, or remove them."
            )
        if missing:
            problems.add(
                f"train has no folders of classes that are in wnids.txt: {some(missing)}. Unpack the whole archive."
            )
        found = []
        for label, one in enumerate(ids):
            if one in missing:
                continue
            below = pictures_below(self.root, f"train/{one}", problems.add)
            found += [Entry(name=name, split="train", label=label) for name in below.pictures]
            if not below.pictures:
                problems.add(
                    f"train/{shown(one, 60)} is a class folder without pictures. Fill it, or remove its class from wnids.txt."
                )
        return found

    def _val_folders(self) -> list[str]:
        """Return the class folders of val, as many sort its pictures; none where it is as published."""
        if not (self.root / "val").is_dir():
            return []
        if (self.root / "val/images").is_dir() and pictures_below(
            self.root, "val/images", lambda text: None
        ).pictures:
            return []
        return [name for name in folders_in(self.root / "val") if name != "images"]

    def _val(self, labels: dict[str, int], folders: list[str], problems: Problems) -> list[Entry]:
        """Return the pictures of the class folders, or those that val_annotations.txt gives a class, by their names."""
        if folders:
            return list(self._sorted_val(labels, folders, problems))
        there = (
            set(pictures_below(self.root, "val/images", problems.add).pictures)
            if (self.root / "val/images").is_dir()
            else set()
        )
        found: dict[str, Entry] = {}
        for number, columns in lines(self.root / ANNOTATIONS, "the classes of val/images: file, tab, class"):
            place = f"{ANNOTATIONS}:{number}"
            if len(columns) < 2 or not columns[0] or not columns[1]:
                problems.add(
                    f"{place}: got {shown(' '.join(columns), 60)!r}; allowed: file, tab, class, tab, box."
                )
                continue
            name = f"val/images/{columns[0]}"
            if columns[1] not in labels:
                problems.add(f"{place}: got the class {shown(columns[1], 60)}; allowed: those of wnids.txt.")
            elif name not in there:
                problems.add(
                    f"{place}: {shown(name)} does not exist. Unpack the whole archive, or remove the line."
                )
            elif name in found:
                problems.add(f"{place}: {shown(name)} has a class already. Remove one of the lines.")
            else:
                found[name] = Entry(name=name, split="val", label=labels[columns[1]])
        bare = sorted(there - set(found))
        if bare and not problems.count:
            problems.add(
                f"{ANNOTATIONS} says no class of {len(bare):,} pictures: {some(bare)}. Add their lines, or remove them."
            )
        return [found[name] for name in sorted(found)]

    def _sorted_val(self, labels: dict[str, int], folders: list[str], problems: Problems) -> Iterator[Entry]:
        """Yield the pictures of the class folders of val."""
        if strange := sorted(set(folders) - set(labels)):
            problems.add(
                f"val has folders of classes that are not in wnids.txt: {some(strange)}. Add them to it, or remove them."
            )
        if missing := sorted(set(labels) - set(folders)):
            problems.add(
                f"val has no folders of classes that are in wnids.txt: {some(missing)}. Sort all of it."
            )
        for one in sorted(set(folders) & set(labels)):
            for name in pictures_below(self.root, f"val/{one}", problems.add).pictures:
                yield Entry(name=name, split="val", label=labels[one])

    def _names(self, ids: list[str], notes: list[str]) -> tuple[str, ...]:
        """Return the classes by their names, the id behind a name that several have; ids where there are no names."""
        if not (self.root / "words.txt").exists():
            notes.append("words.txt is not there: classes are called by their WordNet ids")
            return tuple(ids)
        wanted = set(ids)
        words = {
            columns[0]: columns[1]
            for _, columns in lines(self.root / "words.txt", "the names of the classes: id, tab, names")
            if len(columns) > 1 and columns[0] in wanted and columns[1]
        }
        if len(words) < len(ids):
            notes.append(
                f"words.txt has no names of {some(one for one in ids if one not in words)}: called by their WordNet ids"
            )
        counts = Counter(words.get(one, one) for one in ids)
        return tuple(
            name if counts[name] == 1 else f"{name} ({one})"
            for one, name in ((one, words.get(one, one)) for one in ids)
        )
