"""A task outside of the product: which shape a scene with a single object shows."""

from collections.abc import Sequence
from typing import ClassVar, final

import numpy as np
import torch

from trainables.datasets.scenes.drawing import SHAPES
from trainables.signals import CAPTION, PIXELS, Offers, Serving, Want, Wants
from trainables.tasks.base import Task
from trainables.tasks.pool import Pool

EMBEDDING = Want("image", "embedding")
ALONE = "and nothing else"  # how one of the four captions of such a scene ends


@final
class SceneShape(Task):
    """Name the shape by the nearest mean embedding: one half of the scenes gives the means, the other is asked."""

    metrics: ClassVar[tuple[str, ...]] = ("shape_accuracy",)
    counts: ClassVar[str] = "shape_accuracy"
    wants: ClassVar[Wants] = frozenset({EMBEDDING})
    fields: ClassVar[frozenset[str]] = frozenset({PIXELS})

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the share of right names in percent."""
        embeddings, labels = pool.of_pictures(EMBEDDING), torch.from_numpy(_labels(pool))
        known = torch.nonzero(labels >= 0)[:, 0]
        means, asked = known[0::2], known[1::2]
        present = labels[means].unique()
        centres = torch.stack([embeddings[means[labels[means] == one]].mean(0) for one in present])
        named = present[(embeddings[asked] @ centres.T).argmax(1)]
        return {"shape_accuracy": 100.0 * int((named == labels[asked]).sum()) / len(asked)}

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture."""
        return (Serving(mode="image"),)


def _labels(pool: Pool) -> np.ndarray:
    """Return the index of the shape of each picture, -1 where there are several objects."""
    captions, table = pool.split.texts[CAPTION], pool.split.tables[CAPTION]
    labels = np.full(len(pool.pictures), -1, dtype=np.int64)
    for text, image in zip(captions, table.images.tolist(), strict=True):
        if image < len(labels) and text.endswith(ALONE):
            labels[image] = next(place for place, shape in enumerate(SHAPES) if shape in text.split())
    return labels
