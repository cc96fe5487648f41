"""A model over the first pictures of a held-out split: run once, read by every task."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Required, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

from trainables.configs import require_counts
from trainables.datasets.encoded import EncodedSplit
from trainables.families.base import Family
from trainables.signals import (
    CAPTION,
    NOTHING,
    PICTURE,
    PIXELS_2,
    QUESTION,
    STATEMENT,
    Batch,
    NoSource,
    Signals,
    Teaching,
    Want,
    Wants,
    looks_at_pictures,
)
from trainables.tasks.sharing import ALONE, Sharing

CHUNK = 100
LARGEST_KEPT = (
    1 << 30
)  # bytes of what may be used again of pictures; 1,000 of ViT-B/16 at 384 px would take 1.8 GB
FEWEST_KEPT = 2  # chunks: the pictures of one chunk of texts, and those beside them
SEED = 0  # of which pictures are drawn: the same ones in all runs


@dataclass(frozen=True, kw_only=True)
class EvaluationSize:
    """How much of a split is evaluated: the first pictures, with their first captions and questions.

    Raises:
        PluginError: a number below 1.
    """

    images: int = 1000
    captions_per_image: int = 1
    questions_per_image: int = 2

    def __post_init__(self) -> None:
        require_counts(self, "images", "captions_per_image", "questions_per_image")


Count = Callable[[Batch, Signals], Sequence[Tensor | int]]
"""Counts whole numbers in what a model says of some texts."""


class Showing(TypedDict, total=False):
    """How a model is shown a split.

    Attributes:
        size: how much of the split.
        blind: show black pictures, for the baseline that sees nothing.
        source: the teacher, for students that read what it says, live or cached.
        bank: the train split, for tasks that compare with training pictures (`Task.banked`).
        sharing: the workers that evaluate together; alone by default.
    """

    size: Required[EvaluationSize]
    blind: bool
    source: Teaching | None
    bank: EncodedSplit | None
    sharing: Sharing


def _count(rows: int) -> int:
    """Return the number of chunks."""
    return -(-rows // CHUNK)


def chunk(number: int) -> slice:
    """Return the rows of a chunk."""
    return slice(number * CHUNK, (number + 1) * CHUNK)


def drawn(pictures: int, count: int) -> np.ndarray:
    """Return the rows of so many of some pictures, rising: drawn over all of them, since some data lies class by class."""
    found: np.ndarray = np.sort(np.random.default_rng(SEED).permutation(pictures)[:count])
    return found


class PoolRows:
    """The first pictures of a held-out split with their first texts: what is asked, before anybody is asked.

    Where pictures have classes they are not the first, but drawn: the first of a folder may be all of one class.

    Attributes:
        pictures: (n,) rows of the pictures.
        split: where they are from.
    """

    def __init__(self, split: EncodedSplit, size: EvaluationSize) -> None:
        """Take so much of a split."""
        self.split = split
        count = min(size.images, split.num_images)
        self.pictures = np.arange(count) if split.labels is None else drawn(split.num_images, count)
        self._most = {CAPTION: size.captions_per_image, QUESTION: size.questions_per_image}
        if STATEMENT in split.tables:  # all of them: a split has few of each picture
            self._most[STATEMENT] = int(np.diff(split.tables[STATEMENT].offsets).max(initial=1))

    def rows(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the first texts of each picture, and the place of the picture that each belongs to, both (m,)."""
        return self.split.tables[kind].first(self.pictures, self._most.get(kind, 1))

    def said(self, kind: str) -> list[tuple[int, ...]]:
        """Return the tokens of each of these texts that a decoder is to predict, its end included."""
        table = self.split.tables[kind]
        return [
            tuple(table.ids[row, table.starts[row] : table.lengths[row]].tolist())
            for row in self.rows(kind)[0]
        ]

    def belongs(self, kind: str) -> np.ndarray:
        """Return (n, m) bool: whether a picture has a text that equals one of `rows`, be it among its first or not.

        Equal is what the model reads equally: the same tokens.
        """
        table, (rows, _) = self.split.tables[kind], self.rows(kind)
        places = np.full(self.split.num_images, -1)
        places[self.pictures] = np.arange(len(self.pictures))
        near = places[table.images] >= 0
        different, codes = np.unique(table.keys[near], return_inverse=True)
        has = np.zeros((len(self.pictures), len(different)), dtype=bool)
        has[places[table.images[near]], codes.reshape(-1)] = True
        found: np.ndarray = has[:, np.searchsorted(different, table.keys[rows])]
        return found

    def strangers(self, kind: str) -> np.ndarray:
        """Return for each text of `rows` the next picture behind its own that it does not belong to, (m,).

        -1 where it belongs to all of them.
        """
        belongs, (_, owners) = self.belongs(kind), self.rows(kind)
        texts, found = np.arange(len(owners)), np.full(len(owners), -1)
        for step in range(1, len(self.pictures)):
            left = texts[found < 0]
            places = (owners[left] + step) % len(self.pictures)
            strange = ~belongs[places, left]
            found[left[strange]] = places[strange]
        return found


