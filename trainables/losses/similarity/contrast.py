"""Image-text similarities over the batch of all workers, shared by `itc`, `itc_logit` and `combined`."""

import torch
from torch import Tensor
from torch.nn import functional

from trainables.losses.divergence import Form, logit_distance
from trainables.losses.reduction import gather_rows
from trainables.signals import PICTURE, Batch, Signals, Want

IMAGE, TEXT = Want("image", "embedding"), Want("text", "embedding")
TEMPERATURE = Want("contrast", "temperature")
CONTRAST = frozenset({IMAGE, TEXT, TEMPERATURE})


def similarities(signals: Signals) -> Tensor:
    """Return (B, B) cosines of every image (rows) with every text (columns) over the model's own temperature.

    B counts the rows of all workers; embeddings are (B, E) of unit norm.

    Raises:
        ValueError: the model did not fill them.
    """
    image_BE, text_BE = gather_rows(signals[IMAGE].float(), signals[TEXT].float())
    return image_BE @ text_BE.T / signals[TEMPERATURE].float()


def same(batch: Batch) -> Tensor:
    """Return (B, B) bool, True where rows have the same image or the same caption."""
    captions_B, images_B = gather_rows(batch["caption.key"], batch.rows[PICTURE])
    found: Tensor = (captions_B[:, None] == captions_B) | (images_B[:, None] == images_B)
    return found


def shared(same_BK: Tensor) -> Tensor:
    """Return (B, K) shares of the target: those that are the same share it evenly."""
    return same_BK.float() / same_BK.sum(1, keepdim=True)


def positives(batch: Batch) -> Tensor:
    """Return (B, B) shares of the target: rows with the same image or the same caption share it evenly."""
    return shared(same(batch))


def left_out(logits: Tensor, hidden: Tensor) -> Tensor:
    """Return logits of which some have no share in the softmax: the lowest number there is, since 0 x -inf is none."""
    return logits.masked_fill(hidden, torch.finfo(logits.dtype).min)


def contrast(logits_BB: Tensor, to_text_BB: Tensor, to_image_BB: Tensor) -> Tensor:
    """Return the mean cross entropy in nats of both directions.

    Args:
        logits_BB: of images (rows) with texts (columns).
        to_text_BB: target of each image among the texts; rows sum to 1.
        to_image_BB: target of each text among the images.
    """
    to_text = functional.cross_entropy(logits_BB, to_text_BB)
    to_image = functional.cross_entropy(logits_BB.T, to_image_BB)
    return (to_text + to_image) / 2


def match(logits_BB: Tensor, taught_BB: Tensor, form: Form, temperature: float) -> Tensor:
    """Return the mean distance of similarity rows and columns from the teacher's.

    Every worker holds the whole batch here, so a plain mean is already the global one.

    Raises:
        ShapeError: the two have different numbers of rows.
    """
    to_text_B = logit_distance(logits_BB, taught_BB, form, temperature)
    to_image_B = logit_distance(logits_BB.T, taught_BB.T, form, temperature)
    return (to_text_B.mean() + to_image_B.mean()) / 2
