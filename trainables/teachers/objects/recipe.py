"""What a recipe is: a model of a published class, and what only its training needs."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.datasets.objects.drawing import CLASSES, SIZE

PATCH = 8
MEAN, STD = 0.4, 0.25  # of pixels from 0 to 1, for each channel
BICUBIC = 3  # Pillow's number
HALF_TURNED = 0.5


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast a model is trained.

    Attributes:
        steps: of the optimiser.
        batch_size: pictures a step.
        lr: peak learning rate; linear warm-up, then a cosine to zero.
        warmup_steps: of the warm-up.
        weight_decay: AdamW, on matrices only.
    """

    steps: int
    batch_size: int = 32
    lr: float = 1.5e-3
    warmup_steps: int = 60
    weight_decay: float = 0.05

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        return self.lr * warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))


class Recipe(nn.Module, ABC):
    """A model of a published class with its objective. A subclass is final.

    Attributes:
        schedule: by which the shipped one was trained.
        objective: one line on what it learns from, for the README beside its weights.
        model: what is shipped.
    """

    schedule: ClassVar[Schedule]
    objective: ClassVar[str]
    model: Any

    def prepare(self, pixels: Tensor) -> None:
        """Look at some pictures of the training (N, 3, S, S) before the first step."""

    @abstractmethod
    def loss(self, pixels: Tensor, captions: Sequence[str], *, labels: Tensor, done: float) -> Tensor:
        """Return the scalar to descend.

        Args:
            pixels: (B, 3, S, S), normalised.
            captions: one of each picture, for a model that reads texts.
            labels: (B,), for one that has to be told classes.
            done: share of the training that is over, 0 to 1.
        """

    def after_step(self, done: float) -> None:
        """Do what follows a step of the optimiser."""

    @abstractmethod
    def save_reader(self, folder: Path) -> None:
        """Write how raw pictures, and texts, are read: in the files of the published class."""


ENCODER: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    "image_size": SIZE,
    "patch_size": PATCH,
}
"""Sizes of the image transformers, as the configs of all published classes name them."""


def short_caption(label: int) -> str:
    """Return the caption that names the large object of a class alone."""
    return f"a large {CLASSES[label]}"


def normalised(pixels_BSSC: Tensor) -> Tensor:
    """Return pictures (B, S, S, 3) uint8 as float tensors (B, 3, S, S)."""
    return ((pixels_BSSC.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD).contiguous()


def crops(pixels: Tensor, side: int, share: tuple[float, float], *, mirrored: bool = True) -> Tensor:
    """Return a random part of each picture, (B, 3, side, side): torchvision's RandomResizedCrop, a batch at once.

    Args:
        pixels: (B, 3, S, S).
        side: of the crops.
        share: least and largest part of the area.
        mirrored: every second one is turned left to right.
    """
    count = len(pixels)
    area, ratio = torch.empty(count).uniform_(*share), torch.exp(torch.empty(count).uniform_(-0.29, 0.29))
    wide, high = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    where = torch.zeros(count, 2, 3)
    turned = (torch.rand(count) < HALF_TURNED) & torch.tensor(mirrored)
    where[:, 0, 0] = torch.where(turned, -wide, wide)
    where[:, 1, 1] = high
    where[:, 0, 2] = (torch.rand(count) * 2 - 1) * (1 - wide)
    where[:, 1, 2] = (torch.rand(count) * 2 - 1) * (1 - high)
    grid = F.affine_grid(where, [count, 3, side, side], align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def relit(pixels: Tensor) -> Tensor:
    """Return pictures (B, 3, S, S) in another light: gains of all and of each channel, and a gradient across.

    It takes away what the ground of a picture tells: else crops are known as parts of one picture by their ground.
    """
    count, side = len(pixels), pixels.shape[-1]
    gain = torch.empty(count, 1, 1, 1).uniform_(0.8, 1.2) * torch.empty(count, 3, 1, 1).uniform_(0.9, 1.1)
    offset = 0.15 * torch.randn(count, 3, 1, 1) + 0.3 * torch.randn(count, 1, 1, 1)
    ramp = torch.linspace(-1, 1, side).expand(count, 1, side, side)
    across = torch.where(torch.rand(count, 1, 1, 1) < HALF_TURNED, ramp, ramp.transpose(2, 3))
    return pixels * gain + offset + 0.3 * torch.randn(count, 1, 1, 1) * across
