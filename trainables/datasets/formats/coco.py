"""COCO captions in the official JSON: two splits of pictures with about five captions each.

    coco/
      annotations/captions_train2017.json   {"images": [{"id", "file_name"}, ...], "annotations": [{"image_id", "caption"}, ...]}
      annotations/captions_val2017.json
      train2017/000000000009.jpg ...
      val2017/...

The official validation split is `val`. The captions of the official test split are not public: `test_ratio` of train can be held
out as one.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

from spaces.plugins import meant
from spaces.rules import Number
from trainables.datasets.formats.collected import Collected
from trainables.datasets.formats.entries import SEED, SHARE, Listing, Problems, check_shares, redivided
from trainables.datasets.formats.stores import Entry, FileStore
from trainables.datasets.formats.tables import read_json
from trainables.datasets.formats.walk import folder_of, folders_in, is_passed_over, some
from trainables.datasets.jsonl_files import shown

YEAR = {"rule": Number(whole=True, low=2014, high=2100)}


class CocoDataset(Collected):
    """COCO captions."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Where it is.

        Attributes:
            root: the folder that holds `annotations`, `train2017` and `val2017`.
            year: of the release, as it stands in the names of files and folders.
            test_ratio: share of the pictures of train that is held out as test split; without one there is none.
            seed: of that division.
            broken: `refuse` tells all pictures that cannot be read, and ends; `quarantine` leaves them out, and lists them.
        """

        root: str
        year: int = field(default=2017, metadata=YEAR)
        test_ratio: float = field(default=0.0, metadata=SHARE)
        seed: int = field(default=0, metadata=SEED)
        broken: Literal["refuse", "quarantine"] = "refuse"

    def __init__(self, config: Config) -> None:
        self.config = config
        check_shares(test_ratio=config.test_ratio)
        super().__init__("coco", folder_of("coco", config.root), broken=config.broken)

    def _list(self) -> Listing:
        problems, entries, c = Problems(self.root), list[Entry](), self.config
        self._check_root(problems)
        for split in ("train", "val"):
            name = f"annotations/captions_{split}{c.year}.json"
            what = f"the official captions of {split}"
            one = _Captions(
                read_json(self.root / name, what), name, folder=f"{split}{c.year}", problems=problems
            )
            entries += one.entries(split, self._files(f"{split}{c.year}", problems))
        problems.raise_any()
        return Listing(
            entries=list(redivided(entries, {"test": c.test_ratio}, c.seed)),
            classes=(),
            divided="the official splits"
            + (f", test is {c.test_ratio:g} of train, seed {c.seed}" if c.test_ratio else ""),
            store=FileStore(self.kind, self.root),
        )

    def _check_root(self, problems: Problems) -> None:
        """Refuse a folder that is another one, or another year's."""
        if (self.root / "annotations").is_dir():
            return
        inside = [name for name in folders_in(self.root) if (self.root / name / "annotations").is_dir()]
        hint = (
            f"Did you mean {shown(str(self.root / inside[0]))}?"
            if inside
            else "Unpack the official annotations there."
        )
        problems.add(f"holds no folder annotations. {hint}")
        problems.raise_any()

    def _files(self, folder: str, problems: Problems) -> set[str]:
        """Return the names of the files of a split."""
        try:
            with os.scandir(self.root / folder) as entries:
                return {entry.name for entry in entries if not is_passed_over(entry.name) and entry.is_file()}
        except OSError as error:
            problems.add(
                f"{folder}: cannot be read ({os.strerror(error.errno or 0)}). Unpack the pictures there."
            )
            return set()


class _Captions:
    """What one file of annotations says."""

    def __init__(self, told: dict[str, Any], name: str, *, folder: str, problems: Problems) -> None:
        self._told, self._name, self._folder, self._problems = told, name, folder, problems
        self._sound = True

    def entries(self, split: str, files: set[str]) -> list[Entry]:
        """Return the pictures of a split with their captions, in the order of their ids; what is wrong is noted."""
        names = self._pictures()
        captions = self._captions(names) if self._sound else {}
        if not self._sound:
            return []
        missing = [name for name in names.values() if name not in files]
        if missing:
            self._note(
                f"{len(missing):,} of {len(names):,} pictures are not in {self._folder}: {some(missing)}. Unpack all of them."
            )
        silent = [names[number] for number in sorted(names) if number not in captions]
        if silent:
            self._note(
                f"{len(silent):,} pictures have no caption: {some(silent)}. Give each one, or remove it from `images`."
            )
        return [
            Entry(
                name=f"{self._folder}/{names[number]}", split=split, captions=tuple(captions.get(number, ()))
            )
            for number in sorted(names)
        ]

    def _note(self, text: str) -> None:
        self._sound = False
        self._problems.add(f"{self._name}: {text}")

    def _pictures(self) -> dict[int, str]:
        """Return id -> file of the pictures."""
        found = pictures_of(self._told, self._note)
        twice = [name for name, count in Counter(found.values()).items() if count > 1]
        if twice:
            self._note(f"`images` names a file twice: {some(twice)}. Remove one of each.")
        return found

    def _captions(self, names: dict[int, str]) -> dict[int, list[str]]:
        """Return id of a picture -> its captions, in the order of the file."""
        found: dict[int, list[str]] = {}
        for place, row in enumerate(rows_of(self._told, "annotations", self._note)):
            if isinstance(row, dict) and "caption" not in row and ("bbox" in row or "segmentation" in row):
                self._note(
                    f"annotations[{place}]: holds boxes and no caption: these are instances; take captions_*.json."
                )
                return found
            number, text = (
                (row.get("image_id"), row.get("caption")) if isinstance(row, dict) else (None, None)
            )
            if not is_id(number) or not isinstance(text, str):
                self._note(
                    f"annotations[{place}]: got {shown(repr(row), 80)}; allowed: an object with `image_id` and `caption`."
                )
            elif number not in names:
                self._note(
                    f"annotations[{place}]: image_id {number} is not in `images`. Copy the file again, or remove it."
                )
            elif not text.strip():
                self._note(
                    f"annotations[{place}]: the caption of image {number} is empty. Write or remove it."
                )
            else:
                found.setdefault(number, []).append(text.strip())
        return found


def rows_of(told: Mapping[str, Any], key: str, note: Callable[[str], None]) -> list[Any]:
    """Return a list of an official file, [] where there is none, which is noted."""
    rows = told.get(key)
    if isinstance(rows, list):
        return rows
    got = "has no" if rows is None else f"holds a {type(rows).__name__} as"
    hint = meant(key, told, f"It has {', '.join(shown(name, 40) for name in told) or 'nothing'}.")
    note(f"{got} `{key}`; allowed: a list. {hint}")
    return []


def pictures_of(told: Mapping[str, Any], note: Callable[[str], None]) -> dict[int, str]:
    """Return id -> file of the `images` of an official file; rows that are none, and ids that stand twice, are noted."""
    found: dict[int, str] = {}
    for place, row in enumerate(rows_of(told, "images", note)):
        number, name = (row.get("id"), row.get("file_name")) if isinstance(row, dict) else (None, None)
        if not is_id(number) or not isinstance(name, str) or not name:
            note(
                f"images[{place}]: got {shown(repr(row), 80)}; allowed: an object with `id` and `file_name`."
            )
        elif number in found:
            note(
                f"images[{place}]: id {number} stands twice ({shown(found[number])} and {shown(name)}). Remove one."
            )
        else:
            found[number] = name
    return found


def is_id(value: object) -> TypeGuard[int]:
    """Return whether a value is an id: a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)
