"""Texts that a model says about the pictures of a pool, each asked for by one worker."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from trainables.signals import PICTURE
from trainables.tasks.pool import Pool, chunk

NOTHING = -1  # behind the ids of a text
Ask = Callable[[Tensor, np.ndarray], list[list[int]]]
"""Asks a model about pictures and the rows of texts on them."""


def said(pool: Pool, kind: str, ask: Ask, longest: int) -> list[list[int]]:
    """Return ids that a model says to each picture, or to each of `rows`.

    Args:
        pool: of the model.
        kind: picture, or that of the texts that are about pictures.
        ask: takes pictures (B, 3, S, S) as the model sees them with the numbers of their rows, and gives ids for each.
        longest: ids at most.
    """
    every = np.arange(len(pool.pictures))
    rows, owners = (pool.pictures, every) if kind == PICTURE else pool.rows(kind)
    tables = [torch.zeros((0, longest), dtype=torch.int64, device=pool.device)]
    for number in pool.part(len(rows)):
        pixels = pool.split.images(pool.pictures[owners[chunk(number)]], pool.device)
        found = ask(torch.zeros_like(pixels) if pool.blind else pixels, rows[chunk(number)])
        filled = [row + [NOTHING] * (longest - len(row)) for row in found]
        tables.append(torch.tensor(filled, dtype=torch.int64, device=pool.device).view(-1, longest))
    table = pool.joined(torch.cat(tables), len(rows)).tolist()
    return [[token for token in row if token != NOTHING] for row in table]
