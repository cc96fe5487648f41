"""The temperature of similarities that a checkpoint does not hold, from pairs that belong together."""

import math

import torch
from torch import Tensor

LOWEST, HIGHEST = 0.001, 0.5  # in which Li et al. 2022 keep theirs, as coded
STEPS = 200  # of the scale, tried first; the best is then narrowed down
NARROWINGS = 30  # each to 0.62 of the range before
GOLDEN = (math.sqrt(5) - 1) / 2


def most_likely(similarity_NM: Tensor, belongs_NM: Tensor) -> float:
    """Return the temperature under which the matching pairs are most likely, both ways, among all that are given.

    Guo et al. 2017 (On calibration of modern neural networks), section 4.2, for the softmax of Li et al. 2022, section 3.2: of
    each picture over the captions and of each caption over the pictures. Several captions of a picture are right each.

    Args:
        similarity_NM: cosines of N pictures and M captions.
        belongs_NM: True where the caption is one of the picture.

    Raises:
        ValueError: no picture has both a matching and another caption.
    """
    ways = [
        (values.double(), right)
        for values, right in ((similarity_NM, belongs_NM), (similarity_NM.T, belongs_NM.T))
    ]
    ways = [
        (values[asked], right[asked])
        for values, right in ways
        if (asked := right.any(1) & ~right.all(1)).any()
    ]
    if not ways:
        raise ValueError("no picture has both a matching and another caption")

    def unlikely(log: float) -> float:
        scale, total = math.exp(-log), 0.0
        for values, right in ways:
            logits = values * scale
            matching = logits.masked_fill(~right, -torch.inf).logsumexp(1)
            total += float((logits.logsumexp(1) - matching).mean())
        return total

    low, high = math.log(LOWEST), math.log(HIGHEST)
    step = (high - low) / STEPS
    best = min((low + number * step for number in range(STEPS + 1)), key=unlikely)
    low, high = max(low, best - step), min(high, best + step)
    for _ in range(NARROWINGS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, right) if unlikely(left) <= unlikely(right) else (left, high)
    return float(f"{math.exp((low + high) / 2):.4g}")
