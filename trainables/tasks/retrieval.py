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
CHUNK = 256  # queries at a time
FEW = 0.9  # different captions per picture; below, the user is told
IMAGE, TEXT = Want("image", "embedding"), Want("text", "embedding")


@final
class Retrieval(Task):
    """Find the captions of a picture and the picture of a caption, without re-ranking.

    Li et al. 2022, section 5.1. An image counts by the best of its captions. Equal captions of several images are right for
    each of them, since nobody could tell them apart. A tie goes against the model, and so does NaN: a constant or broken
    embedding scores 0, not 100.
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
        """Return R@1, R@5 and R@10 both ways (tr: image to text, ir: text to image) and their mean.

        {} without captions, and where every caption is that of every picture: then there is nothing to find.
        """
        if not len(pool.rows(CAPTION)[0]):
            return {}
        image_BE, text_BE = pool.of_pictures(IMAGE), pool.of_texts(CAPTION, TEXT)
        belongs = torch.from_numpy(pool.asked.belongs(CAPTION)).to(image_BE.device)
        return recalls(image_BE.float() @ text_BE.float().T, belongs)

    def note(self, pictures: int, captions: int) -> str | None:
        """Return how coarse the figures are where far fewer captions than pictures are told apart, or None."""
        if captions >= FEW * pictures:
            return None
        return (
            f"retrieval tells only {captions:,} different captions of {pictures:,} pictures apart: equal captions count as "
            "right, so that its recalls rank kinds of pictures, not pictures"
        )

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return the expected mean recall of a random order, equal captions being equal."""
        if not len(rows.rows(CAPTION)[0]):
            return None
        belongs = rows.belongs(CAPTION)
        level = random_recall(belongs)
        return None if level is None else Chance(level=level, count=int(belongs.any(axis=1).sum()))

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture and one text."""
        return (Serving(mode="image"), Serving(mode="text", tokens=longest_text(offers, "text")))


def recalls(similarity: Tensor, belongs: Tensor) -> dict[str, float]:
    """Return the recalls in percent of a pool of n images with m captions; {} where there is nothing to tell apart.

    Args:
        similarity: (n, m).
        belongs: (n, m) bool, which captions describe which images.
    """
    ranks = {"tr": _ranks(similarity, belongs), "ir": _ranks(similarity.T, belongs.T)}
    if not all(len(rank) for rank in ranks.values()):
        return {}
    values = {
        f"{way}_at_{k}": 100.0 * int((rank < k).sum()) / len(rank)
        for way, rank in ranks.items()
        for k in RANKS
    }
    values["mean_recall"] = sum(values.values()) / len(values)
    return values


def _ranks(similarity: Tensor, right: Tensor) -> Tensor:
    """Return the rank (0 = first) of the best right answer among the wrong ones.

    Not asked are queries without a right answer, such as an image without caption, and those without a wrong one.

    Args:
        similarity: (queries, answers).
        right: (queries, answers) bool.
    """
    asked = right.any(dim=1) & ~right.all(dim=1)
    ranks = [torch.zeros(0, dtype=torch.long, device=similarity.device)]
    for rows, fits in zip(similarity[asked].split(CHUNK), right[asked].split(CHUNK), strict=True):
        best = rows.masked_fill(~fits, float("-inf")).amax(dim=1, keepdim=True)
        ranks.append((~(rows < best) & ~fits).sum(dim=1))  # a NaN is smaller than nothing
    return torch.cat(ranks)


def random_recall(belongs: np.ndarray) -> float | None:
    """Return the mean recall in percent that a random order of the pool is expected to have; None where nothing is asked.

    Args:
        belongs: (n, m) bool, which captions describe which images.
    """
    shares = []
    for right in (belongs, belongs.T):
        asked = Counter(count for count in right.sum(axis=1).tolist() if 0 < count < right.shape[1])
        if not asked:
            return None
        hits = [
            [first_hit(right.shape[1], count, k) * times for count, times in asked.items()] for k in RANKS
        ]
        shares += [sum(one) / asked.total() for one in hits]
    return 100.0 * sum(shares) / len(shares)
