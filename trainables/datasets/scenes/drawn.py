"""Data sets whose pictures are drawn from (seed, index), once, into Arrow files of the cache folder, and read from there."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from spaces.errors import DatasetError
from spaces.files import atomic_path
from spaces.turns import in_turn
from trainables.datasets.base import SPLITS, Dataset, Progress
from trainables.datasets.cache_folder import DAMAGED, cache_folder, unusable
from trainables.datasets.scenes.integers import IntegerStream
from trainables.preprocess import Framing

BATCH_ROWS = 500
TOLD_EVERY = 5000
AMOUNTS = tuple(f"{name}_images" for name in SPLITS)
Row = dict[str, Any]
Draw = Callable[[IntegerStream, int], tuple[list[str], Callable[[], Row]]]
"""Takes the integers of a picture and how many were made before; gives its captions, and what draws the rest."""


class Drawn(Dataset):
    """Pictures that are drawn. A subclass is final, and says how.

    Attributes:
        kind: name in the table of data sets, in the plural what is drawn.
        side: of the pictures, in pixels.
        seeds: split -> what with the index fixes a picture.
        shares: options that are shares.
        schema: of a row; its pictures are in the column `image`.
        teachers: who sees pictures of this side, for a message.
        later: options that came later, with the values at which all is as before them: these leave no trace in a fingerprint.
    """

    kind: ClassVar[str]
    side: ClassVar[int]
    seeds: ClassVar[Mapping[str, int]]
    shares: ClassVar[tuple[str, ...]]
    schema: ClassVar[pa.Schema]
    teachers: ClassVar[str]
    later: ClassVar[Mapping[str, Any]] = {}
    smoke: ClassVar[Mapping[str, Any]] = {"train_images": 256, "val_images": 200, "test_images": 200}

    def __init__(self, config: Any) -> None:
        """Take the options: `seed`, an amount of each split, and shares."""
        self.config = config
        for name in AMOUNTS:
            if getattr(config, name) < 8:
                raise DatasetError(f"dataset.{name}: got {getattr(config, name)}; allowed: 8 or more.")
        for name in self.shares:
            if not 0 <= getattr(config, name) <= 1:
                raise DatasetError(f"dataset.{name}: got {getattr(config, name)}; allowed: 0 to 1 (a share).")

    @abstractmethod
    def draw(self, stream: IntegerStream, made: int) -> tuple[list[str], Callable[[], Row]]:
        """Return what `Draw` says."""

    @property
    def fingerprint(self) -> str:
        """Hash of task and options."""
        options = {
            name: value
            for name, value in asdict(self.config).items()
            if name not in self.later or value != self.later[name]
        }
        return hash_of({"specification": self.specification, **options})

    @property
    def manner(self) -> str:
        """What tells files of this data from those of other manners to draw the same; empty for the usual one."""
        return ""

    def seed_of(self, name: str) -> int:
        """Return what with the index fixes a picture of a split."""
        return self.seeds[name] + 100 * self.config.seed

    def path(self, name: str, *, ending: str = "") -> Path:
        """Return the file of a split, or one that belongs to it by its ending."""
        count = getattr(self.config, f"{name}_images")
        stem = f"{self.specification}-{name}-{count}-{self.config.seed}"
        return cache_folder(self.kind) / f"{stem}{self.manner}{ending}.arrow"

    @property
    def num_images(self) -> int:
        """Number of pictures in all splits."""
        return sum(getattr(self.config, name) for name in AMOUNTS)

    def table(self, name: str, progress: Progress) -> pa.Table:
        """Return the rows of a split, drawn where they are not there; captions are unique in held-out splits."""
        count = getattr(self.config, f"{name}_images")
        path = self.path(name)
        seed = self.seed_of(name)
        return drawn_table(
            path,
            lambda: drawn_rows(seed, count, self.draw, unique=name != "train"),
            schema=self.schema,
            count=count,
            noun=self.kind,
            progress=progress,
        )

    def check_asked(self, name: str, framing: Framing) -> None:
        """Refuse what there is not.

        Raises:
            DatasetError: an unknown split, or another picture size.
        """
        if name not in SPLITS:
            raise DatasetError(f"{self.kind}: no split is called {name!r}; allowed: {', '.join(SPLITS)}.")
        if framing.side != self.side or framing.resize not in (None, self.side):
            seen = framing.resize or framing.side
            resized = f" of {seen} x {seen}" if seen != framing.side else ""
            raise DatasetError(
                f"{self.kind}: pictures are {self.side} x {self.side}, "
                f"the teacher sees {framing.side} x {framing.side}{resized}. "
                f"Use {self.teachers}, or data of your own: --dataset jsonl:FILE."
            )

    def chosen(self, key: int, count: int, share: float) -> np.ndarray:
        """Return a share of `count` rows, drawn by the seed and a key of what they are chosen for."""
        order = IntegerStream(key, self.config.seed, count).shuffled(count)
        return np.array(order[: round(count * share)], dtype=np.int64)


def hash_of(parts: Mapping[str, Any]) -> str:
    """Return a hash of what JSON can say."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def drawn_rows(seed: int, count: int, draw: Draw, *, unique: bool) -> Iterator[Row]:
    """Yield rows.

    Args:
        seed: with the index it fixes a picture.
        count: how many.
        draw: draws one.
        unique: leave out pictures of which a caption was already said, so that a gallery has one right answer.
    """
    said: set[str] = set()
    index = made = 0
    while made < count:
        captions, rest = draw(IntegerStream(seed, index), made)
        index += 1
        if unique and not said.isdisjoint(captions):
            continue
        said.update(captions)
        yield {"captions": captions, **rest()}
        made += 1


