"""How a model is trained: the `training` part of a candidate."""

from dataclasses import dataclass, field

from spaces.errors import PluginError
from spaces.rules import Number
from trainables.configs import require_counts

FROM_0, ABOVE_0 = {"rule": Number(low=0)}, {"rule": Number(low=0, open_low=True)}
STEPS = {"rule": Number(whole=True, low=0)}
SHARE = {"rule": Number(low=0, high=1)}
FLOOR = {"rule": Number(low=0, open_low=True, high=0.5)}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained; the `training` part of a candidate.

    Attributes:
        epochs: full fidelity; the schedule always spans it: a stopped trial is a prefix of a finished one.
        pairs_per_epoch: image-text pairs that make one epoch.
        batch_size: pairs per step over all workers.
        lr: peak learning rate.
        weight_decay: AdamW, on matrices only.
        warmup_steps: steps of linear warm-up; cosine to zero afterwards.
        gradient_clip: largest norm of the gradient.
        accumulate: batches per optimiser step.
        itm_negatives: `teacher` or `student`: whose similarities draw hard negatives; a family with such reads it.
        fused_every: run the mode `fused`, and the losses that look at it, every so many batches.
        fused_from: share of the training before which it is not run at all: matching teaches little until contrast has.
        negatives: of several workers, whether hard negatives are drawn among the pairs of each `rank` or of all `workers`.
        temperature_floor: below which a temperature that is learned does not go; 0.01 of CLIP, 0.001 in Li et al. 2022.

    Raises:
        PluginError: a number below 1, or an unknown word.
    """

    epochs: int = 9
    pairs_per_epoch: int = 2000
    batch_size: int = 64
    lr: float = field(default=1.5e-3, metadata=ABOVE_0)
    weight_decay: float = field(default=0.02, metadata=FROM_0)
    warmup_steps: int = field(default=50, metadata=STEPS)
    gradient_clip: float = field(default=1.0, metadata=ABOVE_0)
    accumulate: int = 1
    itm_negatives: str = "teacher"
    fused_every: int = 1
    fused_from: float = field(default=0.0, metadata=SHARE)
    negatives: str = "rank"
    temperature_floor: float = field(default=0.01, metadata=FLOOR)

    def __post_init__(self) -> None:
        require_counts(self, "epochs", "pairs_per_epoch", "batch_size", "accumulate", "fused_every")
        for name, allowed in (("itm_negatives", ("teacher", "student")), ("negatives", ("rank", "workers"))):
            if (got := getattr(self, name)) not in allowed:
                raise PluginError(f"{name}: got {got!r}; allowed: {', '.join(allowed)}. Use one of those.")


def smallest_batch(pairs: int, size: int) -> int:
    """Return how many pairs the smallest batch of an epoch has: batches are as equal as can be.

    Args:
        pairs: of an epoch.
        size: of a batch at most.
    """
    return pairs // max(1, -(-pairs // size))