class Pool:
    """Asks a model about pictures, and about texts that belong to them.

    What the model can use again of a picture (`Family.reusable`) is computed once and kept, as far as `LARGEST_KEPT` goes: of a
    large pool it is computed again for each task. Workers that evaluate together share the chunks, see `Sharing`.

    Attributes:
        asked: the rows.
        pictures: (n,) rows of the pictures.
        split: where they are from.
    """

    def __init__(
        self, model: Family, split: EncodedSplit, device: torch.device, **showing: Unpack[Showing]
    ) -> None:
        """Take a model, in eval mode.

        Args:
            model: teacher or student.
            split: a held-out split.
            device: where the model lives.
            showing: see `Showing`.
        """
        self.model, self.split, self.device = model, split, device
        self.blind: bool = showing.get("blind", False)
        self.source: Teaching = showing.get("source") or NoSource()
        self.asked = PoolRows(split, showing["size"])
        self.pictures = self.asked.pictures
        self._sharing = showing.get("sharing", ALONE)
        self._kept: dict[Want, Tensor] = {}
        self._keeps = True  # what is computed along the way, for texts that are asked about later
        self._reused: dict[int, Signals] = {}  # chunk of pictures -> what passes may use again, oldest first
        self._showing = showing
        self._banks: dict[int, Pool] = {}

    def bank(self, images: int) -> "Pool":
        """Return the same model over pictures of the train split, to compare with: the same ones for every model.

        They are drawn once for all, since some data lies ordered by class. None of them is one of the pictures asked about:
        whatever equals one of those, pixel for pixel, is left out, so that no picture finds itself.

        Args:
            images: how many at most.

        Raises:
            ValueError: whoever made the pool gave no train split.
        """
        train = self.train
        if images not in self._banks:
            rows, asked = drawn(train.num_images, images), set(self.split.contents(self.pictures))
            new = np.array([digest not in asked for digest in train.contents(rows)], dtype=bool)
            made = Pool(self.model, train, self.device, **self._showing)
            made.pictures = made.asked.pictures = rows[new]
            made._keeps = False  # no text is asked about, and tokens of many pictures take gigabytes
            self._banks[images] = made
        return self._banks[images]

    @property
    def train(self) -> EncodedSplit:
        """The train split.

        Raises:
            ValueError: whoever made the pool gave none.
        """
        train = self._showing.get("bank")
        if train is None:
            raise ValueError("the pool has no train split to compare with: give `bank`, see `Task.banked`")
        return train

    @property
    def labels(self) -> Tensor:
        """The class of each picture, (n,) int64 on the CPU; -1 where it has none."""
        if self.split.labels is None:
            return torch.full((len(self.pictures),), -1)
        return torch.from_numpy(self.split.labels[self.pictures].astype(np.int64))

    def of_pictures(self, want: Want) -> Tensor:
        """Return a signal about all pictures, (n, ...)."""
        if want not in self._kept:
            count = len(self.pictures)
            mine = [self._look(number, frozenset({want}))[want] for number in self.part(count)]
            self._kept[want] = self.joined(torch.cat(mine), count)
        return self._kept[want]

    def taught_of_pictures(self, want: Want) -> Tensor:
        """Return a signal of the teacher about all pictures, (n, ...); where there is none, this model is the teacher."""
        if isinstance(self.source, NoSource):
            return self.of_pictures(want)
        wants, said, count = frozenset({want}), [], len(self.pictures)
        looks = looks_at_pictures(self.source.fields(self.split.name, wants))
        for number in self.part(count):
            rows = {PICTURE: self.pictures[chunk(number)]}
            said.append(self.source.signals(self.split.batch(rows, self.device, pixels=looks), wants)[want])
        return self.joined(torch.cat(said), count)

    def rows(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the first texts of each picture, and the place of the picture that each belongs to, both (m,)."""
        return self.asked.rows(kind)

    def of_texts(self, kind: str, want: Want) -> Tensor:
        """Return a signal about the texts alone, (m, ...) in the order of `rows`; of one size whatever the text."""
        count = len(self.rows(kind)[0])
        mine = self._chunks(kind, frozenset({want}), part=self.part(count))
        return self.joined(torch.cat([signals[want] for _, signals in mine]), count)

    def chunks(
        self, kind: str, wants: Wants, *, places: np.ndarray | None = None
    ) -> Iterator[tuple[Batch, Signals]]:
        """Yield texts with what the model says about them and their pictures, some at a time; every worker gets all.

        Args:
            kind: of the texts.
            wants: what is asked.
            places: (m,) the place of the picture that each text is shown with, by default its own; -1 leaves it out.
        """
        yield from self._chunks(kind, wants, places=places)

    def of_pairs(self, kind: str, want: Want, *, texts: np.ndarray, places: np.ndarray) -> Tensor:
        """Return a signal about texts that are read together with pictures, (n, ...): any pairs, in any order.

        Neighbours should share pictures: what may be used again of one is looked up for each chunk.

        Args:
            kind: of the texts.
            want: what is asked; of one size whatever the text.
            texts: (n,) places of the texts in `rows`.
            places: (n,) places of the pictures.
        """
        count, rows = len(texts), self.rows(kind)[0][texts]
        asked = frozenset({want})
        mine = [signals[want] for _, signals in self._of(kind, asked, (rows, places), part=self.part(count))]
        return self.joined(torch.cat(mine), count)

    def counted(
        self, kind: str, wants: Wants, count: Count, *, places: np.ndarray | None = None
    ) -> tuple[int, ...]:
        """Return what `count` counts, summed over all `chunks`, of which each worker looks at its share; () of no texts.

        Args:
            kind, wants, places: as for `chunks`.
            count: gives whole numbers for one chunk, each a scalar tensor or a number.
        """
        asked = len(self.rows(kind)[0]) if places is None else int((places >= 0).sum())
        sums: Tensor | None = None
        for batch, signals in self._chunks(kind, wants, places=places, part=self.part(asked)):
            found = [
                torch.as_tensor(one, dtype=torch.int64, device=self.device) for one in count(batch, signals)
            ]
            sums = torch.stack(found) + (0 if sums is None else sums)
        return () if sums is None else tuple(self._sharing.summed(sums, _count(asked)).tolist())

    def _chunks(
        self, kind: str, wants: Wants, *, places: np.ndarray | None = None, part: range | None = None
    ) -> Iterator[tuple[Batch, Signals]]:
        """Yield `chunks`, those of a part or all."""
        rows, owners = self.rows(kind)
        if places is not None:
            rows, owners = rows[places >= 0], places[places >= 0]
        yield from self._of(kind, wants, (rows, owners), part=part)

    def _of(
        self, kind: str, wants: Wants, pairs: tuple[np.ndarray, np.ndarray], *, part: range | None = None
    ) -> Iterator[tuple[Batch, Signals]]:
        """Yield what is said of texts and the pictures they are shown with, both (m,), some at a time."""
        rows, owners = pairs
        grounded = looks_at_pictures(self.model.inputs(wants).fields)
        for number in range(_count(len(rows))) if part is None else part:
            seen = owners[chunk(number)]
            again = self.model.reused(wants) if grounded else NOTHING
            known = self._known(seen, again) if again else None
            yield self._signals({PICTURE: self.pictures[seen], kind: rows[chunk(number)]}, wants, known)

    def part(self, rows: int) -> range:
        """Return which chunks of so many rows this worker looks at."""
        return self._sharing.part(_count(rows))

    def joined(self, mine: Tensor, rows: int) -> Tensor:
        """Return the rows of all workers, of which each made those of its `part`."""
        parts = self._sharing.parts(_count(rows))
        held = [min(part.stop * CHUNK, rows) - part.start * CHUNK for part in parts]
        return self._sharing.joined(mine, held)

    def _look(self, number: int, wants: Wants) -> Signals:
        """Return what the model says about a chunk of pictures; what it can use again is kept along the way."""
        before = self._reused.get(number, Signals())
        more = self.model.reused(wants) - before.keys() if self._keeps else NOTHING
        found = self._signals({PICTURE: self.pictures[chunk(number)]}, wants | more)[1]
        if more:
            kept = self._reused[number] = Signals({**before, **found.only(more)})
            room = max(FEWEST_KEPT, LARGEST_KEPT // max(1, sum(one.nbytes for one in kept.values())))
            while len(self._reused) > room:
                del self._reused[next(iter(self._reused))]
        return found

    def _known(self, places: np.ndarray, again: Wants) -> Signals:
        """Return what the model can use again of the pictures at some places, (B, ...)."""
        found = Signals()
        for number in np.unique(places // CHUNK).tolist():
            there = np.flatnonzero(places // CHUNK == number)
            rows, chosen = (torch.from_numpy(one).to(self.device) for one in (there, places[there] % CHUNK))
            kept = self._reused.get(number, Signals())
            if lacking := again - kept.keys():
                kept = Signals({**kept, **self._look(number, lacking)})
            for want, value in kept.only(again).items():
                if want not in found:
                    found[want] = value.new_empty(len(places), *value.shape[1:])
                found[want][rows] = value[chosen]
        return found

    def first(self, make: Callable[[], Sequence[float]], count: int) -> list[float]:
        """Return numbers that one worker makes for all, see `Sharing.first`."""
        return self._sharing.first(make, count, self.device)

    @torch.no_grad()
    def _signals(
        self, rows: dict[str, np.ndarray], wants: Wants, known: Signals | None = None
    ) -> tuple[Batch, Signals]:
        needs = self.model.inputs(wants)
        looks = (known is None and looks_at_pictures(needs.fields)) or PIXELS_2 in needs.fields
        read = looks_at_pictures(self.source.fields(self.split.name, needs.source))
        batch = self.split.batch(rows, self.device, pixels=looks or read)
        given = self.source.signals(batch, needs.source)
        seen = batch
        if self.blind:
            seen, given = batch.blinded(), given.blinded(self.source.pictured(needs.source))
        found: Signals = self.model(seen, wants, given, known)
        return batch, found