def drawn_table(
    path: Path,
    rows: Callable[[], Iterator[dict[str, Any]]],
    *,
    schema: pa.Schema,
    count: int,
    noun: str,
    progress: Progress,
) -> pa.Table:
    """Return the rows of a file, mapped into memory; they are drawn where it is not there, by one process.

    Args:
        path: of the file.
        rows: draws them.
        schema: of a row.
        count: how many there will be.
        noun: what is drawn, in the plural.
        progress: is told of long work.

    Raises:
        DatasetError: a damaged file.
        StorageError, ResourceError: it cannot be written.
    """
    if not path.exists():
        with in_turn(path, noun, say=progress):
            if not path.exists():  # another process may have drawn it meanwhile
                _write(
                    path, rows(), schema=schema, count=count, told=lambda text: progress(f"{noun}: {text}")
                )
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except DAMAGED as error:
        raise DatasetError(unusable(path, error, "it is drawn again")) from error


def _write(
    path: Path, drawn: Iterator[dict[str, Any]], *, schema: pa.Schema, count: int, told: Progress
) -> None:
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        rows: list[dict[str, Any]] = []
        for number, row in enumerate(drawn, start=1):
            rows.append(row)
            if len(rows) == BATCH_ROWS or number == count:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
                rows.clear()
                if number % TOLD_EVERY == 0 or number == count:
                    told(f"{number:,} of {count:,} drawn")


def pixels_of(table: pa.Table, side: int) -> np.ndarray:
    """Return the column `image` as (N, S, S, 3) uint8; one chunk is a view of the mapped file, several are joined."""
    views = []
    width = side * side * 3
    for chunk in table.column("image").chunks:
        flat = np.frombuffer(chunk.buffers()[1], dtype=np.uint8)
        views.append(flat[chunk.offset * width : (chunk.offset + len(chunk)) * width])
    return np.concatenate(views).reshape(-1, side, side, 3)


def passed_on(chosen: np.ndarray, count: int) -> np.ndarray:
    """Return for each of `count` rows the one whose texts it gets: the chosen pass theirs on in a ring, all others keep them.

    So every one of them really gets another's.
    """
    told = np.arange(count)
    told[chosen] = np.roll(chosen, 1) if len(chosen) > 1 else (chosen + 1) % count
    return told
