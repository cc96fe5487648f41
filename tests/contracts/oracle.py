"""A model that knows the truth about a split, and says it of some pictures: what tasks must score as they do."""

from collections.abc import Callable
from typing import Any, final

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from tests.unit.trainables.answering import Answering
from trainables.datasets.encoded import EncodedSplit
from trainables.families.base import Inputs
from trainables.signals import (
    CAPTION,
    PICTURE,
    PIXELS,
    PIXELS_2,
    QUESTION,
    STATEMENT,
    Batch,
    Offer,
    Offers,
    Signals,
    Want,
    Wants,
    classes_meaning,
)

CLASSES = tuple(f"class {number}" for number in range(24))

READ = {"answer": QUESTION, "paired": STATEMENT}

Say = Callable[[Batch], Tensor]


@final
class Oracle(Answering):
    """Right about the pictures below `right` and about their texts, wrong about all others; in training mode always wrong.

    A new task whose wants it does not know needs a line in `answers`.
    """

    def __init__(self, split: EncodedSplit, right: int) -> None:
        super().__init__()
        self.split, self.right = split, right
        self.architecture = None
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.answers: dict[Want, Say] = {
            Want("image", "embedding"): lambda batch: self.embedding(batch.rows[PICTURE], known=True),
            Want("text", "embedding"): lambda batch: self.embedding(self.owners(batch, CAPTION), known=False),
            Want("image", "logits"): lambda batch: self.classify(batch.rows[PICTURE]),
            Want("fused", "logits"): self.match,
            Want("decoder", "logits"): lambda batch: self.speak(batch, CAPTION),
            Want("paired", "logits"): self.hold,
            Want("answer", "logits"): lambda batch: self.speak(batch, QUESTION),
        }

    def owners(self, batch: Batch, kind: str) -> Tensor:
        """Return the picture that each text belongs to."""
        return torch.from_numpy(self.split.tables[kind].images)[batch.rows[kind]]

    def knows(self, pictures: Tensor) -> Tensor:
        """Return (B,) bool: whether it is right about these pictures."""
        return (pictures < self.right) & (not self.training)

    def embedding(self, pictures: Tensor, *, known: bool) -> Tensor:
        """Return a direction of its own for each picture; a text is turned to the next picture where it is wrong."""
        meant = pictures if known else torch.where(self.knows(pictures), pictures, pictures + 1)
        return one_hot(meant % self.split.num_images, self.split.num_images).float()

    def classify(self, pictures: Tensor) -> Tensor:
        """Return logits of the classes, of which each picture is one of its own."""
        said = torch.where(self.knows(pictures), pictures, pictures + 1)
        return one_hot(said % len(CLASSES), len(CLASSES)).float()

    def match(self, batch: Batch) -> Tensor:
        """Return logits of no match and match."""
        owners = self.owners(batch, CAPTION)
        true = owners == batch.rows[PICTURE]
        return one_hot(torch.where(self.knows(owners), true, ~true).long(), 2).float()

    def hold(self, batch: Batch) -> Tensor:
        """Return logits of false and true."""
        true = torch.from_numpy(self.split.holds(batch.rows[STATEMENT].numpy()))
        return one_hot(torch.where(self.knows(batch.rows[PICTURE]), true, ~true).long(), 2).float()

    def speak(self, batch: Batch, kind: str) -> Tensor:
        """Return logits of each text's next tokens; of the ones behind them where it is wrong."""
        following = batch[f"{kind}.ids"].roll(-1, dims=1)
        size = self.split.vocabulary.size
        said = torch.where(self.knows(self.owners(batch, kind))[:, None], following, (following + 1) % size)
        return one_hot(said, size).float()

    @classmethod
    def offers(cls, architecture: Any = None) -> Offers:
        """Return all that tasks may ask it, without sizes; or what it is said to be able to."""
        if architecture is not None:
            return dict(architecture)
        spoken = {Want(mode, "logits"): Offer() for mode in ("fused", "paired", "decoder", "answer")}
        spoken[Want("image", "logits")] = Offer(meaning=classes_meaning(CLASSES))
        return spoken | {Want(mode, "embedding"): Offer() for mode in ("image", "text")}

    def inputs(self, wants: Wants) -> Inputs:
        """Return pixels, though it does not look at them, and the texts."""
        if unknown := wants - self.answers.keys():
            pytest.fail(f"the oracle knows nothing of {', '.join(map(str, unknown))}; teach it in {__file__}")
        fields = {PIXELS} if any(want.mode != "text" for want in wants) else set[str]()
        for want in wants:
            if want.mode != "image":
                fields.add(f"{READ.get(want.mode, CAPTION)}.ids")
            if want.mode == "paired":
                fields.add(PIXELS_2)
        return Inputs(fields=frozenset(fields))

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        """Return what is asked of the batch's rows."""
        missing = self.inputs(wants).fields - set(batch.fields)
        assert not missing, missing
        return Signals({want: self.answers[want](batch) for want in wants})
