"""From a picture to the tensor that models see."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """Square resize to image_size (bicubic), / 255, (x - mean) / std per channel; CLIP's figures by default."""

    image_size: int
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        return {"image_size": self.image_size, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "PreprocessConfig":
        """Return the config that `to_dict` wrote."""
        return cls(image_size=fields["image_size"], mean=tuple(fields["mean"]), std=tuple(fields["std"]))

    def normalise(self, pixels_BSSC: Tensor) -> Tensor:
        """Return pictures (B, S, S, 3) uint8 as float tensors (B, 3, S, S), on the same device."""
        values = pixels_BSSC.permute(0, 3, 1, 2).float() / 255
        mean, std = (
            torch.tensor(three).view(1, 3, 1, 1).to(values.device) for three in (self.mean, self.std)
        )
        return ((values - mean) / std).contiguous()
