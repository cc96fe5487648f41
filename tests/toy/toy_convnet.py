"""A family outside of the product: a small convolutional network that says an image embedding and nothing else."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spaces.domains import relative
from spaces.rules import Number
from spaces.sizes import resolve_count
from trainables.configs import made_config, plain
from trainables.families.base import Family, Resolved, Surroundings
from trainables.signals import PICTURE, PIXELS, Batch, Inputs, Offer, Offers, Signals, Want, Wants

EMBEDDING = Want("image", "embedding")


@dataclass(frozen=True, kw_only=True)
class ConvnetOptions:
    """Channels of the first layer, number of layers, and width of the embedding."""

    width: int = field(metadata={"rule": Number(whole=True, low=1)})
    depth: int = field(metadata={"rule": Number(whole=True, low=1)})
    embedding: int | str = field(default="1x", metadata={"rule": Number(whole=True, low=1, relative=True)})


@dataclass(frozen=True, kw_only=True)
class ConvnetArchitecture:
    """All sizes."""

    width: int
    depth: int
    embedding: int
    image_size: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ConvnetArchitecture":
        """Return the architecture that `to_dict` wrote."""
        return cls(**fields)


@final
class Convnet(Family):
    """Strided convolutions, each twice as wide as the one before, and a linear embedding."""

    Config = ConvnetOptions
    Architecture = ConvnetArchitecture
    architecture: ConvnetArchitecture

    def __init__(self, architecture: ConvnetArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        widths = [3, *(architecture.width * 2**layer for layer in range(architecture.depth))]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.head = nn.Linear(widths[-1], architecture.embedding)

    @classmethod
    def resolve(cls, options: Mapping[str, Any], sizes: Mapping[str, int]) -> Resolved:
        """Return the options with an absolute embedding."""
        found = plain(made_config(ConvnetOptions, options, "student"))
        if relative(found["embedding"]) is not None:
            found["embedding"] = resolve_count(found["embedding"], sizes["embedding"])
        return Resolved(options=found)

    @classmethod
    def draft(cls, config: ConvnetOptions, around: Surroundings) -> ConvnetArchitecture:
        """Return the architecture of a student."""
        return ConvnetArchitecture(
            width=config.width,
            depth=config.depth,
            embedding=int(config.embedding),
            image_size=around.image_size,
        )

    @classmethod
    def sizes(cls, architecture: ConvnetArchitecture) -> dict[str, int]:
        """Return what relative values refer to."""
        return {"embedding": architecture.embedding}

    @classmethod
    def offers(cls, architecture: ConvnetArchitecture) -> Offers:
        """Return the embedding."""
        return {EMBEDDING: Offer(axes=("E",), sizes=(architecture.embedding,), rows=PICTURE)}

    def inputs(self, wants: Wants) -> Inputs:
        """Return the pixels."""
        return Inputs(fields=frozenset({PIXELS}))

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        """Return the unit-norm embedding (B, E)."""
        return Signals({want: self._embed(batch[PIXELS]) for want in wants})

    def pass_inputs(self, mode: str, tokens: int) -> dict[str, Tensor]:
        """Return a picture."""
        side = self.architecture.image_size
        return {"pixels": torch.zeros(1, 3, side, side, device=self.device, dtype=self.head.weight.dtype)}

    def run_pass(self, mode: str, inputs: Mapping[str, Tensor]) -> object:
        """Run the network."""
        return self._embed(inputs["pixels"])

    def _embed(self, pixels: Tensor) -> Tensor:
        for layer in self.layers:
            pixels = F.relu(layer(pixels))
        return F.normalize(self.head(pixels.mean((2, 3))).float(), dim=-1)
