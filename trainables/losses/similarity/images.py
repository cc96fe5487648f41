"""Similarities of the batch's pictures among themselves, shared by `image_logit` and `image_combined`."""

import torch
from torch import Tensor
from torch.nn import functional

from trainables.losses.agreement import require_same_shape
from trainables.losses.divergence import Form
from trainables.losses.reduction import gather_rows
from trainables.signals import PICTURE, Batch, Signals, Want

IMAGE = Want("image", "embedding")
SHUT = torch.finfo(torch.float32).min
"""Shuts an entry out of a softmax; minus infinity would make a row of nothing else NaN."""


def gathered(student: Signals, source: Signals, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return (B, E) embeddings of student and teacher, which gets no gradient, and (B, B) where rows show one picture.

    B counts the rows of all workers.

    Raises:
        ValueError: a model did not fill its embedding.
        ShapeError: the two have different numbers of rows.
    """
    mine, theirs = student[IMAGE].float(), source[IMAGE].detach().float()
    require_same_shape(IMAGE, mine[:, 0], theirs[:, 0])
    mine_BE, theirs_BF, pictures_B = gather_rows(mine, theirs, batch.rows[PICTURE])
    return mine_BE, theirs_BF, pictures_B[:, None] == pictures_B


def relations(mine_BE: Tensor, theirs_BF: Tensor, temperatures: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return (B, B) cosines among the student's embeddings and among the teacher's, each over its temperature."""
    return mine_BE @ mine_BE.T / temperatures[0], theirs_BF @ theirs_BF.T / temperatures[1]


def match_others(logits_BB: Tensor, taught_BB: Tensor, same_BB: Tensor, form: Form = "kl") -> Tensor:
    """Return the mean distance of relations from the teacher's, without the diagonal and its like.

    That each picture is nearest to itself says nothing, and would outweigh all that does.

    Args:
        logits_BB: the student's relations.
        taught_BB: the teacher's.
        same_BB: where rows show one picture: left out.
        form: `kl` of the distributions of each picture over the others, averaged over pictures that have others; or `mse`
            over pairs.
    """
    if form == "mse":
        distances = (logits_BB - taught_BB).square()[~same_BB]
    else:
        # Shut out before the softmax and made 0 after the logarithm: the difference would be NaN there.
        mine_BB, theirs_BB = (
            functional.log_softmax(values.masked_fill(same_BB, SHUT), -1).masked_fill(same_BB, 0.0)
            for values in (logits_BB, taught_BB)
        )
        terms_BB = theirs_BB.exp().masked_fill(same_BB, 0.0) * (theirs_BB - mine_BB)
        distances = terms_BB.sum(-1)[~same_BB.all(-1)]
    return distances.sum() / max(1, distances.numel())
