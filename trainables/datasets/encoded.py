"""A split as the training loop reads it: token ids in arrays, batches by row number."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spaces.errors import DatasetError
from trainables.datasets.base import Split
from trainables.datasets.live import LivePixels
from trainables.preprocess import PreprocessConfig
from trainables.signals import (
    CAPTION,
    CLASS,
    HOLDS,
    LABEL,
    PICTURE,
    PIXELS,
    PIXELS_2,
    QUESTION,
    SECOND,
    STATEMENT,
    TEXTS,
    Batch,
)
from trainables.tokenizer import Tokenizer
from trainables.transfer import room_for, to_device

Rows = Mapping[str, np.ndarray]
"""Kind of row -> (B,) numbers in the split; -1 where an example has no such row."""

VISIT = "visit"
"""Beside them, where pictures are varied: how often a training has shown every picture before; no kind of row."""


def _padded(rows: list[list[int]], pad: int) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    table = np.full((len(rows), int(lengths.max(initial=0))), pad, dtype=np.int32)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table, lengths


def _rows_of(images: np.ndarray, num_images: int, times: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return text rows ordered by image, each as often as it is drawn, and the (N + 1,) offsets of each image's rows."""
    order = np.argsort(images, kind="stable")
    if times is not None:
        order = np.repeat(order, times[order])
    return order, np.searchsorted(images[order], np.arange(num_images + 1))


def _check_rows(split: str, kind: str, rows: np.ndarray, *, first: int, count: int) -> None:
    """Refuse row numbers that numpy would count from the end, or fail at."""
    if len(rows) and not first <= int(rows.min()) <= int(rows.max()) < count:
        wrong = next(int(row) for row in rows if not first <= row < count)
        raise DatasetError(
            f"{split} split: {kind} row {wrong} was asked for, it has {count:,}. The data has changed since the run was "
            "planned: put it back as it was, or start a new run."
        )


def fields_of(kinds: Iterable[str]) -> frozenset[str]:
    """Return the fields that batches can have of data with rows of these kinds."""
    had = set(kinds)
    texts = {f"{kind}.{part}" for kind in had & TEXTS for part in ("ids", "mask", "targets", "key")}
    pairs = [PIXELS_2, HOLDS] if STATEMENT in had else []
    return frozenset({PIXELS, *texts, *pairs, *([CLASS] if LABEL in had else [])})


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Token rows (M, T) int32 with their lengths (M,), and which rows belong to which image.

    Attributes:
        order: rows by image, one that is drawn more often than others several times; `offsets` (N + 1,) of each image's.
        starts: (M,) int64, position of the first token that a decoder is to predict.
        keys: (M,) int64, equal for equal texts.
    """

    ids: np.ndarray
    lengths: np.ndarray
    images: np.ndarray
    order: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray
    keys: np.ndarray

    def count(self, images: np.ndarray) -> np.ndarray:
        """Return how many rows each of `images` has.

        Raises:
            DatasetError: an image that is none.
        """
        _check_rows("this", PICTURE, images, first=0, count=len(self.offsets) - 1)
        counts: np.ndarray = self.offsets[images + 1] - self.offsets[images]
        return counts

    def row(self, images: np.ndarray, number: np.ndarray) -> np.ndarray:
        """Return the `number`-th row of each image, -1 where the image has no row at all."""
        counts = self.count(images)
        places = self.offsets[images] + number % np.maximum(counts, 1)
        rows: np.ndarray = np.where(counts > 0, self.order[np.minimum(places, len(self.order) - 1)], -1)
        return rows

    def rows_of(self, image: int) -> np.ndarray:
        """Return all rows of one image."""
        found: np.ndarray = self.order[self.offsets[image] : self.offsets[image + 1]]
        return found

    def first(self, images: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first rows of every image, at most `most`, and the place in `images` that each belongs to."""
        rows, owners = [], []
        for number in range(most):
            has = self.count(images) > number
            rows.append(self.row(images[has], np.full(int(has.sum()), number)))
            owners.append(np.flatnonzero(has))
        row, owner = np.concatenate(rows), np.concatenate(owners)
        order = np.argsort(owner, kind="stable")
        return row[order], owner[order]


