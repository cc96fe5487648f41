"""A family without texts: one linear layer over the pixels of each quarter of a picture."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.families.base import Family, Inputs, Resolved, Surroundings
from trainables.signals import PICTURE, PIXELS, Batch, Offer, Offers, Signals, Want, Wants

EMBEDDING, HIDDEN = Want("image", "embedding"), Want("image", "hidden", 0)


@dataclass(frozen=True, kw_only=True)
class ToyArchitecture:
    """Width of the embedding."""

    width: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ToyArchitecture":
        return cls(**fields)


@final
class Toy(Family):
    """Embeds a picture by the colours of its quarters."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Width of the embedding."""

        width: int = 8

    Architecture = ToyArchitecture

    def __init__(self, architecture: ToyArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.layer = nn.Linear(12, architecture.width)

    @classmethod
    def resolve(cls, options: Mapping[str, Any], sizes: Mapping[str, int]) -> Resolved:
        return Resolved(options=dict(options))

    @classmethod
    def draft(cls, config: Config, around: Surroundings) -> ToyArchitecture:
        return ToyArchitecture(width=config.width)

    @classmethod
    def sizes(cls, architecture: ToyArchitecture) -> dict[str, int]:
        return {"width": architecture.width}

    @classmethod
    def offers(cls, architecture: ToyArchitecture) -> Offers:
        return {
            EMBEDDING: Offer(axes=("E",), sizes=(architecture.width,), rows=PICTURE),
            HIDDEN: Offer(axes=("P", "D"), sizes=(1, architecture.width), rows=PICTURE),
        }

    def inputs(self, wants: Wants) -> Inputs:
        return Inputs(fields=frozenset({PIXELS}))

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        states = self.layer(functional.adaptive_avg_pool2d(batch[PIXELS], 2).flatten(1))
        return Signals({EMBEDDING: functional.normalize(states, dim=-1), HIDDEN: states[:, None]}).only(wants)

    def pass_inputs(self, mode: str, tokens: int) -> dict[str, Tensor]:
        return {"pixels": torch.zeros(1, 12, device=self.device)}

    def run_pass(self, mode: str, inputs: Mapping[str, Tensor]) -> object:
        return self.layer(inputs["pixels"])
