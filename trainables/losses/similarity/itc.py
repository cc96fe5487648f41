"""Image-text contrast."""

import math
from dataclasses import dataclass, field
from typing import Literal, final

import torch
from torch import Tensor

from spaces.errors import PluginError
from spaces.rules import Beside, Number
from trainables.configs import YOUNGER
from trainables.losses.base import Ends, Loss, Needs, TwinNeeds
from trainables.losses.options import require_between, require_one_of
from trainables.losses.similarity.contrast import (
    CONTRAST,
    IMAGE,
    TEXT,
    contrast,
    left_out,
    same,
    shared,
    similarities,
)
from trainables.losses.similarity.keys import against_keys
from trainables.signals import NOTHING, Batch, Signals

TEACHER, TWIN = "teacher", "twin"
POSITIVE, MASKED = "positive", "masked"
EPOCHS = {
    "rule": Number(low=0, high=10**5, why="no training has as many epochs"),
    "beside": Beside("soft_targets"),
    **YOUNGER,
}
DECAY = {"beside": Beside("taught_by", TWIN), **YOUNGER}
QUEUE = {"rule": Number(whole=True, low=0, high=2**24, why="it is held in memory"), **YOUNGER}


@final
class Itc(Loss):
    """Draw each image to its captions and away from all others of the batch, and the reverse (InfoNCE).

    Li et al. 2022, section 3.2, by default in its fine-tuning form: rows with the same image or the same caption are all
    positives and share the target evenly, so a repeated pair is no false negative. Features come from all workers. With
    `taught_by: twin` the others are what the student's momentum twin says of the batches of all workers, and has said lately
    (Li et al. 2021, section 3.2; He et al. 2020).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            soft_targets: share of the target that is the source's softmax: alpha in Li et al. 2022, there 0.4.
            ramp_epochs: over which that share grows from 0; in Li et al. 2022 1 in fine-tuning, 2 in pre-training.
            taught_by: whose soft targets these are: the `teacher`'s, or the student's own `twin`'s, whose features it is then
                compared with.
            queue: features that the twin remembers beside those of the batch; there 57,600.
            decay: share of its weights that the twin keeps at each update; there 0.995.
            same_image: what rows with the same image or caption are beside their own: `positive`, or `masked`, neither one nor
                the other.
        """

        weight: float = 1.0
        soft_targets: float = 0.0
        ramp_epochs: float = field(default=0.0, metadata=EPOCHS)
        taught_by: Literal["teacher", "twin"] = field(default="teacher", metadata=YOUNGER)
        queue: int = field(default=0, metadata=QUEUE)
        decay: float = field(default=0.995, metadata=DECAY)
        same_image: Literal["positive", "masked"] = field(default="positive", metadata=YOUNGER)

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_between("soft_targets", self.soft_targets, 0.0, 1.0)
            require_between("decay", self.decay, 0.0, 1.0)
            require_one_of("taught_by", self.taught_by, (TEACHER, TWIN))
            require_one_of("same_image", self.same_image, (POSITIVE, MASKED))
            if self.queue and self.taught_by != TWIN:
                raise PluginError(
                    f"queue: got {self.queue} with taught_by {self.taught_by}; allowed: 0, since only a twin remembers. "
                    "Set taught_by: twin, or leave queue out."
                )

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.soft_targets, self.ramp_epochs = config.soft_targets, config.ramp_epochs
        self.by_twin, self.queue = config.taught_by == TWIN, config.queue
        self.masked = config.same_image == MASKED

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return both embeddings and the temperature; the teacher's for soft targets, or those of the twin."""
        assert isinstance(config, Itc.Config)
        by_twin = config.taught_by == TWIN
        return Needs(
            student=CONTRAST,
            source=CONTRAST if config.soft_targets and not by_twin else NOTHING,
            fields=frozenset({"caption.key"}),
            twin=TwinNeeds(wants=frozenset({IMAGE, TEXT}), decay=config.decay, queue=config.queue)
            if by_twin
            else None,
        )

    def guessing(self, pairs: float) -> float:
        """Return what equal similarities to all of the batch, and of the queue, give, whatever the targets."""
        return math.log(pairs + self.queue)

    def share(self, epochs: float) -> float:
        """Return the share of soft targets after some epochs."""
        grown = min(1.0, epochs / self.ramp_epochs) if self.ramp_epochs else 1.0
        return self.soft_targets * grown

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean cross entropy of both directions over the batch of all workers, in nats."""
        share = self.share(batch.epochs)
        if self.by_twin:
            return against_keys(student, source, batch, share=share, masked=self.masked)
        logits_BB, same_BB = similarities(student), same(batch)
        hidden_BB: Tensor | None = None
        if self.masked:
            own_BB = torch.eye(len(same_BB), dtype=torch.bool, device=same_BB.device)
            hidden_BB, same_BB = same_BB & ~own_BB, own_BB
            logits_BB = left_out(logits_BB, hidden_BB)
        targets_BB = shared(same_BB)
        to_text_BB, to_image_BB = targets_BB, targets_BB
        if self.soft_targets:
            with torch.no_grad():
                taught_BB = similarities(source)
                if hidden_BB is not None:
                    taught_BB = left_out(taught_BB, hidden_BB)
                to_text_BB = torch.lerp(targets_BB, taught_BB.softmax(1), share)
                to_image_BB = torch.lerp(targets_BB, taught_BB.T.softmax(1), share)
        return contrast(logits_BB, to_text_BB, to_image_BB)
