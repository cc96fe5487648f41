"""Which class a picture is of, measured with the class head of a model, by its neighbours, and by a linear probe."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import normalize

from spaces.rules import Number
from trainables.signals import CLASS, PIXELS, Offers, Serving, Want, Wants, classes_meaning
from trainables.tasks.base import Task
from trainables.tasks.chance import Chance, most_frequent
from trainables.tasks.pool import Pool, PoolRows

EMBEDDING, LOGITS = Want("image", "embedding"), Want("image", "logits")
NEIGHBOURS, TEMPERATURE = 20, 0.07  # as DINO's own evaluation takes them
RIDGE = 1e-3  # of the mean variance of an entry of the embedding
LEAST_RIDGE = 1e-9  # where all embeddings are alike
CHUNK = 256  # pictures at a time
PICTURES = {"rule": Number(whole=True, low=1, high=10**6, why="all their embeddings are held in memory")}


@final
class Classification(Task):
    """Tell the class of a picture.

    `top1` and `top5` are those of the class head, where the model has one for the classes of the data; else of a linear probe
    on its embedding. `knn_top1` and `probe_top1` look at the embedding of any model: the first by a vote of the nearest
    training pictures, each with weight exp(similarity / temperature) (Wu et al. 2018, section 3.3; neighbours and temperature
    of Caron et al. 2021, section 4.1), the second by ridge regression on the classes, see `probe_scores`. A tie goes against
    the model, and so does NaN. Pictures without a class are not asked about, and nothing is compared with itself: the training
    pictures are of another split, and those that equal a picture asked about are left out.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Task.Config):
        """Options.

        Attributes:
            train_images: training pictures that neighbours are looked for among, and that the probe is fitted on.
        """

        train_images: int = field(default=5000, metadata=PICTURES)

    metrics: tuple[str, ...] = ("top1", "top5", "knn_top1", "probe_top1")
    counts: str = "top1"
    wants: Wants = frozenset({LOGITS, EMBEDDING})
    fields: frozenset[str] = frozenset({PIXELS, CLASS})
    losses: tuple[str, ...] = ("class_label",)
    banked: bool = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._train_images = config.train_images

    def evaluate(self, pool: Pool) -> dict[str, float]:
        """Return the shares of pictures whose class is told right; {} without pictures that have one.

        A model has no `knn_top1` and `probe_top1` without an embedding, or without training pictures that have a class.
        """
        labels = pool.labels
        asked = labels >= 0
        if not bool(asked.any()):
            return {}
        offers, right = pool.model.offers(pool.model.architecture), labels[asked]
        found: dict[str, float] = {}
        if EMBEDDING in offers:
            found |= self._by_embedding(pool, asked, right)
        if LOGITS in offers and offers[LOGITS].meaning == classes_meaning(pool.split.classes):
            found |= tops(pool.of_pictures(LOGITS).float().cpu()[asked], right)
        return {name: found[name] for name in self.metrics if name in found}

    def _by_embedding(self, pool: Pool, asked: Tensor, right: Tensor) -> dict[str, float]:
        """Return what the embedding says: both ways, and `top1` and `top5` of the probe."""
        bank = pool.bank(self._train_images)
        known = bank.labels >= 0
        if not bool(known.any()):
            return {}
        labels = bank.labels[known]
        count = 1 + int(torch.cat([labels, right]).max())
        count = max(count, len(pool.split.classes))
        train = normalize(bank.of_pictures(EMBEDDING).float().cpu()[known], dim=-1)
        embeddings = normalize(pool.of_pictures(EMBEDDING).float().cpu()[asked], dim=-1)
        told = tops(probe_scores(embeddings, train, labels, count), right)
        return {**told, "knn_top1": knn_top1(embeddings, right, train, labels), "probe_top1": told["top1"]}

    def model_lack(self, offers: Offers) -> str | None:
        """Return why a model with these offers cannot do it, or None: one of the two wants is enough."""
        if any(want in offers for want in self.wants):
            return None
        return f"needs {LOGITS} or {EMBEDDING}"

    def chance(self, rows: PoolRows) -> Chance | None:
        """Return the share of the most frequent class: who says it always is right so often."""
        labels = rows.split.labels
        if labels is None:
            return None
        said = [int(label) for label in labels[rows.pictures] if label >= 0]
        return Chance(level=most_frequent(said), count=len(said)) if said else None

    def remark(self) -> str | None:
        """Return how many training pictures there are to compare with."""
        return (
            f"knn_top1 and probe_top1 compare with {self._train_images:,} pictures of the train split, or all if there are "
            f"fewer ({NEIGHBOURS} neighbours, temperature {TEMPERATURE:g}; ridge {RIDGE:g}); top1 is the class head's, of a "
            "student without one the probe's"
        )

    def serving(self, offers: Offers) -> Sequence[Serving]:
        """Return one picture."""
        return (Serving(mode="image"),)


