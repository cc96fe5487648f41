"""From a picture to the tensor that models see."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
BICUBIC = "bicubic"
INTERPOLATIONS = (
    "nearest",
    "lanczos",
    "bilinear",
    BICUBIC,
    "box",
    "hamming",
)  # in the order of Pillow's numbers


class Framing(NamedTuple):
    """How a picture of any proportions becomes a square of pixels: what data sets prepare, before any normalisation.

    Attributes:
        side: S, of the square.
        resize: None to resize both sides to S without regard to the proportions; else the shorter side is resized to this,
            and the S x S in the middle are taken.
        interpolation: one of `INTERPOLATIONS`.
    """

    side: int
    resize: int | None = None
    interpolation: str = BICUBIC

    @property
    def key(self) -> str:
        """Part of a file name that tells one framing from another."""
        plain = self.resize is None and self.interpolation == BICUBIC
        return str(self.side) if plain else f"{self.side}-{self.resize or 'square'}-{self.interpolation}"


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """A framing of side image_size, / 255, (x - mean) / std per channel; a square, bicubic and CLIP's figures by default.

    Attributes:
        image_size: S.
        mean, std: per channel, of pixels from 0 to 1.
        resize, interpolation: see `Framing`.
    """

    image_size: int
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    resize: int | None = None
    interpolation: str = BICUBIC

    @property
    def framing(self) -> Framing:
        """What data sets prepare for it."""
        return Framing(self.image_size, self.resize, self.interpolation)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; a framing is in it where it is none of the first version."""
        found = {"image_size": self.image_size, "mean": list(self.mean), "std": list(self.std)}
        plain = Framing(self.image_size) == self.framing
        return found if plain else {**found, "resize": self.resize, "interpolation": self.interpolation}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "PreprocessConfig":
        """Return the config that `to_dict` wrote.

        Raises:
            KeyError, ValueError: a field is missing, or no such interpolation is known.
        """
        interpolation = fields.get("interpolation", BICUBIC)
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation {interpolation!r}; allowed: {', '.join(INTERPOLATIONS)}")
        return cls(
            image_size=fields["image_size"],
            mean=tuple(fields["mean"]),
            std=tuple(fields["std"]),
            resize=fields.get("resize"),
            interpolation=interpolation,
        )

    def normalise(self, pixels_BSSC: Tensor) -> Tensor:
        """Return pictures (B, S, S, 3) uint8 as float tensors (B, 3, S, S), on the same device."""
        values = pixels_BSSC.permute(0, 3, 1, 2).float() / 255
        mean, std = (
            torch.tensor(three).view(1, 3, 1, 1).to(values.device) for three in (self.mean, self.std)
        )
        return ((values - mean) / std).contiguous()
