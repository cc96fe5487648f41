"""A family that reads its teacher: a linear layer on its embeddings of pictures, and one on those of captions."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.families.base import Family, Inputs, Resolved, Surroundings
from trainables.signals import CAPTION, PICTURE, Batch, Offer, Offers, Signals, Want, Wants

IMAGE, TEXT = Want("image", "embedding"), Want("text", "embedding")
ROWS = {IMAGE: PICTURE, TEXT: CAPTION}


@dataclass(frozen=True, kw_only=True)
class HeadArchitecture:
    """Width of what is read, and of what is said."""

    reads: int
    width: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "HeadArchitecture":
        return cls(**fields)


@final
class Head(Family):
    """Turns the embeddings of its teacher into its own."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Width of the embedding."""

        width: int = 8

    Architecture = HeadArchitecture

    def __init__(self, architecture: HeadArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.layers = nn.ModuleDict(
            {want.mode: nn.Linear(architecture.reads, architecture.width) for want in ROWS}
        )
        self.given: list[Signals] = []

    @classmethod
    def resolve(cls, options: Mapping[str, Any], sizes: Mapping[str, int]) -> Resolved:
        return Resolved(options=dict(options))

    @classmethod
    def draft(cls, config: Config, around: Surroundings) -> HeadArchitecture:
        return HeadArchitecture(reads=around.offers[IMAGE].size("E"), width=config.width)

    @classmethod
    def sizes(cls, architecture: HeadArchitecture) -> dict[str, int]:
        return {"width": architecture.width}

    @classmethod
    def offers(cls, architecture: HeadArchitecture) -> Offers:
        size = (architecture.width,)
        return {want: Offer(axes=("E",), sizes=size, rows=rows) for want, rows in ROWS.items()}

    def inputs(self, wants: Wants) -> Inputs:
        return Inputs(source=wants)

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        assert given is not None
        self.given.append(given)
        return Signals(
            {want: functional.normalize(self.layers[want.mode](given[want]), dim=-1) for want in wants}
        )

    def pass_inputs(self, mode: str, tokens: int) -> dict[str, Tensor]:
        return {"given": torch.zeros(1, self.architecture.reads)}

    def run_pass(self, mode: str, inputs: Mapping[str, Tensor]) -> object:
        return self.layers[mode](inputs["given"])