def tops(scores_NC: Tensor, right_N: Tensor) -> dict[str, float]:
    """Return `top1` and `top5` in percent: how often fewer than 1 and 5 other classes are not clearly behind the right one.

    Args:
        scores_NC: one for each class.
        right_N: the class of each; one that has no score is not among the first.
    """
    there = right_N < scores_NC.shape[1]
    own = scores_NC.gather(1, torch.where(there, right_N, 0)[:, None])
    ahead = (~(scores_NC < own)).sum(dim=1) - 1  # itself; a NaN is behind nothing, and nothing is behind it
    broken = ~there | own[:, 0].isnan()
    return {f"top{k}": 100.0 * int(((ahead < k) & ~broken).sum()) / len(ahead) for k in (1, 5)}


def knn_top1(queries_NE: Tensor, right_N: Tensor, bank_ME: Tensor, labels_M: Tensor) -> float:
    """Return how often the weighted vote of the nearest is clearly for the right class, in percent.

    Of neighbours that are equally near, those of other classes come first.

    Args:
        queries_NE, bank_ME: of unit norm.
        right_N, labels_M: their classes.
    """
    order = torch.argsort(labels_M, stable=True)
    bank, classes = bank_ME[order], labels_M[order]
    _, places = classes.unique_consecutive(return_inverse=True)
    nearest, hits = min(NEIGHBOURS, len(bank)), 0
    for queries, right in zip(queries_NE.split(CHUNK), right_N.split(CHUNK), strict=True):
        similarity = queries @ bank.T
        own = classes[None, :] == right[:, None]
        least = similarity.topk(nearest, dim=1).values[:, -1:]
        near, level = similarity > least, similarity == least
        left = nearest - near.sum(dim=1, keepdim=True)  # of those at the border, others first
        others = level & ~own
        taken = others & (others.cumsum(dim=1) <= left)
        left = left - taken.sum(dim=1, keepdim=True)
        mine = level & own
        near = near | taken | (mine & (mine.cumsum(dim=1) <= left))
        weights = torch.where(near, ((similarity - 1) / TEMPERATURE).exp(), 0.0).double()
        votes = torch.zeros(len(queries), int(places.max()) + 1, dtype=torch.double)
        votes.index_add_(1, places, weights)
        for_it = torch.where(own, weights, 0.0).sum(dim=1)
        against = votes.scatter_add_(
            1, places.expand_as(own), torch.where(own, -weights, 0.0)
        )  # without its own
        clear = for_it > against.amax(dim=1) * (1 + 1e-12) + 1e-300
        hits += int((clear & ~similarity.isnan().any(dim=1)).sum())
    return 100.0 * hits / len(queries_NE)


def probe_scores(queries_NE: Tensor, bank_ME: Tensor, labels_M: Tensor, classes: int) -> Tensor:
    """Return (N, C) scores of a linear layer that ridge regression fits to the classes of the bank, in float64.

    The weights W and the offset b minimise mean |W x + b - y|^2 + ridge |W|^2, y being 1 for the class and 0 for the others;
    the ridge is `RIDGE` of the mean variance of an entry of x. In closed form, so that it depends on no start, order or step.

    Args:
        queries_NE, bank_ME: of unit norm.
        labels_M: classes of the bank.
        classes: their number C.
    """
    x_ME, share_C = bank_ME.double(), labels_M.bincount(minlength=classes).double() / len(labels_M)
    mean_E = x_ME.mean(dim=0)
    x_ME = x_ME - mean_E
    variance_EE = x_ME.T @ x_ME / len(x_ME)
    ridge = max(RIDGE * float(variance_EE.diagonal().mean()), LEAST_RIDGE)
    if not torch.isfinite(variance_EE).all():
        return torch.full((len(queries_NE), classes), torch.nan, dtype=torch.double)
    ridge_EE = ridge * torch.eye(x_ME.shape[1], dtype=torch.double)
    # x is centred, so x.T @ (y - share) is the sum of each class's x; y itself would be M x C
    sums_CE = torch.zeros(classes, x_ME.shape[1], dtype=torch.double).index_add_(0, labels_M, x_ME)
    weights_EC = torch.linalg.solve(variance_EE + ridge_EE, sums_CE.T / len(x_ME))
    return (queries_NE.double() - mean_E) @ weights_EC + share_C
