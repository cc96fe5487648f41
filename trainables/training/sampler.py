"""Which examples an epoch holds, as a pure function of (seed, epoch): resuming needs no state."""

from collections.abc import Iterator

import numpy as np

from trainables.datasets.encoded import VISIT, EncodedSplit, Rows
from trainables.signals import CAPTION, PICTURE, QUESTION, STATEMENT

CHUNK_BATCHES = (
    8  # captions are sorted by length inside chunks of so many batches: less padding, order still random
)
TEXTS = (
    CAPTION,
    QUESTION,
)  # in this order their numbers are drawn, be they there or not: order is part of a seed


class ExampleSampler:
    """Walk through the pictures without replacement, pass after pass, a fixed number of pairs per epoch.

    Each visit draws one caption, one question and one statement of the picture. Every worker computes the same global
    batches and takes every world-th row, so that N workers see what one would see.
    """

    def __init__(
        self,
        split: EncodedSplit,
        *,
        seed: int,
        batch_size: int,
        pairs_per_epoch: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.split = split
        self.seed = seed
        self.pairs_per_epoch = pairs_per_epoch
        self.num_batches = max(1, -(-pairs_per_epoch // batch_size))
        self.rank = rank
        self.world = world

    def _places(self, epoch: int) -> np.ndarray:
        """Return the places of an epoch in all the visits of a training, pass behind pass."""
        return np.arange(epoch * self.pairs_per_epoch, (epoch + 1) * self.pairs_per_epoch)

    def _images(self, epoch: int) -> np.ndarray:
        n, places = self.split.num_images, self._places(epoch)
        passes = {
            p: np.random.default_rng([self.seed, 1, p]).permutation(n)
            for p in np.unique(places // n).tolist()
        }
        return np.array([passes[place // n][place % n] for place in places.tolist()], dtype=np.int64)

    def epoch(self, epoch: int) -> Iterator[Rows]:
        """Yield the rows of each batch of one epoch (counted from 0) for this worker, by their kind."""
        rng = np.random.default_rng([self.seed, 2, epoch])
        rows = {PICTURE: self._images(epoch)}
        if self.split.varied:
            rows[VISIT] = self._places(epoch) // self.split.num_images
        for kind in TEXTS:
            numbers = rng.integers(0, 1 << 30, len(rows[PICTURE]))
            if kind in self.split.tables:
                rows[kind] = self.split.tables[kind].row(rows[PICTURE], numbers)
        if STATEMENT in self.split.tables:  # drawn apart: what older data draws stays as it is
            numbers = np.random.default_rng([self.seed, 3, epoch]).integers(0, 1 << 30, len(rows[PICTURE]))
            rows[STATEMENT] = self.split.tables[STATEMENT].row(rows[PICTURE], numbers)
        order = rng.random(len(rows[PICTURE]))
        if CAPTION in rows:
            order = self.split.tables[CAPTION].lengths[rows[CAPTION]] + order
        bounds = np.linspace(0, len(order), self.num_batches + 1).round().astype(int)
        for first in range(0, self.num_batches, CHUNK_BATCHES):
            last = min(first + CHUNK_BATCHES, self.num_batches)
            chunk = np.arange(bounds[first], bounds[last])
            chunk = chunk[np.argsort(order[chunk], kind="stable")]
            batches = np.split(chunk, bounds[first + 1 : last] - bounds[first])
            for number in rng.permutation(len(batches)):
                places = batches[number]
                places = places[self.rank :: self.world]  # sizes may differ by one: losses count over workers
                yield {kind: numbers[places] for kind, numbers in rows.items()}
