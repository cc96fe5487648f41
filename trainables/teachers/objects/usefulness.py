"""How much features tell: nearest neighbours and a linear model of the class, and which caption is whose."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.datasets.base import Split
from trainables.datasets.objects.drawing import CLASSES

NEIGHBOURS, TEMPERATURE = 20, 0.07  # Wu et al. 2018, section 3.4; with as few pictures as here, 20 of them
DECAY, ROUNDS = 1e-3, 50
AT_ONCE = 250
RANKS = (1, 5, 10)


@torch.no_grad()
def features_of(split: Split, features: Callable[[Tensor], Tensor], most: int) -> tuple[Tensor, Tensor]:
    """Return what is said of the first pictures of a split (N, D), and their labels (N,).

    Args:
        split: with labels.
        features: of pixels (B, S, S, 3) uint8.
        most: pictures.
    """
    assert split.labels is not None
    pixels = torch.from_numpy(split.pixels[:most].copy())
    found = [features(pixels[first : first + AT_ONCE]).float() for first in range(0, len(pixels), AT_ONCE)]
    return torch.cat(found), torch.from_numpy(split.labels[:most].copy())


def nearest_top1(known: Tensor, labels: Tensor, asked: Tensor, truth: Tensor) -> float:
    """Return the percentage of `asked` whose nearest `known` vote for the true class, weighted by their cosines."""
    cosines, places = (F.normalize(asked, dim=1) @ F.normalize(known, dim=1).T).topk(NEIGHBOURS, dim=1)
    votes = torch.zeros(len(asked), len(CLASSES))
    votes.scatter_add_(1, labels[places], (cosines / TEMPERATURE).exp())
    return 100 * float((votes.argmax(1) == truth).float().mean())


def probe_top1(known: Tensor, labels: Tensor, asked: Tensor, truth: Tensor) -> float:
    """Return the percentage of `asked` that a linear model of standardised features, fitted to `known`, gets right."""
    mean, deviation = known.mean(0), known.std(0).clamp_min(1e-6)
    known, asked = (known - mean) / deviation, (asked - mean) / deviation
    linear = nn.Linear(known.shape[1], len(CLASSES))
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(linear(known), labels) + DECAY * linear.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        return 100 * float((linear(asked).argmax(1) == truth).float().mean())


def mean_recall(images: Tensor, texts: Tensor, own: Tensor) -> float:
    """Return the mean of R@1, R@5 and R@10 of both directions, in percent.

    Args:
        images: (N, E).
        texts: (M, E), each of one picture.
        own: (M,) the picture of each.
    """
    cosines = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    to_texts = own[cosines.topk(max(RANKS), dim=1).indices] == torch.arange(len(images))[:, None]
    to_images = cosines.T.topk(max(RANKS), dim=1).indices == own[:, None]
    found = [hit[:, :rank].any(1).float().mean() for hit in (to_texts, to_images) for rank in RANKS]
    return 100 * float(torch.stack(found).mean())


def usefulness(
    train: Split,
    held_out: Split,
    features: Callable[[Tensor], Tensor],
    *,
    texts: Tensor | None = None,
    known: int = 4000,
) -> dict[str, float]:
    """Return `knn_top1`, `probe_top1` and, of a model that reads texts, `mean_recall`, in percent.

    Args:
        train: whose first pictures are the neighbours, and fit the probe.
        held_out: whose pictures are asked about.
        features: of pixels (B, S, S, 3) uint8.
        texts: features of all captions of `held_out`.
        known: how many neighbours.
    """
    of_train, labels = features_of(train, features, known)
    asked, truth = features_of(held_out, features, held_out.num_images)
    found = {
        "knn_top1": nearest_top1(of_train, labels, asked, truth),
        "probe_top1": probe_top1(of_train, labels, asked, truth),
    }
    if texts is not None:
        found["mean_recall"] = mean_recall(asked, texts, torch.from_numpy(held_out.caption_images))
    return {name: round(value, 1) for name, value in found.items()}
