"""Image-text matching."""

from collections.abc import Sequence
from typing import ClassVar, final

import numpy as np

from trainables.signals import CAPTION, PIXELS, Offers, Serving, Want, Wants
from trainables.tasks.base import Task
from trainables.tasks.chance import Chance
from trainables.tasks.decoding import longest_text
from trainables.tasks.pool import Pool, PoolRows

LOGITS = Want("fused", "logits")


@final
class Matching(Task):
    """Tell whether a picture and a caption belong together, by the image-grounded encoder.

    Li et al. 2022, section 3.2. Half of the pairs are given ones, in the other half each caption meets the next picture that
    has no caption like it: guessing scores 50. A caption that all pictures have tells nothing and is left out of both.
    """

    metrics: ClassVar[tuple[str, ...]] = ("match_accuracy",)
    counts: ClassVar[str] = "match_accuracy"
    wants: ClassVar[Wants] = frozenset({LOGITS})
    fields: ClassVar[frozenset[str]] = frozenset({PIXELS, "caption.ids"})
    losses: ClassVar[tuple[str, ...]] = ("itm",)

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the share of pairs that are told right; {} without captions, or where each fits all pictures."""
        if not len(pool.rows(CAPTION)[0]):
            return {}
        others = pool.asked.strangers(CAPTION)
        own = np.where(others < 0, -1, pool.rows(CAPTION)[1])
        right = total = 0
        for label, places in ((1, own), (0, others)):
            for _, signals in pool.chunks(CAPTION, frozenset({LOGITS}), places=places):
                right += int((signals[LOGITS].argmax(-1) == label).sum())
                total += len(signals[LOGITS])
        return {"match_accuracy": 100.0 * right / total} if total else {}

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return 50: half of the pairs belong together."""
        pairs = 2 * int((rows.strangers(CAPTION) >= 0).sum())
        return Chance(level=50.0, count=pairs) if pairs else None

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture, and one text that is read with it."""
        tokens = longest_text(offers, "fused")
        return (Serving(mode="image"), Serving(mode="fused", tokens=tokens))
