"""A model that says what it is told to, and splits of pictures without texts for it."""

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from tests.unit.trainables.answering import Answering
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.families.base import Inputs
from trainables.preprocess import PreprocessConfig
from trainables.signals import (
    CAPTION,
    PICTURE,
    PIXELS,
    Batch,
    Offer,
    Offers,
    Signals,
    Want,
    Wants,
    classes_meaning,
)

CLASSES = ("crow", "jay", "wren", "swift", "robin", "heron", "crane")
EMBEDDING, LOGITS = Want("image", "embedding"), Want("image", "logits")


@final
class Told(Answering):
    """Says of each row of a split what stands in a table."""

    def __init__(self, said: Mapping[str, Mapping[Want, Tensor]], classes: tuple[str, ...] = CLASSES) -> None:
        super().__init__()
        self.said, self.weight = said, torch.nn.Parameter(torch.zeros(1))
        self.architecture = {
            want: Offer(meaning=classes_meaning(classes) if want == LOGITS else "") for want in said["val"]
        }

    @classmethod
    def offers(cls, architecture: Any) -> Offers:
        return dict(architecture)

    def inputs(self, wants: Wants) -> Inputs:
        texts = any(want.mode == "text" for want in wants)
        return Inputs(fields=frozenset({"caption.ids"} if texts else {PIXELS}))

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        rows = {want: batch.rows[CAPTION if want.mode == "text" else PICTURE] for want in wants}
        return Signals({want: self.said[batch.split][want][rows[want]] for want in wants})


def pictures(
    labels: list[int] | None, name: str = "val", *, shade: int = 0, classes: tuple[str, ...] = CLASSES
) -> EncodedSplit:
    """Return pictures that differ from one another, and from those of another shade."""
    count = len(labels or [])
    pixels = np.zeros((count, 2, 2, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    pixels[:, 1, 1, 2] = shade
    nothing = np.zeros(0, dtype=np.int64)
    split = Split(
        name=name, pixels=pixels, captions=[], caption_images=nothing, questions=[], answers=[],
        question_images=nothing, labels=np.array(labels, dtype=np.int64),
    )  # fmt: skip
    return EncodedSplit(split, None, PreprocessConfig(image_size=2), classes=classes)
