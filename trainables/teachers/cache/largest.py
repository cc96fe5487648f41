"""Logits over a vocabulary, kept by their largest entries: the values, which they are, and what the others come to.

The others share the rest of the probability evenly. At temperature 1 the largest entries then have the teacher's own
probabilities, and so has all the rest together. How it is spread over the rest is lost, and so is what it comes to at another
temperature.
"""

import math

import numpy as np
from torch import Tensor

from trainables.signals import Offer

IDS, REST = "/ids", "/rest"
AXIS = "V"


def num_kept(offer: Offer, top_k: int) -> int:
    """Return how many entries of the last axis are kept, 0 where all of them are."""
    return top_k if top_k and offer.axes[-1:] == (AXIS,) and offer.sizes[-1] > top_k else 0


def forms_of(shape: tuple[int, ...], precision: str, kept: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return ending of a tensor's name -> type and shape, of signals of a shape (..., V), rows first.

    Args:
        shape: of the whole logits.
        precision: of values.
        kept: entries, 0 for all.
    """
    if not kept:
        return {"": (precision, shape)}
    ids = "uint16" if shape[-1] <= 1 << 16 else "int32"
    few = (*shape[:-1], kept)
    return {"": (precision, few), IDS: (ids, few), REST: ("float32", shape[:-1])}


def shortened(logits: Tensor, kept: int) -> tuple[Tensor, dict[str, np.ndarray]]:
    """Return the largest logits (..., k) float32, falling, and the arrays that are kept beside them."""
    whole = logits.float()
    values, ids = whole.topk(kept, dim=-1)
    others = whole.scatter(-1, ids, -math.inf).logsumexp(-1) - math.log(whole.shape[-1] - kept)
    return values, {IDS: ids.cpu().numpy(), REST: others.cpu().numpy()}


def widened(values: Tensor, ids: Tensor, rest: Tensor, size: int) -> Tensor:
    """Return logits (..., V) float32 of which the largest are as they were, and all others equal."""
    return rest.float()[..., None].expand(*rest.shape, size).scatter(-1, ids.long(), values.float())
