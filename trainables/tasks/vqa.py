"""Visual question answering."""

from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor

from trainables.signals import PIXELS, QUESTION, Batch, Offers, Serving, Signals, Wants
from trainables.tasks.base import Task
from trainables.tasks.chance import Chance, most_frequent
from trainables.tasks.decoding import ANSWER_STEPS, ANSWERS, longest_text
from trainables.tasks.pool import Pool, PoolRows


@final
class Vqa(Task):
    """Answer questions about a picture.

    One reference per question; the ten-annotator rule of VQAv2 is another metric.
    """

    metrics: ClassVar[tuple[str, ...]] = ("vqa_accuracy",)
    counts: ClassVar[str] = "vqa_accuracy"
    wants: ClassVar[Wants] = frozenset({ANSWERS})
    fields: ClassVar[frozenset[str]] = frozenset({PIXELS, "question.ids", "question.targets"})
    losses: ClassVar[tuple[str, ...]] = ("vqa",)

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the share of questions whose reference greedy decoding gives exactly, and ends there.

        That is so where each of its tokens is the most likely one after those before. {} where nothing could be asked.
        """

        def count(batch: Batch, signals: Signals) -> tuple[Tensor, int]:
            ids, asked = batch["question.ids"], batch["question.targets"][:, :-1]
            hit = (signals[ANSWERS][:, :-1].argmax(-1) == ids[:, 1:]) | ~asked
            return hit.all(dim=1).sum(), len(ids)

        right, total = pool.counted(QUESTION, frozenset({ANSWERS}), count) or (0, 0)
        return {"vqa_accuracy": 100.0 * right / total} if total else {}

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return the share of the most frequent answer: who gives it always is right so often."""
        said = rows.said(QUESTION)
        return Chance(level=most_frequent(said), count=len(said)) if said else None

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture, and a decoder's pass for each token of an answer."""
        tokens = longest_text(offers, "answer")
        return (Serving(mode="image"), Serving(mode="answer", tokens=tokens, repeats=ANSWER_STEPS))
