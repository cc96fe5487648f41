"""What a cost is measured on: the sizes of a model and the tokenizer it needs."""

from dataclasses import dataclass
from functools import cached_property

import torch

from trainables.models.blip import Blip
from trainables.models.config import BlipConfig


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that need not exist yet.

    Attributes:
        config: its sizes.
        tokenizer_bytes: size of the tokenizer's files, see `trainables.costs.size.tokenizer_bytes`.
    """

    config: BlipConfig
    tokenizer_bytes: int

    @cached_property
    def model(self) -> Blip:
        """The model in eval mode on the meta device: all shapes, no memory, no random number drawn."""
        return on_meta(self.config)


def on_meta(config: BlipConfig) -> Blip:
    """Return a model of these sizes on the meta device, in eval mode."""
    with torch.device("meta"):
        return Blip(config).eval()
