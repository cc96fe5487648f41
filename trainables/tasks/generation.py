"""Greedy caption decoding."""

import torch
from torch import Tensor

from trainables.models.blip import Blip


@torch.no_grad()
def greedy_captions(model: Blip, image_tokens: Tensor) -> list[list[int]]:
    """Return the token ids after [DEC] and before [SEP], at most max_tokens - 1, for each of B pictures.

    Args:
        model: with a decoder.
        image_tokens: (B, P, D) of its image encoder.
    """
    vocabulary, num = model.config.vocabulary, len(image_tokens)
    ids = torch.full((num, 1), vocabulary.dec, dtype=torch.long, device=image_tokens.device)
    done = torch.zeros(num, dtype=torch.bool, device=image_tokens.device)
    for _ in range(model.config.max_tokens - 1):
        out = model.decode(ids, torch.ones_like(ids, dtype=torch.bool), image_tokens)
        assert out.logits_BTV is not None
        chosen = out.logits_BTV[:, -1].argmax(dim=-1).masked_fill(done, vocabulary.sep)
        ids = torch.cat([ids, chosen[:, None]], dim=1)
        done |= chosen == vocabulary.sep
        if bool(done.all()):
            break
    rows: list[list[int]] = ids[:, 1:].tolist()
    return [row[: row.index(vocabulary.sep)] if vocabulary.sep in row else row for row in rows]
