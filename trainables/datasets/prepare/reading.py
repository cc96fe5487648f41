"""Rows of shards as a data set needs them: texts in memory, and of each picture where its bytes lie.

Pictures are read by place (`pread`) and not through a map: pages of a map count as memory of the process, and would grow with
every epoch to the size of the data.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import pyarrow as pa

from spaces.errors import DatasetError
from trainables.datasets.prepare.form import AGAIN, SHARDS, Shard, batches
from trainables.datasets.prepare.items import Question, Statement


class Place(NamedTuple):
    """Where the bytes of a picture are.

    Attributes:
        shard: path of the file.
        offset, size: of the bytes in it.
    """

    shard: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.shard} byte {self.offset:,}"

    def content(self) -> bytes:
        """Return the bytes.

        Raises:
            DatasetError: the shard is shorter than it was.
            OSError: it cannot be read.
        """
        with open(self.shard, "rb", buffering=0) as source:
            source.seek(self.offset)
            found = source.read(self.size)
        if len(found) != self.size:
            raise DatasetError(f"{self.shard}: ends before byte {self.offset + self.size:,}. {AGAIN}")
        return found


@dataclass(frozen=True, kw_only=True)
class Places(Sequence[Place]):
    """Where the pictures of a split are; an array, since a list of millions would be copied into every process that decodes.

    Attributes:
        shards: paths of the files.
        table: (N, 3) int64: number of the shard, offset and size.
    """

    shards: tuple[str, ...]
    table: np.ndarray

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, row: int) -> Place: ...

    @overload
    def __getitem__(self, row: slice) -> "Places": ...

    def __getitem__(self, row: int | slice) -> "Place | Places":
        """Return where a picture is, or several."""
        if isinstance(row, slice):
            return replace(self, table=self.table[row])
        shard, offset, size = self.table[row].tolist()
        return Place(self.shards[shard], offset, size)

    def only(self, rows: Sequence[int]) -> "Places":
        """Return those of some rows."""
        return replace(self, table=self.table[list(rows)])


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The pictures of a split in their order; all lists are parallel but `statements` and `pairs`.

    Attributes:
        names: as the data names them.
        places: where they are.
        digests: of their bytes.
        captions, questions: of each.
        statements: of the split, whose two pictures are both there.
        pairs: (len(statements), 2) int64, rows of their left and right pictures.
        emptied: captions of which nothing is left as texts are read.
        references: the captions of each as the data has them, without those; empty where they are not kept.
    """

    names: list[str]
    places: Places
    digests: list[bytes]
    captions: list[tuple[str, ...]]
    questions: list[tuple[Question, ...]]
    statements: list[Statement]
    pairs: np.ndarray
    emptied: list[str] = field(default_factory=list)
    references: list[tuple[str, ...]] = field(default_factory=list)

    def with_texts(self, form: Callable[[str], str], ask: Callable[[str], str], *, keep: bool) -> "Rows":
        """Return the rows with texts in another form; pictures whose only texts are gone with it are left out.

        Args:
            form: of captions and statements; a statement of which it leaves nothing stays as it is.
            ask: of questions.
            keep: captions as they were, too, as `references`.
        """
        told = [[(text, form(text)) for text in texts] for texts in self.captions]
        emptied = [text for texts in told for text, new in texts if not new]
        captions = [tuple(new for _, new in texts if new) for texts in told]
        references = [tuple(text for text, new in texts if new) for texts in told] if keep else []
        gone = [
            place
            for place, (before, after) in enumerate(zip(self.captions, captions, strict=True))
            if before and not after and not self.questions[place]
        ]
        rows = replace(
            self,
            captions=captions,
            questions=[tuple(replace(q, text=ask(q.text)) for q in some) for some in self.questions],
            statements=[replace(one, text=form(one.text) or one.text) for one in self.statements],
            emptied=emptied,
            references=references,
        )
        return rows._without(set(gone)) if gone else rows

    def _without(self, gone: set[int]) -> "Rows":
        kept = [place for place in range(len(self.names)) if place not in gone]
        numbers = {old: new for new, old in enumerate(kept)}
        both = [n for n, pair in enumerate(self.pairs.tolist()) if all(one in numbers for one in pair)]
        pairs = [[numbers[one] for one in self.pairs[n].tolist()] for n in both]
        return replace(
            self,
            names=[self.names[one] for one in kept],
            places=self.places.only(kept),
            digests=[self.digests[one] for one in kept],
            captions=[self.captions[one] for one in kept],
            references=[self.references[one] for one in kept] if self.references else [],
            questions=[self.questions[one] for one in kept],
            statements=[self.statements[n] for n in both],
            pairs=np.array(pairs, dtype=np.int64).reshape(-1, 2),
        )


