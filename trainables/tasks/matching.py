"""Image-text matching: by the image-grounded encoder, and among the captions of a batch as published reports state it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from spaces.rules import Number
from trainables.signals import CAPTION, PIXELS, Batch, Offers, Serving, Signals, Want, Wants
from trainables.tasks.base import Task
from trainables.tasks.chance import Chance
from trainables.tasks.decoding import longest_text
from trainables.tasks.pool import Pool, PoolRows

LOGITS = Want("fused", "logits")
IMAGE, TEXT = Want("image", "embedding"), Want("text", "embedding")
SIZE = {"rule": Number(whole=True, low=2, high=10**6, why="a batch is compared with itself in memory")}


@final
class Matching(Task):
    """Tell whether a picture and a caption belong together, by the image-grounded encoder.

    Li et al. 2022, section 3.2. Half of the pairs are given ones, in the other half each caption meets the next picture that
    has no caption like it: guessing scores 50. A caption that all pictures have tells nothing and is left out of both.
    """

    metrics: tuple[str, ...] = ("match_accuracy",)
    counts: str = "match_accuracy"
    wants: Wants = frozenset({LOGITS})
    fields: frozenset[str] = frozenset({PIXELS, "caption.ids"})
    losses: tuple[str, ...] = ("itm",)

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the share of pairs that are told right; {} without captions, or where each fits all pictures."""
        if not len(pool.rows(CAPTION)[0]):
            return {}
        others = pool.asked.strangers(CAPTION)
        own = np.where(others < 0, -1, pool.rows(CAPTION)[1])
        right = total = 0
        for label, places in ((1, own), (0, others)):

            def count(batch: Batch, signals: Signals, label: int = label) -> tuple[Tensor, int]:
                return (signals[LOGITS].argmax(-1) == label).sum(), len(signals[LOGITS])

            found = pool.counted(CAPTION, frozenset({LOGITS}), count, places=places) or (0, 0)
            right, total = right + found[0], total + found[1]
        return {"match_accuracy": 100.0 * right / total} if total else {}

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return 50: half of the pairs belong together."""
        pairs = 2 * int((rows.strangers(CAPTION) >= 0).sum())
        return Chance(level=50.0, count=pairs) if pairs else None

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture, and one text that is read with it."""
        tokens = longest_text(offers, "fused")
        return (Serving(mode="image"), Serving(mode="fused", tokens=tokens))


@final
class BatchMatching(Task):
    """Find the caption of a picture among the captions of one batch, by the student's own two embeddings.

    No retrieval: the smaller the batch, the easier, so that a figure means nothing without its `batch_size`. Batches are
    consecutive pictures with their first captions; the last one is filled up with those before it. A picture is compared with
    texts alone, never with what the same or another model says of pictures. Equal captions are right for each of their
    pictures; a tie goes against the model, and so does NaN.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Task.Config):
        """Options.

        Attributes:
            batch_size: pictures of a batch.
        """

        batch_size: int = field(default=100, metadata=SIZE)

    metrics: tuple[str, ...] = ("batch_matching_top1",)
    counts: str = "batch_matching_top1"
    wants: Wants = frozenset({IMAGE, TEXT})
    fields: frozenset[str] = frozenset({PIXELS, "caption.ids"})
    losses: tuple[str, ...] = ("itc",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._batch_size = config.batch_size

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the share of pictures whose caption is the nearest of their batch; {} without captions to tell apart."""
        captions, pictures = _pairs(pool.asked)
        if not len(captions):
            return {}
        image_BE = pool.of_pictures(IMAGE).float()[torch.from_numpy(pictures).to(pool.device)]
        text_BE = pool.of_texts(CAPTION, TEXT).float()[torch.from_numpy(captions).to(pool.device)]
        right = total = 0
        for rows, batch, belongs in self._batches(pool.asked):
            similarity = image_BE[rows] @ text_BE[batch].T
            fits = torch.from_numpy(belongs).to(similarity.device)
            best = similarity.masked_fill(~fits, float("-inf")).amax(dim=1, keepdim=True)
            clear = ((similarity < best) | fits).all(dim=1)  # a NaN is smaller than nothing
            right += int((clear & ~best[:, 0].isnan()).sum())
            total += len(rows)
        return {"batch_matching_top1": 100.0 * right / total} if total else {}

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return how many captions of a batch belong to a picture, in the mean."""
        shares = [share for _, _, belongs in self._batches(rows) for share in belongs.mean(axis=1)]
        return Chance(level=100.0 * float(np.mean(shares)), count=len(shares)) if shares else None

    def remark(self) -> str | None:
        """Return the size of a batch."""
        return f"batch_matching_top1 finds a caption among those of {self._batch_size:,} pictures; it is no recall"

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture and one text."""
        return (Serving(mode="image"), Serving(mode="text", tokens=longest_text(offers, "text")))

    def _batches(self, rows: PoolRows) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return pairs that are asked about, the pairs of their batch, and which captions of it belong to each (asked, batch).

        Not asked are pictures that all captions of their batch belong to.
        """
        captions, pictures = _pairs(rows)
        found = []
        belongs = rows.belongs(CAPTION) if len(captions) else np.zeros((0, 0), dtype=bool)
        for first in range(0, len(captions), self._batch_size):
            new = np.arange(first, min(first + self._batch_size, len(captions)))
            batch = np.arange(max(0, new[-1] + 1 - self._batch_size), new[-1] + 1)
            fits = belongs[np.ix_(pictures[new], captions[batch])]
            asked = ~fits.all(axis=1)
            if asked.any():
                found.append((new[asked], batch, fits[asked]))
        return found


def _pairs(rows: PoolRows) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each picture's first caption among `rows`, and the place of the picture, both (pairs,)."""
    owners = rows.rows(CAPTION)[1]
    pictures, captions = np.unique(owners, return_index=True)
    return captions, pictures
