"""From a picture to the tensor that models see."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if (
    TYPE_CHECKING
):  # processes that only decode pictures need no torch, which is some 400 MB and seconds for each of them
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

DOWN, EVEN = "down", "even"
MIDDLES = (DOWN, EVEN)
"""Half of an odd margin: rounded down, as transformers crops, or to the even neighbour, as torchvision and timm do."""


class Framing(NamedTuple):
    """How a picture of any proportions becomes a square of pixels: what data sets prepare, before any normalisation.

    Attributes:
        side: S, of the square.
        resize: None to resize both sides to S without regard to the proportions; else the shorter side is resized to this,
            and the S x S in the middle are taken.
        interpolation: one of `INTERPOLATIONS`.
        squash: whether both sides are resized to `resize` before the middle is taken; else the shorter one.
        middle: where it begins in an odd margin, see `MIDDLES`.
    """

    side: int
    resize: int | None = None
    interpolation: str = BICUBIC
    squash: bool = False
    middle: str = DOWN

    def start(self, length: int) -> int:
        """Return where the middle of a side of so many pixels begins."""
        margin = length - self.side
        return margin // 2 if self.middle == DOWN else round(margin / 2)

    @property
    def key(self) -> str:
        """Part of a file name that tells one framing from another."""
        if self == Framing(self.side):
            return str(self.side)
        more = f"{'-squash' if self.squash else ''}{'' if self.middle == DOWN else f'-{self.middle}'}"
        return f"{self.side}-{self.resize or 'square'}-{self.interpolation}{more}"


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """A framing of side image_size, / 255, (x - mean) / std per channel; a square, bicubic and CLIP's figures by default.

    Attributes:
        image_size: S.
        mean, std: per channel, of pixels from 0 to 1.
        resize, interpolation, squash, middle: see `Framing`.
    """

    image_size: int
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    resize: int | None = None
    interpolation: str = BICUBIC
    squash: bool = False
    middle: str = DOWN

    @property
    def framing(self) -> Framing:
        """What data sets prepare for it."""
        return Framing(self.image_size, self.resize, self.interpolation, self.squash, self.middle)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; a framing is in it where it is none of the first version."""
        found = {"image_size": self.image_size, "mean": list(self.mean), "std": list(self.std)}
        framing = self.framing._asdict()
        del framing["side"]
        return found if Framing(self.image_size) == self.framing else found | framing

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "PreprocessConfig":
        """Return the config that `to_dict` wrote.

        Raises:
            KeyError, ValueError: a field is missing, or no such interpolation or middle is known.
        """
        interpolation, middle = fields.get("interpolation", BICUBIC), fields.get("middle", DOWN)
        for name, got, allowed in (
            ("interpolation", interpolation, INTERPOLATIONS),
            ("middle", middle, MIDDLES),
        ):
            if got not in allowed:
                raise ValueError(f"{name} {got!r}; allowed: {', '.join(allowed)}")
        return cls(
            image_size=fields["image_size"],
            mean=tuple(fields["mean"]),
            std=tuple(fields["std"]),
            resize=fields.get("resize"),
            interpolation=interpolation,
            squash=bool(fields.get("squash", False)),
            middle=middle,
        )

    def normalise(self, pixels_BSSC: "Tensor") -> "Tensor":
        """Return pictures (B, S, S, 3) uint8 as float tensors (B, 3, S, S), on the same device."""
        import torch

        from trainables.transfer import to_device

        # whole numbers are put in order before they become four times as wide, and no copy is made of a copy
        values = pixels_BSSC.permute(0, 3, 1, 2).contiguous().float().div_(255)
        mean, std = (
            to_device(torch.tensor(three).view(1, 3, 1, 1), values.device) for three in (self.mean, self.std)
        )
        return values.sub_(mean).div_(std)
