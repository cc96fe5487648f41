"""All metrics of one model on one split."""

import torch

from trainables.datasets.encoded import EncodedSplit
from trainables.metrics import METRICS
from trainables.metrics.predictions import EvaluationSize, predict
from trainables.models.blip import Blip


def evaluate(
    model: Blip, split: EncodedSplit, device: torch.device, *, size: EvaluationSize, blind: bool = False
) -> dict[str, float]:
    """Return every metric that this model and split allow, in percent, deterministic."""
    predictions = predict(model, split, device, size=size, blind=blind)
    return {name: value for metric in METRICS.values() for name, value in metric(predictions).items()}
