"""Whether a statement is true of two pictures."""

from collections.abc import Sequence
from typing import final

from torch import Tensor

from trainables.signals import (
    HOLDS,
    PIXELS,
    PIXELS_2,
    STATEMENT,
    Batch,
    Offers,
    Serving,
    Signals,
    Want,
    Wants,
)
from trainables.tasks.base import Task
from trainables.tasks.chance import Chance, most_frequent
from trainables.tasks.decoding import longest_text
from trainables.tasks.pool import Pool, PoolRows

LOGITS = Want("paired", "logits")


@final
class Nlvr2(Task):
    """Tell whether a statement is true of two pictures.

    Suhr et al. 2019; the model of Li et al. 2022, section 5.4, reads it with both. Asked are all statements whose first picture
    is among those of the pool.
    """

    metrics: tuple[str, ...] = ("nlvr2_accuracy",)
    counts: str = "nlvr2_accuracy"
    wants: Wants = frozenset({LOGITS})
    fields: frozenset[str] = frozenset({PIXELS, PIXELS_2, "statement.ids", HOLDS})
    losses: tuple[str, ...] = ("nlvr2",)

    def model_lack(self, offers: Offers) -> str | None:
        """Return that a model does not read two pictures, and which do."""
        lack = super().model_lack(offers)
        return lack and (
            f"{lack} (students with `fusion.two_pictures: true` have it, and teachers that python -m "
            "trainables.teachers.pretrain trained on statements)"
        )

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the share of statements that are told right; a tie and NaN go against the model. {} without statements."""

        def count(batch: Batch, signals: Signals) -> tuple[Tensor, int]:
            logits_B2, holds_B = signals[LOGITS].float(), batch[HOLDS]
            right_B1 = logits_B2.gather(1, holds_B[:, None])
            return (right_B1 > logits_B2.gather(1, 1 - holds_B[:, None])).sum(), len(holds_B)

        right, total = pool.counted(STATEMENT, frozenset({LOGITS}), count) or (0, 0)
        return {"nlvr2_accuracy": 100.0 * right / total} if total else {}

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return the share of the more frequent of true and false: who says it always is right so often."""
        holds = rows.split.holds(rows.rows(STATEMENT)[0]).tolist()
        return Chance(level=most_frequent(holds), count=len(holds)) if holds else None

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return two pictures, and one text that is read with both."""
        tokens = longest_text(offers, "fused")
        return (Serving(mode="image", repeats=2), Serving(mode="paired", tokens=tokens))
