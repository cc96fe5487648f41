"""Image-to-text and text-to-image retrieval over a fixed pool, by similarity of embeddings."""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from trainables.signals import CAPTION, PIXELS, Offers, Serving, Want, Wants
from trainables.tasks.base import Task
from trainables.tasks.chance import Chance, first_hit
from trainables.tasks.decoding import longest_text
from trainables.tasks.pool import Pool, PoolRows

RANKS = (1, 5, 10)
IMAGE, TEXT = Want("image", "embedding"), Want("text", "embedding")


@final
class Retrieval(Task):
    """Find the captions of a picture and the picture of a caption, without re-ranking.

    Li et al. 2022, section 5.1. An image counts by the best of its captions. A tie goes against the model, and so does
    NaN: a constant or broken embedding scores 0, not 100.
    """

    metrics: ClassVar[tuple[str, ...]] = (
        "mean_recall",
        *(f"{way}_at_{k}" for way in ("tr", "ir") for k in RANKS),
    )
    counts: ClassVar[str] = "mean_recall"
    wants: ClassVar[Wants] = frozenset({IMAGE, TEXT})
    fields: ClassVar[frozenset[str]] = frozenset({PIXELS, "caption.ids"})
    losses: ClassVar[tuple[str, ...]] = ("itc",)

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return R@1, R@5 and R@10 both ways (tr: image to text, ir: text to image) and their mean; {} without captions."""
        if not len(pool.rows(CAPTION)[0]):
            return {}
        image_BE, text_BE = pool.of_pictures(IMAGE), pool.of_texts(CAPTION, TEXT)
        owners = torch.from_numpy(pool.rows(CAPTION)[1]).to(image_BE.device)
        return recalls(image_BE.float() @ text_BE.float().T, owners)

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return the expected mean recall of a random order, for these captions per picture, equal captions being equal."""
        numbers, owners = rows.rows(CAPTION)
        if not len(numbers):
            return None
        keys = rows.split.tables[CAPTION].keys[numbers]
        return Chance(level=random_recall(keys, owners, len(rows.pictures)), count=len(np.unique(owners)))

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture and one text."""
        return (Serving(mode="image"), Serving(mode="text", tokens=longest_text(offers, "text")))


def recalls(similarity: Tensor, caption_images: Tensor) -> dict[str, float]:
    """Return the recalls in percent of a pool of n images with m captions.

    Args:
        similarity: (n, m).
        caption_images: (m,) which of the n images each caption describes.
    """
    ranks = {
        "tr": _text_retrieval_ranks(similarity, caption_images),
        "ir": _image_retrieval_ranks(similarity, caption_images),
    }
    values = {
        f"{way}_at_{k}": 100.0 * int((rank < k).sum()) / len(rank)
        for way, rank in ranks.items()
        for k in RANKS
    }
    values["mean_recall"] = sum(values.values()) / len(values)
    return values


def _text_retrieval_ranks(similarity: Tensor, caption_images: Tensor) -> Tensor:
    """Return per image the rank (0 = first) of its best caption among the captions of other images."""
    ranks = []
    for image, row in enumerate(similarity):
        own = caption_images == image
        if own.any():
            ranks.append((~(row[~own] < row[own].max())).sum())
    return torch.stack(ranks)


def _image_retrieval_ranks(similarity: Tensor, caption_images: Tensor) -> Tensor:
    """Return per caption the rank (0 = first) of its image."""
    own = similarity.gather(0, caption_images[None, :])
    return (~(similarity < own)).sum(dim=0) - 1


def random_recall(keys: np.ndarray, caption_images: np.ndarray, num_images: int) -> float:
    """Return the mean recall in percent that a random order of the pool is expected to have.

    An image finds any caption that is worded like one of its own, a caption any image that has a caption worded like it.

    Args:
        keys: (m,) equal for equal captions.
        caption_images: (m,) which image each caption describes.
        num_images: in the pool; some may have no caption, and are found by nobody.
    """
    texts, images = keys.tolist(), caption_images.tolist()
    own: dict[int, set[int]] = {}
    having: dict[int, set[int]] = {}
    for key, image in zip(texts, images, strict=True):
        own.setdefault(image, set()).add(key)
        having.setdefault(key, set()).add(image)
    copies = Counter(texts)
    found = Counter(sum(copies[key] for key in wanted) for wanted in own.values())
    finding = Counter(len(having[key]) for key in texts)
    sides = ((found, len(texts)), (finding, num_images))  # images look for captions, captions for images
    shares = [
        sum(times * first_hit(items, right, k) for right, times in counts.items()) / counts.total()
        for counts, items in sides
        for k in RANKS
    ]
    return 100.0 * sum(shares) / len(shares)
