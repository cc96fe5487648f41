"""Own data: a JSONL file with one picture, its captions and perhaps questions per line.

    {"image": "dogs/1.jpg", "caption": "a dog on a sofa", "split": "train"}
    {"image": "dogs/2.jpg", "captions": ["two dogs", "dogs at play"], "split": "val"}
    {"image": "dogs/3.jpg", "caption": "a dog", "question": "how many dogs?", "answer": "1", "split": "val"}

Rows of one image are joined, however they spell its path. A field that is null counts as one that is not there. Pictures
are decoded and resized once, into one array in the cache folder.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from spaces.errors import DatasetError
from spaces.paths import user_path
from spaces.plugins import listed
from spaces.rules import Number
from trainables.datasets.base import SPLITS, Dataset, Progress, Split
from trainables.datasets.contents import Contents, reason
from trainables.datasets.jsonl_fields import Fields
from trainables.datasets.jsonl_files import LARGEST, REMEDY, Files, shown, what_it_is, wrong_size
from trainables.datasets.jsonl_rows import Picture, Problems, read_pictures
from trainables.datasets.pictures import VERSION as PIXELS
from trainables.datasets.pictures import check_header, read_square
from trainables.datasets.prepared import Prepared, broken, mapped, owners
from trainables.datasets.quarantine import QUARANTINE, Looked, broken_places, list_of, told_left_out
from trainables.datasets.twins import Twin, told_twins, twins
from trainables.preprocess import Framing
from trainables.signals import CAPTION, PICTURE, QUESTION

VERSION = 2  # raise it whenever a change here changes a pixel, a text or a split
RATIO = {"rule": Number(low=0, high=1, open_high=True)}
SEED = {"rule": Number(whole=True, low=0)}


class JsonlDataset(Dataset):
    """Pictures and texts of a user."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Where the data is and how it is divided.

        Attributes:
            file: the JSONL file.
            image_root: folder that relative image paths start from; by default the folder of the file.
            image_field, caption_field, split_field: names of the fields. `<caption_field>s` is read too.
            val_ratio, test_ratio: shares of the pictures, used only when no row names a split.
            seed: of that division.
            broken: `refuse` tells all pictures that cannot be read, and ends; `quarantine` leaves them out, and lists them.
        """

        file: str
        image_root: str | None = None
        image_field: str = "image"
        caption_field: str = "caption"
        split_field: str = "split"
        val_ratio: float = field(default=0.1, metadata=RATIO)
        test_ratio: float = field(default=0.1, metadata=RATIO)
        seed: int = field(default=0, metadata=SEED)
        broken: Literal["refuse", "quarantine"] = "refuse"

    def __init__(self, config: Config) -> None:
        self.config = config
        self._known_fingerprint: str | None = None
        self._twins: list[Twin] = []
        self._left_out: list[tuple[str, Path]] = []
        self._fields = Fields(
            image=config.image_field, caption=config.caption_field, split=config.split_field
        )
        self.file = user_path(config.file).absolute()
        self.root = user_path(config.image_root).absolute() if config.image_root else self.file.parent
        _check_places(self.file, self.root if config.image_root else None)
        names = {"image_field": config.image_field, "caption_field": config.caption_field}
        names["split_field"] = config.split_field
        for option, name in names.items():
            if not name or not name.isprintable() or list(names.values()).count(name) > 1:
                given = ", ".join(f"{name} {one!r}" for name, one in names.items())
                raise DatasetError(
                    f"dataset.{option}: got {given}; allowed: three different printable names."
                )
        for name, value in (("val_ratio", config.val_ratio), ("test_ratio", config.test_ratio)):
            if not 0 <= value < 1:
                raise DatasetError(f"dataset.{name}: got {value}; allowed: 0 or more, below 1.")
        if config.val_ratio + config.test_ratio >= 1:
            raise DatasetError(
                f"dataset.val_ratio + dataset.test_ratio: got {config.val_ratio + config.test_ratio:g}; "
                "allowed: below 1."
            )

    @property
    def specification(self) -> str:
        """Empty: own data is bound to no task. Whether a teacher can read it is a matter of unknown words."""
        return ""

    @property
    def fingerprint(self) -> str:
        """Hash of what counts: the rows of each split in their order, with texts and bytes of the pictures; and of the code.

        Paths and times do not count: a copy elsewhere has the same. `contents.py` says what keeps it cheap.
        """
        return self.fingerprinted(lambda line: None)

    def fingerprinted(self, progress: Progress) -> str:
        """Return `fingerprint`, telling the progress of reading pictures for the first time.

        Raises:
            DatasetError: all that is wrong with the file, and pictures that cannot be read.
        """
        if self._known_fingerprint is None:
            self._known_fingerprint = self._fingerprint(progress)
        return self._known_fingerprint

    def _fingerprint(self, progress: Progress) -> str:
        rows = [(name, picture) for name in SPLITS for picture in self._splits[name]]
        digest = hashlib.sha256(json.dumps({"version": VERSION, "pixels": PIXELS}).encode())
        hashes = self._contents.hashes([picture.path for _, picture in rows], progress)
        wrong = {
            place: _broken(rows[place][1], content)
            for place, content in enumerate(hashes)
            if isinstance(content, OSError)
        }
        if self.config.broken == QUARANTINE:
            wrong = self._quarantine(
                [picture for _, picture in rows], hashes, unread=wrong, progress=progress
            )
        else:
            self._refuse([(rows[place][1], why) for place, why in wrong.items()])
        kept = [(name, one, str(hashes[n])) for n, (name, one) in enumerate(rows) if n not in wrong]
        for name, picture, content in kept:
            told = [name, content, picture.captions, picture.questions, picture.answers]
            digest.update(json.dumps(told).encode())
        for place in sorted(wrong):
            digest.update(json.dumps(["left out", str(hashes[place])]).encode())
        self._twins = twins((picture.name, name, content) for name, picture, content in kept)
        return digest.hexdigest()[:16]

    @property
    def _used(self) -> dict[str, list[Picture]]:
        """Pictures by split, without those that are left out."""
        if self.config.broken == QUARANTINE:
            self.fingerprinted(lambda line: None)
        return self._splits

    def _quarantine(
        self,
        pictures: list[Picture],
        hashes: Sequence[str | OSError],
        *,
        unread: dict[int, str],
        progress: Progress,
    ) -> dict[int, str]:
        """Take the broken pictures, and those whose bytes could not be read, out of the splits; return place -> why."""
        contents = hashlib.sha256(json.dumps([str(content) for content in hashes]).encode()).hexdigest()[:16]
        file = list_of("jsonl", contents)
        names = [picture.name for picture in pictures]
        looked = Looked(kind="jsonl", names=names, items=lambda: pictures, decode=self._decode)
        found = unread | broken_places(file, looked, progress)
        gone = {pictures[place].identity for place in found}
        for name, chosen in self._splits.items():
            left = [picture for picture in chosen if picture.identity not in gone]
            if chosen and not left:
                raise DatasetError(
                    f"{self.file}: no {name} row is left: none of its {len(chosen)} pictures can be read; {file} says why. "
                    "Mend some."
                )
            self._splits[name] = left
        self._left_out = [(pictures[place].name, file) for place in sorted(found)]
        return found

    @cached_property
    def _contents(self) -> Contents:
        return Contents(f"{self.file}|{self.root}", largest=LARGEST)

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that have pictures: train and val always, test where the file has one."""
        return tuple(name for name in SPLITS if self._splits[name])

    @property
    def kinds(self) -> frozenset[str]:
        """Pictures, captions, and questions where every held-out split and the training split ask some."""
        asked = all(any(one.questions for one in chosen) for chosen in self._splits.values() if chosen)
        return frozenset({PICTURE, CAPTION, *([QUESTION] if asked else [])})

    @property
    def num_images(self) -> int:
        """Number of pictures in all splits."""
        return sum(map(len, self._splits.values()))

    def caption_counts(self, name: str, *, images: int, captions_per_image: int) -> tuple[int, int]:
        """Return how many pictures, and how many different captions, the first of a split have; case does not count."""
        chosen = self._used[name][:images]
        different = {
            " ".join(text.casefold().split())
            for picture in chosen
            for text in picture.captions[:captions_per_image]
        }
        return len(chosen), len(different)

    def describe(self) -> str:
        """Return one line about file, sizes and division."""
        counts = {name: len(pictures) for name, pictures in self._used.items()}
        train = self._used["train"]
        by = "the split field" if any(p.split for p in train) else f"ratio, seed {self.config.seed}"
        return (
            f"jsonl {self.file.name}: {counts['train']:,} images to train on with "
            f"{sum(len(p.captions) for p in train):,} captions and "
            f"{sum(len(p.questions) for p in train):,} questions; "
            f"{counts['val']:,} to validate, {counts['test']:,} to test (divided by {by})"
        )

    def remarks(self) -> list[str]:
        """Return what rows have that nobody reads, and pictures that are byte for byte in two splits."""
        _ = self.fingerprint  # reads rows and pictures, unless that is done
        unread = listed(shown(name, 40) for name in self._fields.unread)
        found = [f"fields not read: {unread}"] if self._fields.unread else []
        names = [name for name, _ in self._left_out]
        left = told_left_out(names, self.num_images + len(names), self._left_out[0][1]) if names else []
        return [*found, *left, *self.unread(), *told_twins(self._twins, captioned=True)]

    def unread(self) -> list[str]:
        """Return which texts are read by nobody, since some split has none."""
        asked = {name: any(one.questions for one in some) for name, some in self._splits.items() if some}
        mute = ", ".join(name for name, there in asked.items() if not there)
        return (
            [f"WARNING: questions are not used: no picture of {mute} has one"]
            if mute and any(asked.values())
            else []
        )

    def split(self, name: str, *, framing: Framing, progress: Progress) -> Split:
        """Return one split; the pictures of all splits are prepared at the first call.

        Raises:
            DatasetError: what is wrong with the file, line by line; an unknown split, or an empty one.
        """
        if name not in SPLITS:
            raise DatasetError(f"jsonl: no split is called {name!r}; allowed: {', '.join(SPLITS)}.")
        chosen = self._splits[name]
        if not chosen:
            raise DatasetError(
                f"{self.file}: has no {name} rows. Mark some with {self.config.split_field!r}: {name!r}."
            )
        self.fingerprinted(progress)  # which leaves out what is broken, where that is asked for
        chosen = self._splits[name]
        pixels = self._pixels(framing, progress)
        first = sum(len(self._splits[earlier]) for earlier in SPLITS[: SPLITS.index(name)])
        return Split(
            name=name,
            pixels=pixels[first : first + len(chosen)],
            captions=[text for picture in chosen for text in picture.captions],
            caption_images=owners(len(picture.captions) for picture in chosen),
            questions=[text for picture in chosen for text in picture.questions],
            answers=[text for picture in chosen for text in picture.answers],
            question_images=owners(len(picture.questions) for picture in chosen),
        )

    @cached_property
    def _pictures(self) -> list[Picture]:
        """All pictures in the order of the file.

        Raises:
            DatasetError: all that is wrong with the file's text, and pictures that are missing.
        """
        problems = Problems(self.file)
        files = Files(self.root, any_size=self.config.broken == QUARANTINE)
        pictures = read_pictures(self.file, files, self._fields, problems)
        if problems.lines:  # then tell of broken pictures too; a sound file is not slowed down
            _check_headers(pictures, problems)
        problems.raise_any()
        if not pictures:
            raise DatasetError(f"{self.file}: holds no rows. Give one JSON object per line.")
        return pictures

    @cached_property
    def _splits(self) -> dict[str, list[Picture]]:
        """Pictures by split, in the order of the file.

        Raises:
            DatasetError: only some rows name a split, or nothing is left to train or validate on.
        """
        pictures, field = self._pictures, self.config.split_field
        bare = [picture for picture in pictures if not picture.split]
        if bare and len(bare) < len(pictures):
            raise DatasetError(
                f"{self.file}:{bare[0].line}: no field {field!r}, which other rows have ({len(bare)} of "
                f"{len(pictures)} pictures lack it); allowed: {', '.join(SPLITS)} in every row, or in none."
            )
        divided = {p.identity: p.split for p in pictures}
        if bare:
            divided = self._divide(list(divided))
        splits = {name: [p for p in pictures if divided[p.identity] == name] for name in SPLITS}
        for name in ("train", "val"):
            if not splits[name]:
                c, word = self.config, "validation" if name == "val" else "training"
                got = f"val_ratio {c.val_ratio:g}, test_ratio {c.test_ratio:g} of {len(bare)} pictures"
                if not bare:
                    got = f"{len(pictures)} pictures in {' and '.join(sorted(set(divided.values())))}"
                raise DatasetError(
                    f"{self.file}: no {word} rows: got {got}. Mark some rows with {field!r}: {name!r}, "
                    "or change the ratios."
                )
        return splits

    def _divide(self, names: list[str]) -> dict[str, str]:
        """Return the split of each picture, the same in whatever order the file lists them."""
        order = sorted(
            names, key=lambda name: hashlib.sha256(f"{self.config.seed}\0{name}".encode()).digest()
        )
        num_val, num_test = (
            round(len(names) * ratio) for ratio in (self.config.val_ratio, self.config.test_ratio)
        )
        return {
            name: "val" if place < num_val else "test" if place < num_val + num_test else "train"
            for place, name in enumerate(order)
        }

    def _pixels(self, framing: Framing, progress: Progress) -> np.ndarray:
        """Return (N, S, S, 3) uint8 of all splits one after the other, mapped from disk."""
        pictures = [picture for name in SPLITS for picture in self._splits[name]]
        wanted = Prepared(
            kind="jsonl",
            fingerprint=self.fingerprinted(progress),
            count=len(pictures),
            items=lambda: pictures,
            decode=self._decode,
            refuse=self._refuse,
        )
        return mapped(wanted, framing, progress)

    def _refuse(self, found: Sequence[tuple[Picture, str]]) -> None:
        problems = Problems(self.file)
        for picture, why in found:
            problems.add(picture.line, why)
        problems.raise_any()

    def _decode(self, picture: Picture, framing: Framing) -> np.ndarray | str:
        """Return the pixels (side, side, 3), or what is wrong with the file.

        Pillow's readers raise whatever their formats lead them to, so that all is caught here and told with the file's name.
        """
        try:
            if why := wrong_size(picture.path.stat().st_size):
                raise OSError(None, why)
            pixels = read_square(picture.path, framing)
            if not self._contents.is_as_it_was(picture.path):
                return f"{shown(str(picture.path))} was changed while the data was read; start again."
        except Exception as error:
            return _broken(picture, error)
        return pixels


def _check_places(file: Path, root: Path | None) -> None:
    """Refuse a file that is none, without opening it, and a root that is no folder; both at once."""
    problems = []
    give = "Give a JSONL file: --dataset jsonl:FILE."
    try:
        wrong = what_it_is(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        wrong = "does not exist"
    except OSError as error:
        wrong = f"cannot be read ({reason(error)})"
    if wrong:
        problems.append(f"dataset.file: {shown(str(file))} {wrong}. {give}")
    try:
        is_folder = root is None or root.is_dir()
    except (OSError, ValueError):
        is_folder = False
    if not is_folder:
        problems.append(
            f"dataset.image_root: {shown(str(root))} is no folder. Give the folder of the pictures."
        )
    if problems:
        raise DatasetError("\n".join(problems))


def _broken(picture: Picture, error: Exception) -> str:
    return broken(str(picture.path), error, remedy=REMEDY)


def _check_headers(pictures: list[Picture], problems: Problems) -> None:
    """Note the files that are no pictures; missing ones are noted already."""
    for picture in pictures:
        try:
            check_header(picture.path)
        except Exception as error:  # see `_decode`
            problems.add(picture.line, _broken(picture, error))