class EncodedSplit:
    """Pixels and token tables of one split, and the batches made of them.

    Attributes:
        classes: names of the classes in the order of the labels; () without labels.
        tables: kind of row -> its token table; only kinds that the data set has and the teacher can read.
        texts: kind of row -> its texts, those without a tokenizer too; of questions, question and answer in a row.
        references: captions as the data has them, parallel to those that are read.
        tokenizer: of the teacher; None without one.
        answers: to each question; `answer_sets` those of all people who were asked, empty where the data has one each.
    """

    def __init__(
        self,
        split: Split,
        tokenizer: Tokenizer | None,
        preprocess: PreprocessConfig,
        *,
        classes: tuple[str, ...] = (),
    ) -> None:
        self.name = split.name
        self.classes = classes
        self.pixels = split.pixels
        self.num_images = split.num_images
        self.labels = split.labels
        self.preprocess = preprocess
        self.tokenizer = tokenizer
        self.answers, self.answer_sets = split.answers, split.answer_sets
        self._statements, self._weights = split.statements, split.question_weights
        self._contents: dict[int, bytes] = {}
        self.tables: dict[str, TextTable] = {}
        self.texts: dict[str, list[str]] = {CAPTION: split.captions}
        self.references = split.references or split.captions
        if tokenizer is None:
            return
        self.vocabulary = tokenizer.vocabulary
        if split.captions:
            rows = tokenizer.captions(split.captions)
            self.tables[CAPTION] = self._table(rows, [1] * len(rows), split.caption_images)
        if split.questions and tokenizer.answers:
            rows, starts = tokenizer.questions(split.questions, split.answers)
            self.tables[QUESTION] = self._table(rows, starts, split.question_images, split.question_times)
            self.texts[QUESTION] = [f"{q} {a}" for q, a in zip(split.questions, split.answers, strict=True)]
        if split.statements.texts:
            rows = tokenizer.captions(split.statements.texts)
            self.tables[STATEMENT] = self._table(rows, [1] * len(rows), split.statements.images[:, 0])
            self.texts[STATEMENT] = split.statements.texts

    @property
    def fields(self) -> frozenset[str]:
        """The fields that its batches can have."""
        return fields_of([*self.tables, *([] if self.labels is None else [LABEL])])

    def num_rows(self, kind: str) -> int:
        """Return how many rows of a kind the split has."""
        return (
            self.num_images if kind == PICTURE else len(self.tables[kind].ids) if kind in self.tables else 0
        )

    def contents(self, rows: np.ndarray) -> list[bytes]:
        """Return a digest of each picture's pixels, each worked out once: equal for equal pictures, of whatever split."""
        for row in rows.tolist():
            if row not in self._contents:
                pixels = np.ascontiguousarray(self.pixels[row])
                self._contents[row] = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
        return [self._contents[row] for row in rows.tolist()]

    def images(self, rows: np.ndarray, device: torch.device) -> Tensor:
        """Return normalised pictures (B, 3, S, S).

        Raises:
            DatasetError: a row that the split does not have.
        """
        _check_rows(self.name, PICTURE, rows, first=0, count=self.num_images)
        return self.preprocess.normalise(to_device(self._pixels(rows, device), device))

    def _pixels(self, rows: np.ndarray, device: torch.device) -> Tensor:
        """Return pictures (B, S, S, 3) uint8 on the host, on their way to a device; gathered once, where that can be."""
        table = self.pixels
        if device.type != "cuda" or not isinstance(table, np.ndarray) or not table.flags.c_contiguous:
            return torch.from_numpy(np.ascontiguousarray(table[rows]))
        room, found = room_for((len(rows), *table.shape[1:]), table.dtype, device)
        np.take(
            table, rows, axis=0, out=found, mode="clip"
        )  # in the default mode `out` is filled by way of a copy
        return room

    @property
    def varied(self) -> bool:
        """Whether each visit of a picture in training shows it another way."""
        return isinstance(self.pixels, LivePixels) and self.pixels.varied

    def ahead(self, batches: Iterable[Rows], *, pixels: bool, seed: int) -> Iterator[Rows]:
        """Yield batches of rows as they are; where pictures are decoded as they are asked for, some are ahead of it.

        Args:
            batches: of one epoch of training, with `VISIT` where pictures are varied.
            pixels: whether their pictures will be asked for.
            seed: of the training: which way a picture is shown.
        """
        if pixels and isinstance(self.pixels, LivePixels):
            return self.pixels.ahead(batches, self._shown, seed=seed)
        return iter(batches)

    def _shown(self, rows: Rows) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the rows of pictures that a batch shows, of statements two each, and what tells each visit from all others."""
        pictures = rows[PICTURE]
        visits = np.stack([rows[VISIT] if self.varied else np.zeros_like(pictures), pictures], axis=1)
        return [(one, visits) for one in (pictures, *self._second(rows, {}).values())]

    def batch(self, rows: Rows, device: torch.device, *, pixels: bool = True) -> Batch:
        """Return one batch.

        Args:
            rows: of each kind that the batch is to have; texts are trimmed to the longest. `VISIT` is left aside.
            device: where the tensors go.
            pixels: read the pictures, too; nothing is read for a pass that does not look at them.

        Raises:
            DatasetError: a row that the split does not have; -1 stands for no text, never for the last one.
        """
        fields: dict[str, Tensor] = {}
        if pixels and PICTURE in rows:
            fields[PIXELS] = self.images(rows[PICTURE], device)
        hosted: dict[str, np.ndarray] = {}
        for kind, numbers in rows.items():
            if kind in self.tables:
                hosted |= {f"{kind}.{part}": one for part, one in self._tokens(kind, numbers).items()}
        rows = {**rows, **self._second(rows, hosted)}
        rows.pop(VISIT, None)
        if pixels and SECOND in rows:
            fields[PIXELS_2] = self.images(rows[SECOND], device)
        if PICTURE in rows and self.labels is not None:
            hosted[CLASS] = self.labels[rows[PICTURE]].astype(np.int64)
        fields |= {name: to_device(torch.from_numpy(one), device) for name, one in hosted.items()}
        numbers_of = {kind: one.astype(np.int64) for kind, one in rows.items()}
        numbered = {kind: to_device(torch.from_numpy(one), device) for kind, one in numbers_of.items()}
        return Batch(fields=fields, rows=numbered, split=self.name, hosted=hosted | numbers_of)

    def _second(self, rows: Rows, hosted: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the second pictures of statements, and note which hold; of no statement the picture itself, and -1."""
        if STATEMENT not in self.tables or STATEMENT not in rows:
            return {}
        numbers = rows[STATEMENT]
        there, known = numbers >= 0, np.maximum(numbers, 0)
        hosted[HOLDS] = np.where(there, self._statements.holds[known], -1).astype(np.int64)
        return {SECOND: np.where(there, self._statements.images[known, 1], rows.get(PICTURE, 0))}

    def holds(self, rows: np.ndarray) -> np.ndarray:
        """Return whether statements are true of their pictures, (n,) bool."""
        found: np.ndarray = self._statements.holds[rows]
        return found

    def _table(
        self, rows: list[list[int]], starts: list[int], images: np.ndarray, times: np.ndarray | None = None
    ) -> TextTable:
        ids, lengths = _padded(rows, self.vocabulary.pad)
        order, offsets = _rows_of(images, self.num_images, times)
        keys = np.unique(ids, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
        return TextTable(
            ids=ids,
            lengths=lengths,
            images=images,
            order=order,
            offsets=offsets,
            starts=np.array(starts, dtype=np.int64),
            keys=keys,
        )

    def _tokens(self, kind: str, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return ids, mask, targets and key of text rows, and the weight of questions that have one.

        Row -1 (a picture without such a text) gives the two special tokens that frame a text, and nothing to predict.
        """
        table = self.tables[kind]
        _check_rows(self.name, kind, rows, first=-1, count=len(table.ids))
        there, known = rows >= 0, np.maximum(rows, 0)
        lengths = np.where(there, table.lengths[known], 2)
        width = int(lengths.max())
        ids = table.ids[known, :width].astype(np.int64)
        places = np.arange(width)[None, :]
        if not there.all():
            ids[~there] = self.vocabulary.pad
            ids[~there, 0] = self.vocabulary.cls
            ids[~there, 1] = self.vocabulary.sep
        mask = places < lengths[:, None]
        targets = (
            (places >= table.starts[known][:, None] - 1) & (places < lengths[:, None] - 1) & there[:, None]
        )
        found = {"ids": ids, "mask": mask, "targets": targets, "key": np.where(there, table.keys[known], -1)}
        if kind == QUESTION and self._weights is not None:
            found["weight"] = np.where(there, self._weights[known], 0).astype(np.float32)
        begun = self.tokenizer.begun if kind == CAPTION and self.tokenizer is not None else []
        return found | ({"prompt": np.tile(np.array(begun, dtype=np.int64), (len(rows), 1))} if begun else {})
