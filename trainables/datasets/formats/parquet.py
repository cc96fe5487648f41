"""Parquet files of pictures with labels and captions, as Hugging Face publishes data sets.

    data/train-00000-of-00002.parquet       image: struct {bytes, path}, label: int64 (names in the schema)
    data/train-00001-of-00002.parquet
    data/validation-00000-of-00001.parquet

The split of a file stands in its name, or in that of a folder (`train/0000.parquet`, or `split=train/...`, as pyarrow, pandas and
Spark write partitions). Where none says one, rows are divided by ratio.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path
from typing import Literal

from spaces.errors import DatasetError
from spaces.paths import user_path
from trainables.datasets.formats.collected import Collected, class_notes
from trainables.datasets.formats.columns import Columns, Wanted, read_columns
from trainables.datasets.formats.entries import SEED, SHARE, Listing, Problems, check_shares, redivided
from trainables.datasets.formats.rows import RowStore
from trainables.datasets.formats.stores import Entry
from trainables.datasets.formats.walk import files_below, folder_of, some
from trainables.datasets.jsonl_files import shown

_WORD = re.compile(
    # a partition tells the split by its name: `label=train` is a class of vehicles
    r"(?:^|[-_. ]|^(?:split|fold|subset|partition)=)"
    r"(train|training|validation|valid|val|dev|test|testing|eval|evaluation)(?=$|[-_. 0-9])",
    re.I,
)
_SPLIT = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
_SHARD = re.compile(r"^(?P<stem>.*?)-?(?P<number>\d+)-of-(?P<count>\d+)$")
ENDING = ".parquet"
SPLIT = "split"  # a column, as data is published whose splits lie in one file
PREPARED = "To have its splits, prepare the data: python -m trainables.datasets.prepare --kind parquet --root DATA --out DIR."


class ParquetDataset(Collected):
    """Pictures in Parquet files."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Where the files are, and what their columns are called.

        Attributes:
            root: a folder that holds the files, at any depth; one file; or a pattern such as /data/*.parquet, in quotes.
            image_column: of pictures: bytes, paths, or structs of both.
            label_column: of integers (with the names of their classes in the schema, or without) or of text; by default
                `label`, if there is one.
            caption_column: of text, or of lists of texts; by default `caption` or `captions`, if there is one.
            val_ratio, test_ratio: shares of each class, used where names say no split; where there is train but no validation,
                its share is taken from train.
            seed: of that division.
            broken: `refuse` tells all pictures that cannot be read, and ends; `quarantine` leaves them out, and lists them.
        """

        root: str
        image_column: str = "image"
        label_column: str | None = None
        caption_column: str | None = None
        val_ratio: float = field(default=0.1, metadata=SHARE)
        test_ratio: float = field(default=0.1, metadata=SHARE)
        seed: int = field(default=0, metadata=SEED)
        broken: Literal["refuse", "quarantine"] = "refuse"

    def __init__(self, config: Config) -> None:
        self.config = config
        check_shares(val_ratio=config.val_ratio, test_ratio=config.test_ratio)
        self._files, root = files_of(config.root)
        super().__init__("parquet", root, broken=config.broken)

    def _list(self) -> Listing:
        problems, c = Problems(self.root), self.config
        splits = [split_of(file.relative_to(self.root)) for file in self._files]
        bare = [file.name for file, split in zip(self._files, splits, strict=True) if not split]
        if bare and len(bare) < len(splits):
            problems.add(
                f"{some(bare)} names no split, as other files do; allowed: train, validation or test in the name. "
                "Rename or remove it."
            )
        check_shards(self._files, problems)
        problems.raise_any()
        wanted = Wanted(image=c.image_column, label=c.label_column, caption=c.caption_column)
        columns = read_columns(self._files, [split or "train" for split in splits], wanted, problems)
        problems.raise_any()
        entries = self._entries(columns, [split or "train" for split in splits])
        entries, divided = self._divided(entries, named=not bare)
        notes = list(columns.notes)
        if SPLIT in columns.unread:
            told = f"the column {SPLIT!r} is not read; pictures are divided by {divided}. {PREPARED}"
            notes.append(f"WARNING: {told}")
            if not any(entry.split == "train" for entry in entries):
                problems.add(f"has no pictures to train on: {told}")
                problems.raise_any()
        return Listing(
            entries=entries,
            classes=columns.classes,
            divided=divided,
            store=RowStore(self.root, self._files, c.image_column),
            notes=[*notes, *(class_notes(entries, columns.classes) if columns.classes else [])],
        )

    def _entries(self, columns: Columns, splits: Sequence[str]) -> list[Entry]:
        """Return the rows of all files but those of splits that are not used."""
        found = []
        for number, (file, split) in enumerate(zip(self._files, splits, strict=True)):
            if split in columns.unused:
                continue
            name, captions = str(file.relative_to(self.root)), columns.captions[number]
            labels = columns.labels[number] if columns.classes else []
            found += [
                Entry(
                    name=f"{name} row {row}",
                    split=split,
                    label=labels[row] if labels else -1,
                    captions=captions[row] if captions else (),
                    file=number,
                    row=row,
                )
                for row in range(columns.counts[number])
            ]
        return found

    def _divided(self, entries: list[Entry], *, named: bool) -> tuple[list[Entry], str]:
        """Return the rows in their splits, and by what they are divided."""
        c = self.config
        if not named:
            shares = {"val": c.val_ratio, "test": c.test_ratio}
            return list(redivided(entries, shares, c.seed)), f"ratio, seed {c.seed}"
        if not any(entry.split == "val" for entry in entries):
            by = f"the names of files, but val is {c.val_ratio:g} of train, seed {c.seed}"
            return list(redivided(entries, {"val": c.val_ratio}, c.seed)), by
        return entries, "the names of files"


def files_of(text: str) -> tuple[list[Path], Path]:
    """Return the Parquet files of a data set in the order of their names, and the folder that they are below.

    Raises:
        DatasetError: there are none.
    """
    path = user_path(text).absolute()
    if has_magic(str(path)) and not path.exists():
        found = sorted(Path(name) for name in glob(str(path), recursive=True) if Path(name).is_file())
        if not found:
            raise DatasetError(
                f"dataset.root: no file is called like {shown(str(path))}. Give a folder, a file or a pattern: "
                "--dataset parquet:FOLDER."
            )
        return _checked(found), _folder(found)
    if path.is_file() and path.suffix.lower() == ENDING:
        return [path], path.parent
    root = folder_of("parquet", text)
    found = [one for one in files_below(root) if one.suffix.lower() == ENDING]
    if not found:
        raise DatasetError(
            f"dataset.root: {shown(str(root))} holds no {ENDING} file. Give the folder that does: --dataset parquet:FOLDER."
        )
    return found, root


def _checked(found: list[Path]) -> list[Path]:
    """Return files of a pattern, all of them Parquet."""
    others = [path.name for path in found if path.suffix.lower() != ENDING]
    if others:
        raise DatasetError(
            f"dataset.root: the pattern finds {some(others)}, too; allowed: {ENDING} files. Narrow it."
        )
    return found


def _folder(files: Sequence[Path]) -> Path:
    """Return the deepest folder that all files are below."""
    folder = files[0].parent
    while not all(file.is_relative_to(folder) for file in files):
        folder = folder.parent
    return folder


def split_of(path: Path) -> str:
    """Return the split that a file belongs to, by its name or else by the folder next above that says one; "" for none."""
    for part in (path.stem, *reversed(path.parent.parts)):
        if found := _WORD.search(part):
            return _SPLIT.get(found[1].lower(), "val")
    return ""


def check_shards(files: Sequence[Path], problems: Problems) -> None:
    """Note parts that a name speaks of (`-00000-of-00002`) and that are not there.

    Args:
        files: of a folder, or of a pattern.
        problems: takes what is missing.
    """
    there: dict[tuple[Path, str, int], set[int]] = {}
    for file in files:
        if found := _SHARD.match(file.stem):
            there.setdefault((file.parent, found["stem"], int(found["count"])), set()).add(
                int(found["number"])
            )
    for (_, stem, count), numbers in there.items():
        if count <= 100_000 and (missing := [str(one) for one in range(count) if one not in numbers]):
            problems.add(
                f"{shown(stem)}: of {count} parts these are missing: {some(missing)}. Copy them, too."
            )
