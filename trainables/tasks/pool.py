"""A model over the first pictures of a held-out split: run once, read by every task."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.configs import require_counts
from trainables.datasets.encoded import EncodedSplit
from trainables.families.base import Family
from trainables.signals import CAPTION, PICTURE, QUESTION, Batch, NoSource, Signals, Source, Want, Wants

CHUNK = 100


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


class PoolRows:
    """The first pictures of a held-out split with their first texts: what is asked, before anybody is asked.

    Attributes:
        pictures: (n,) rows of the pictures.
        split: where they are from.
    """

    def __init__(self, split: EncodedSplit, size: EvaluationSize) -> None:
        """Take so much of a split."""
        self.split = split
        self.pictures = np.arange(min(size.images, split.num_images))
        self._most = {CAPTION: size.captions_per_image, QUESTION: size.questions_per_image}

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
        near = table.images < len(self.pictures)
        different, codes = np.unique(table.keys[near], return_inverse=True)
        has = np.zeros((len(self.pictures), len(different)), dtype=bool)
        has[table.images[near], codes.reshape(-1)] = True
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

    What the model can use again of a picture (`Family.reusable`) is computed once and kept.

    Attributes:
        asked: the rows.
        pictures: (n,) rows of the pictures.
        split: where they are from.
    """

    def __init__(
        self,
        model: Family,
        split: EncodedSplit,
        device: torch.device,
        *,
        size: EvaluationSize,
        blind: bool = False,
        source: Source | None = None,
    ) -> None:
        """Take a model, in eval mode.

        Args:
            model: teacher or student.
            split: a held-out split.
            device: where the model lives.
            size: how much of the split.
            blind: show black pictures, for the baseline that sees nothing.
            source: the teacher, for students that read what it says.
        """
        self.model, self.split, self.device, self.blind = model, split, device, blind
        self.source = source or NoSource()
        self.asked = PoolRows(split, size)
        self.pictures = self.asked.pictures
        self._kept: dict[Want, Tensor] = {}

    def of_pictures(self, want: Want) -> Tensor:
        """Return a signal about all pictures, (n, ...)."""
        if want not in self._kept:
            wants = frozenset({want}) | self.model.reusable.difference(self._kept)
            chunks = [
                self._signals({PICTURE: self.pictures[first : first + CHUNK]}, wants)[1]
                for first in range(0, len(self.pictures), CHUNK)
            ]
            for one in wants:
                self._kept[one] = torch.cat([signals[one] for signals in chunks])
        return self._kept[want]

    def rows(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the first texts of each picture, and the place of the picture that each belongs to, both (m,)."""
        return self.asked.rows(kind)

    def of_texts(self, kind: str, want: Want) -> Tensor:
        """Return a signal about the texts alone, (m, ...) in the order of `rows`; of one size whatever the text."""
        return torch.cat([signals[want] for _, signals in self.chunks(kind, frozenset({want}))])

    def chunks(
        self, kind: str, wants: Wants, *, places: np.ndarray | None = None
    ) -> Iterator[tuple[Batch, Signals]]:
        """Yield texts with what the model says about them and their pictures, some at a time.

        Args:
            kind: of the texts.
            wants: what is asked.
            places: (m,) the place of the picture that each text is shown with, by default its own; -1 leaves it out.
        """
        rows, owners = self.rows(kind)
        if places is not None:
            rows, owners = rows[places >= 0], places[places >= 0]
        grounded = any(name.startswith(f"{PICTURE}.") for name in self.model.inputs(wants).fields)
        reused = {want: self.of_pictures(want) for want in self.model.reusable} if grounded else {}
        for first in range(0, len(rows), CHUNK):
            part, seen = rows[first : first + CHUNK], owners[first : first + CHUNK]
            index = torch.from_numpy(seen).to(self.device)
            known = Signals({want: value[index] for want, value in reused.items()}) if reused else None
            yield self._signals({PICTURE: self.pictures[seen], kind: part}, wants, known)

    @torch.no_grad()
    def _signals(
        self, rows: dict[str, np.ndarray], wants: Wants, known: Signals | None = None
    ) -> tuple[Batch, Signals]:
        needs = self.model.inputs(wants)
        batch = self.split.batch(rows, self.device, pixels=known is None and self._looks(needs.fields))
        given = self.source.signals(batch, needs.source)
        seen = batch.blinded() if self.blind else batch
        found: Signals = self.model(seen, wants, given, known)
        return batch, found

    @staticmethod
    def _looks(fields: frozenset[str]) -> bool:
        return any(name.startswith(f"{PICTURE}.") for name in fields)
