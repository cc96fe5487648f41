"""Image-text contrast against the keys of the student's momentum twin, as Li et al. 2021 (ALBEF) and 2022 have it."""

import torch
from torch import Tensor

from trainables.losses.reduction import global_mean
from trainables.losses.similarity.contrast import IMAGE, TEMPERATURE, TEXT, left_out, shared
from trainables.signals import (
    KEY_CAPTION,
    KEY_OWN,
    KEY_PICTURE,
    PICTURE,
    Batch,
    Signals,
    of_keys,
    of_twin,
)


def against_keys(student: Signals, twin: Signals, batch: Batch, *, share: float, masked: bool) -> Tensor:
    """Return the mean cross entropy in nats of both directions over the batch of all workers.

    Each image of the student is compared with all text keys, each text with all image keys; keys get no gradient. Targets are
    (1 - share) times those of the pairs plus share times what the twin, over the student's temperature, has for the same row.

    Args:
        student: embeddings (B, E) of unit norm, and temperature.
        twin: its embeddings of the same rows, and K keys with their pictures, captions and own places.
        batch: B rows of this worker.
        share: of soft targets.
        masked: keys with the same image or caption as a row, beside its own, are left out; else they are its positives, too.
    """
    temperature = student[TEMPERATURE].float()
    same_BK = (batch["caption.key"][:, None] == twin[KEY_CAPTION]) | (
        batch.rows[PICTURE][:, None] == twin[KEY_PICTURE]
    )
    own_BK = torch.zeros_like(same_BK).scatter_(1, twin[KEY_OWN][:, None], True)
    targets_BK = shared(own_BK if masked else same_BK)
    directions = []
    for mine, theirs in ((IMAGE, TEXT), (TEXT, IMAGE)):
        keys_EK = twin[of_keys(theirs)].float().T
        logits_BK = student[mine].float() @ keys_EK / temperature
        taught_BK = twin[of_twin(mine)].float() @ keys_EK / temperature.detach()
        if masked:
            hidden_BK = same_BK & ~own_BK
            logits_BK, taught_BK = left_out(logits_BK, hidden_BK), left_out(taught_BK, hidden_BK)
        aims_BK = torch.lerp(targets_BK, taught_BK.softmax(1), share)
        directions.append(global_mean(-(aims_BK * logits_BK.log_softmax(1)).sum(1)))
    return torch.stack(directions).mean()
