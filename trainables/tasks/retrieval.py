"""Image-to-text and text-to-image retrieval over a fixed pool, by similarity of embeddings; re-ranked where asked for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from spaces.errors import PluginError
from spaces.rules import Number
from trainables.signals import CAPTION, PIXELS, Offers, Serving, Want, Wants
from trainables.tasks.base import Task
from trainables.tasks.chance import Chance, first_hit
from trainables.tasks.decoding import longest_text
from trainables.tasks.pool import Pool, PoolRows

RANKS = (1, 5, 10)
CHUNK = 256  # queries at a time
FEW = 0.9  # different captions per picture; below, the user is told
IMAGE, TEXT, MATCH = Want("image", "embedding"), Want("text", "embedding"), Want("fused", "logits")
UNSCORED = -100.0  # of what is not among the nearest, as Li et al. 2022 have it: behind all that was read
RERANKED = "reranked_"
BY_SIMILARITY = ("mean_recall", *(f"{way}_at_{k}" for way in ("tr", "ir") for k in RANKS))
_WHY = "each is a pass of the image-grounded encoder for every query"
NEAREST = {"rule": Number(whole=True, low=0, high=10_000, why=_WHY)}
NEAREST_OR_SAME = {"rule": Number(whole=True, low=0, high=10_000, null=True, why=_WHY)}


@final
class Retrieval(Task):
    """Find the captions of a picture and the picture of a caption.

    Li et al. 2022, section 5.1. An image counts by the best of its captions. Equal captions of several images are right for
    each of them, since nobody could tell them apart. A tie goes against the model, and so does NaN: a constant or broken
    embedding scores 0, not 100.

    With `rerank`, the nearest of each query are read together with it by the image-grounded encoder, and ordered by its logit
    of a match plus their similarity, as their published evaluation does; all others come behind them. Both figures are given,
    by similarity alone under the names that they have without, so that it is seen what re-ranking changes.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Task.Config):
        """Options.

        Attributes:
            rerank: how many of the nearest are read with each query, both ways; 0 for none, which is what trials can afford.
                Li et al. take 256 on COCO, 128 on Flickr30k.
            rerank_texts, rerank_pictures: the same of the texts of a picture, and of the pictures of a text; null as `rerank`.
        """

        rerank: int = field(default=0, metadata=NEAREST)
        rerank_texts: int | None = field(default=None, metadata=NEAREST_OR_SAME)
        rerank_pictures: int | None = field(default=None, metadata=NEAREST_OR_SAME)

        def __post_init__(self) -> None:
            if self.rerank and self.rerank_texts is not None and self.rerank_pictures is not None:
                raise PluginError(
                    f"rerank: got {self.rerank} with rerank_texts {self.rerank_texts} and rerank_pictures "
                    f"{self.rerank_pictures}, which leave it nothing to say; allowed: at most one of the two beside it. Leave it "
                    "out."
                )

    metrics: tuple[str, ...] = BY_SIMILARITY
    counts: str = "mean_recall"
    wants: Wants = frozenset({IMAGE, TEXT})
    fields: frozenset[str] = frozenset({PIXELS, "caption.ids"})
    losses: tuple[str, ...] = ("itc",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._texts = config.rerank if config.rerank_texts is None else config.rerank_texts
        self._pictures = config.rerank if config.rerank_pictures is None else config.rerank_pictures
        self._reranks = self._texts + self._pictures > 0
        if self._reranks:
            self.metrics = (*BY_SIMILARITY, *(f"{RERANKED}{name}" for name in BY_SIMILARITY))
            self.counts = f"{RERANKED}{BY_SIMILARITY[0]}"
            self.wants = frozenset({IMAGE, TEXT, MATCH})
            self.losses = ("itc", "itm")

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return R@1, R@5 and R@10 both ways (tr: image to text, ir: text to image) and their mean; re-ranked, too, if asked.

        {} without captions, and where every caption is that of every picture: then there is nothing to find.
        """
        if not len(pool.rows(CAPTION)[0]):
            return {}
        image_BE, text_BE = pool.of_pictures(IMAGE), pool.of_texts(CAPTION, TEXT)
        belongs = torch.from_numpy(pool.asked.belongs(CAPTION)).to(image_BE.device)
        similarity = image_BE.float() @ text_BE.float().T
        found = recalls(similarity, belongs)
        if self._reranks and found:
            found |= {f"{RERANKED}{name}": value for name, value in self._reranked(pool, similarity, belongs)}
        return found

    def _reranked(self, pool: Pool, similarity: Tensor, belongs: Tensor) -> Iterable[tuple[str, float]]:
        """Return the recalls by match logit + similarity of the nearest, each pair read once though it be near both ways.

        Pairs are read picture by picture, whatever the number of workers.
        """
        pictures, texts = similarity.shape
        near_texts = nearest(similarity, self._texts)
        near_pictures = nearest(similarity.T, self._pictures)
        of_pictures = np.arange(pictures)[:, None] * texts + near_texts
        of_texts = near_pictures * texts + np.arange(texts)[:, None]
        pairs = np.unique(np.concatenate([of_pictures.reshape(-1), of_texts.reshape(-1)]))
        match = pool.of_pairs(CAPTION, MATCH, texts=pairs % texts, places=pairs // texts)[:, 1].float()
        by_picture, by_text = similarity, similarity.T
        if self._texts:
            by_picture = rescored(similarity, near_texts, match[_places(pairs, of_pictures, match.device)])
        if self._pictures:
            by_text = rescored(similarity.T, near_pictures, match[_places(pairs, of_texts, match.device)])
        return recalls(by_picture, belongs, by_text).items()

    def remark(self) -> str | None:
        """Return how it re-ranks, where it does."""
        if not self._reranks:
            return None
        return (
            f"re-ranks the {self._texts:,} nearest texts of each picture and the {self._pictures:,} nearest pictures of each "
            f"text by match logit + similarity; {self.counts} is what counts, and each query costs as many more passes"
        )

    def note(self, pictures: int, captions: int) -> str | None:
        """Return how coarse figures are where far fewer captions than pictures are told apart, and where all is re-ranked."""
        told = []
        if captions < FEW * pictures:
            told.append(
                f"retrieval tells only {captions:,} different captions of {pictures:,} pictures apart: equal captions count as "
                "right, so that its recalls rank kinds of pictures, not pictures"
            )
        for asked, there, what in (
            (self._texts, captions, "captions"),
            (self._pictures, pictures, "pictures"),
        ):
            if asked > there:
                told.append(
                    f"retrieval re-ranks the {asked:,} nearest {what}, and there are {there:,} different ones: all are read, and "
                    f"costs are those of {asked:,}"
                )
        return "; ".join(told) or None

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return the expected mean recall of a random order, equal captions being equal."""
        if not len(rows.rows(CAPTION)[0]):
            return None
        belongs = rows.belongs(CAPTION)
        level = random_recall(belongs)
        return None if level is None else Chance(level=level, count=int(belongs.any(axis=1).sum()))

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture and one text, each a query: what is read with it again comes on top."""
        alone = (Serving(mode="image"), Serving(mode="text", tokens=longest_text(offers, "text")))
        if not self._reranks:
            return alone
        read = longest_text(offers, "fused")
        return (*alone, Serving(mode="fused", tokens=read, repeats=self._texts + self._pictures))


def nearest(similarity: Tensor, most: int) -> np.ndarray:
    """Return the columns of each row's largest values, the largest first, (rows, most); of equal ones the first.

    Args:
        similarity: (rows, columns).
        most: so many, or all where there are fewer.
    """
    count = min(most, similarity.shape[1])
    chunks = [
        rows.sort(dim=1, descending=True, stable=True)[1][:, :count] for rows in similarity.split(CHUNK)
    ]
    return torch.cat(chunks).cpu().numpy()


def rescored(similarity: Tensor, near: np.ndarray, match: Tensor) -> Tensor:
    """Return match logit + similarity of the nearest, and `UNSCORED` of all others, (rows, columns).

    Args:
        similarity: (rows, columns).
        near: (rows, k) columns.
        match: (rows, k) logits of a match.
    """
    columns = torch.from_numpy(near).to(similarity.device)
    found = torch.full_like(similarity, UNSCORED)
    return found.scatter_(1, columns, match + similarity.gather(1, columns))


def _places(pairs: np.ndarray, asked: np.ndarray, device: torch.device) -> Tensor:
    """Return where pairs stand in a rising list of them."""
    return torch.from_numpy(np.searchsorted(pairs, asked)).to(device)


def recalls(by_picture: Tensor, belongs: Tensor, by_text: Tensor | None = None) -> dict[str, float]:
    """Return the recalls in percent of a pool of n images with m captions; {} where there is nothing to tell apart.

    Args:
        by_picture: (n, m), by which the captions of an image are ordered.
        belongs: (n, m) bool, which captions describe which images.
        by_text: (m, n), by which the images of a caption are ordered; by default the same.
    """
    other = by_picture.T if by_text is None else by_text
    ranks = {"tr": _ranks(by_picture, belongs), "ir": _ranks(other, belongs.T)}
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
