"""Captioning, measured token by token."""

from collections.abc import Sequence
from itertools import chain
from typing import ClassVar, final

from torch import Tensor

from trainables.signals import CAPTION, PIXELS, Batch, Offers, Serving, Signals, Wants
from trainables.tasks.base import Task
from trainables.tasks.chance import Chance, most_frequent
from trainables.tasks.decoding import LOGITS, caption_steps
from trainables.tasks.pool import Pool, PoolRows


@final
class Captioning(Task):
    """Say what is in a picture.

    Measured under teacher forcing, [SEP] included and padding not: cheap and discriminative inside trials.
    """

    metrics: ClassVar[tuple[str, ...]] = ("caption_token_accuracy",)
    counts: ClassVar[str] = "caption_token_accuracy"
    wants: ClassVar[Wants] = frozenset({LOGITS})
    fields: ClassVar[frozenset[str]] = frozenset({PIXELS, "caption.ids", "caption.targets"})
    losses: ClassVar[tuple[str, ...]] = ("lm",)

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the share of caption tokens that are predicted right from those before them; {} without captions."""

        def count(batch: Batch, signals: Signals) -> tuple[Tensor, Tensor]:
            ids, real = batch["caption.ids"], batch["caption.targets"][:, :-1]
            return ((signals[LOGITS][:, :-1].argmax(-1) == ids[:, 1:]) & real).sum(), real.sum()

        right, total = pool.counted(CAPTION, frozenset({LOGITS}), count) or (0, 0)
        return {"caption_token_accuracy": 100.0 * right / total} if total else {}

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return the share of the most frequent token: who says it always is right so often. Counted are whole captions."""
        said = rows.said(CAPTION)
        return Chance(level=most_frequent(chain.from_iterable(said)), count=len(said)) if said else None

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture, and a decoder's pass for each token."""
        steps, tokens = caption_steps(offers)
        return (Serving(mode="image"), Serving(mode="decoder", tokens=tokens, repeats=steps))
