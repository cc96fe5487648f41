"""Which positions of a text are asked for after the last layer: in training that layer need not make the others.

Layers before it do, since each position reads the others of the layer below it. What is asked for is the same up to rounding.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.signals import Batch
from trainables.transfer import to_device


class Texts(NamedTuple):
    """Token ids and mask (B, T) of texts, (B, A) the positions that are asked for, None for all, and (B, N) a prompt or None."""

    ids_BT: Tensor
    mask_BT: Tensor
    asked_BA: Tensor | None = None
    prompt_BN: Tensor | None = None

    def behind(self, first: int) -> "tuple[Tensor, Tensor, Tensor | None, int]":
        """Return what a decoder reads: ids that begin with a token, then the prompt, then the texts; its mask, the positions that
        are asked for, and how many of the first ones are the prompt's.
        """
        begun = torch.full_like(self.ids_BT[:, :1], first)
        if self.prompt_BN is None:
            return torch.cat([begun, self.ids_BT[:, 1:]], dim=1), self.mask_BT, self.asked_BA, 0
        more = self.prompt_BN.shape[1]
        ids = torch.cat([begun, self.prompt_BN, self.ids_BT[:, 1:]], dim=1)
        mask = F.pad(self.mask_BT, (more, 0), value=True)
        return ids, mask, None if self.asked_BA is None else self.asked_BA + more, more


def texts_of(batch: Batch, kind: str, *, training: bool) -> Texts:
    """Return the texts of a kind; in training with the positions whose next token is to be predicted, where these are few."""
    asked = _predicted(batch, kind) if training else None
    return Texts(batch[f"{kind}.ids"], batch[f"{kind}.mask"], asked, batch.fields.get(f"{kind}.prompt"))


def _predicted(batch: Batch, kind: str) -> Tensor | None:
    """Return (B, A) rising positions, those of `targets` among them; None where more than half are, or the host has none.

    Rows with fewer than A get others beside them: a device must not be asked how many there are.
    """
    targets = batch.hosted.get(f"{kind}.targets")
    if targets is None:
        return None
    real = targets[:, :-1]  # the last position has no next one
    most, length = int(real.sum(axis=1).max(initial=0)), real.shape[1]
    if not 0 < most <= length // 2:
        return None
    positions = np.minimum(real.argmax(axis=1), length - most)[:, None] + np.arange(most)
    if np.take_along_axis(real, positions, axis=1).sum() != real.sum():  # they do not stand side by side
        return None
    return to_device(torch.from_numpy(positions), batch.device)


def first_of(mask_BT: Tensor) -> Tensor:
    """Return (B, 1) the position of the first token, which stands for the text."""
    return torch.zeros(len(mask_BT), 1, dtype=torch.long, device=mask_BT.device)


def chosen(states_BTD: Tensor, asked_BA: Tensor) -> Tensor:
    """Return (B, A, D) the states at some positions."""
    return states_BTD.gather(1, asked_BA[..., None].expand(-1, -1, states_BTD.shape[2]))


def spread(values_BAV: Tensor, asked_BA: Tensor, length: int) -> Tensor:
    """Return (B, T, V) values at their positions, zeros at those that nobody asked for."""
    batch, _, size = values_BAV.shape
    places = asked_BA[..., None].expand(-1, -1, size)
    return values_BAV.new_zeros(batch, length, size).scatter(1, places, values_BAV)


def seen_from(asked_BA: Tensor, length: int) -> Tensor:
    """Return (B, 1, A, T) bool: what a causal position sees, itself and those before it."""
    places = torch.arange(length, device=asked_BA.device)
    return (places <= asked_BA[..., None])[:, None]


def there(token: int | None) -> int:
    """Return a special token that the architecture refuses to do without."""
    assert token is not None
    return token


def made_of(tokens: Tensor | None) -> Tensor:
    """Return image tokens, which a grounded pass has made or was given."""
    assert tokens is not None
    return tokens