def read_rows(root: Path, shards: Iterable[Shard]) -> Rows:
    """Return the rows of the shards of a split.

    Raises:
        DatasetError: a damaged shard.
    """
    shards = list(shards)
    tables = [np.zeros((0, 3), dtype=np.int64)]
    found = Rows(
        names=[],
        places=Places(shards=(), table=tables[0]),
        digests=[],
        captions=[],
        questions=[],
        statements=[],
        pairs=np.zeros((0, 2), dtype=np.int64),
    )
    told: list[tuple[int, Statement]] = []
    for number, shard in enumerate(shards):
        for batch, begin in batches(root / SHARDS / shard.file):
            first = len(found.names)
            found.names.extend(batch.column("name").to_pylist())
            tables.append(_table(number, batch, begin))
            found.digests.extend(batch.column("image_digest").to_pylist())
            found.captions.extend(tuple(one) for one in batch.column("captions").to_pylist())
            for asked in batch.column("questions").to_pylist():
                questions = (Question(**{**one, "answers": tuple(one["answers"])}) for one in asked)
                found.questions.append(tuple(questions))
            for row, some in enumerate(batch.column("statements").to_pylist()):
                told += [(first + row, Statement(**one)) for one in some]
    numbers = {name: number for number, name in enumerate(found.names)} if told else {}
    both = [(left, numbers[one.other], one) for left, one in told if one.other in numbers]
    return replace(
        found,
        places=Places(
            shards=tuple(str(root / SHARDS / shard.file) for shard in shards), table=np.concatenate(tables)
        ),
        statements=[one for _, _, one in both],
        pairs=np.array([(left, right) for left, right, _ in both], dtype=np.int64).reshape(-1, 2),
    )


def joined(several: Sequence[Rows]) -> Rows:
    """Return the rows of one after the other."""
    if len(several) == 1:
        return several[0]
    pictures = np.cumsum([0, *(len(one.names) for one in several)])
    files = np.cumsum([0, *(len(one.places.shards) for one in several)])
    tables = [one.places.table + np.array([first, 0, 0]) for one, first in zip(several, files, strict=False)]
    return Rows(
        names=[name for one in several for name in one.names],
        places=Places(
            shards=tuple(path for one in several for path in one.places.shards), table=np.concatenate(tables)
        ),
        digests=[digest for one in several for digest in one.digests],
        captions=[texts for one in several for texts in one.captions],
        questions=[asked for one in several for asked in one.questions],
        statements=[said for one in several for said in one.statements],
        pairs=np.concatenate([one.pairs + first for one, first in zip(several, pictures, strict=False)]),
    )


def _table(shard: int, batch: pa.RecordBatch, begin: int) -> np.ndarray:
    """Return (rows, 3) int64 of a record batch, see `Places`, from the offsets that Arrow keeps beside the bytes of pictures."""
    column = batch.column("image")
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int32).astype(np.int64)
    offsets = offsets[column.offset : column.offset + len(column) + 1]
    return np.stack([np.full(len(column), shard), begin + offsets[:-1], np.diff(offsets)], axis=1)
