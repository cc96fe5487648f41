"""Recall of image-to-text and text-to-image retrieval over a fixed pool, by ITC similarity."""

import torch
from torch import Tensor

from trainables.metrics.predictions import Predictions

RANKS = (1, 5, 10)


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


def retrieval_metrics(predictions: Predictions) -> dict[str, float]:
    """Return R@1, R@5 and R@10 both ways (tr: image to text, ir: text to image) and their mean, in percent.

    BLIP (Li et al. 2022, section 5.1) protocol without re-ranking. An image counts by the best of its
    captions. A tie goes against the model, and so does NaN: a constant or broken embedding scores 0, not 100.
    """
    similarity = predictions.image_embeddings.float() @ predictions.text_embeddings.float().T
    ranks = {
        "tr": _text_retrieval_ranks(similarity, predictions.caption_images),
        "ir": _image_retrieval_ranks(similarity, predictions.caption_images),
    }
    values = {
        f"{way}_at_{k}": 100.0 * int((rank < k).sum()) / len(rank)
        for way, rank in ranks.items()
        for k in RANKS
    }
    values["mean_recall"] = sum(values.values()) / len(values)
    return values
