"""Agreement with the teacher on which pictures are alike: what can be measured where nobody has labelled anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from trainables.configs import require_counts
from trainables.signals import PIXELS, Offers, Serving, Want, Wants
from trainables.tasks.base import Task
from trainables.tasks.chance import Chance
from trainables.tasks.pool import Pool, PoolRows

IMAGE = Want("image", "embedding")
CHUNK = 256  # pictures at a time


@final
class Neighbours(Task):
    """Find the nearest pictures that the teacher finds, among those of the pool; needs pictures only.

    The mutual k-nearest-neighbour measure of Huh et al. 2024 (The Platonic Representation Hypothesis), section 2: the share of
    a picture's k nearest neighbours, by cosine of embeddings, that both models have in common, in the mean over the pool. The
    teacher agrees with itself. A picture is no neighbour of its own. NaN is nobody's neighbour.
    """

    metrics: tuple[str, ...] = ("neighbours",)
    counts: str = "neighbours"
    wants: Wants = frozenset({IMAGE})
    taught: Wants = frozenset({IMAGE})
    fields: frozenset[str] = frozenset({PIXELS})

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Task.Config):
        """Options.

        Attributes:
            k: neighbours of a picture; at most half of the others, of which guessing would find most.
        """

        k: int = 10

        def __post_init__(self) -> None:
            require_counts(self, "k")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.k = config.k

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the mean share of common neighbours in percent; {} of fewer than three pictures, which have no choice."""
        if len(pool.pictures) < 3:
            return {}
        mine, theirs = pool.of_pictures(IMAGE), pool.taught_of_pictures(IMAGE)
        return {"neighbours": 100.0 * common_neighbours(mine.float(), theirs.float(), self._k(len(mine)))}

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return what random neighbours have in common: k of the n - 1 others."""
        count = len(rows.pictures)
        return Chance(level=100.0 * self._k(count) / (count - 1), count=count) if count > 2 else None

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture."""
        return (Serving(mode="image"),)

    def _k(self, pictures: int) -> int:
        return min(self.k, (pictures - 1) // 2)


def common_neighbours(one_ND: Tensor, other_NE: Tensor, k: int) -> float:
    """Return the mean share of the k nearest of each row that two sets of unit-norm embeddings have in common."""
    shared = 0
    for first in range(0, len(one_ND), CHUNK):
        rows = slice(first, first + CHUNK)
        one, other = (_is_near(all_NF, rows, k) for all_NF in (one_ND, other_NE))
        shared += int((one & other).sum())
    return shared / (k * len(one_ND))


def _is_near(all_NF: Tensor, rows: slice, k: int) -> Tensor:
    """Return (rows, N) bool: the k nearest of each of some rows, itself left out; none of a row that is not finite."""
    similarity = all_NF[rows] @ all_NF.T
    places = torch.arange(len(all_NF), device=all_NF.device)
    similarity[torch.arange(len(similarity)), places[rows]] = float("-inf")
    similarity = similarity.masked_fill(similarity.isnan(), float("-inf"))
    value, index = similarity.topk(k, dim=1)
    near = torch.zeros_like(similarity, dtype=torch.bool)
    return near.scatter_(1, index, value > float("-inf"))
