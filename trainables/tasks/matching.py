"""Image-text matching."""

from collections.abc import Sequence
from typing import ClassVar, final

from trainables.signals import CAPTION, PIXELS, Offers, Serving, Want, Wants
from trainables.tasks.base import Task
from trainables.tasks.chance import Chance
from trainables.tasks.decoding import longest_text
from trainables.tasks.pool import Pool, PoolRows

LOGITS = Want("fused", "logits")


@final
class Matching(Task):
    """Tell whether a picture and a caption belong together, by the image-grounded encoder.

    Li et al. 2022, section 3.2. Half of the pairs are given ones, in the other half each caption meets the next picture:
    guessing scores 50.
    """

    metrics: ClassVar[tuple[str, ...]] = ("match_accuracy",)
    counts: ClassVar[str] = "match_accuracy"
    wants: ClassVar[Wants] = frozenset({LOGITS})
    fields: ClassVar[frozenset[str]] = frozenset({PIXELS, "caption.ids"})
    losses: ClassVar[tuple[str, ...]] = ("itm",)

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the share of pairs that are told right; {} without captions, or for one picture, which has no other."""
        if len(pool.pictures) < 2:
            return {}
        right = total = 0
        for shift in (0, 1):
            for _, signals in pool.chunks(CAPTION, frozenset({LOGITS}), shift=shift):
                said = signals[LOGITS].argmax(-1)
                right += int((said == 1 - shift).sum())
                total += len(said)
        return {"match_accuracy": 100.0 * right / total} if total else {}

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return 50: half of the pairs belong together."""
        pairs = 2 * len(rows.rows(CAPTION)[0]) if len(rows.pictures) > 1 else 0
        return Chance(level=50.0, count=pairs) if pairs else None

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture, and one text that is read with it."""
        tokens = longest_text(offers, "fused")
        return (Serving(mode="image"), Serving(mode="fused", tokens=tokens))
