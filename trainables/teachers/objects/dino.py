"""DINO: a network learns to say of parts of a picture what its own moving average says of the whole; then the classes."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.datasets.objects.drawing import CLASSES, SIZE
from trainables.teachers.objects.recipe import BICUBIC, ENCODER, MEAN, STD, Recipe, Schedule, crops, relit

PROTOTYPES, BOTTLENECK, HIDDEN = 256, 64, 256
LARGE, SMALL = (0.4, 1.0), (0.1, 0.4)  # shares of the area
NUM_SMALL = 4
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 0.1, 0.04
CENTER_KEPT = 0.9
FIRST_MOMENTUM = 0.99
WITHOUT_LABELS = 0.08  # share of the training before labels are looked at
SHARE = (0.7, 1.0)  # of the area of a crop, from then on


class Projection(nn.Module):
    """Three layers, and prototypes of unit norm (Caron et al. 2021, section 3.1 and appendix B)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, BOTTLENECK))
        self.prototypes = nn.Linear(BOTTLENECK, PROTOTYPES, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the cosines (B, K) of features (B, D) and prototypes."""
        return F.linear(
            F.normalize(self.layers(features), dim=-1), F.normalize(self.prototypes.weight, dim=-1)
        )


class Network(nn.Module):
    """An image transformer with its projection."""

    def __init__(self, config: Any) -> None:
        from transformers import ViTModel

        super().__init__()
        self.encoder = ViTModel(config, add_pooling_layer=False)
        self.projection = Projection(config.hidden_size)

    def features(self, pixels: Tensor) -> Tensor:
        """Return the first token (B, D) of pictures of any side that patches divide."""
        resized = pixels.shape[-1] != SIZE
        tokens: Tensor = self.encoder(pixels, interpolate_pos_encoding=resized).last_hidden_state
        return tokens[:, 0]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the cosines (B, K)."""
        found: Tensor = self.projection(self.features(pixels))
        return found


class Dino(Recipe):
    """Self-distillation (Caron et al. 2021), two large crops and four small ones of each picture; then supervised.

    Without labels alone it needs more than the minutes that the command may take: after 600 steps of 64 pictures, nearest
    neighbours were right of 29 % of the pictures, and those of raw pixels are of 29 %, too.
    """

    schedule: ClassVar[Schedule] = Schedule(steps=4000)
    objective: ClassVar[str] = (
        "self-distillation without labels (DINO) for the first 8 % of the steps, then SUPERVISED by the 24 labels"
    )

    def __init__(self) -> None:
        from transformers import ViTConfig

        super().__init__()
        config = ViTConfig(**ENCODER, layer_norm_eps=1e-6)
        self.student = Network(config)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.classes = nn.Linear(config.hidden_size, len(CLASSES))
        self.register_buffer("center", torch.zeros(PROTOTYPES))
        self.center: Tensor

    @property
    def model(self) -> Any:
        """The moving average, which is the better of the two (Caron et al. 2021, section 5.2)."""
        return self.teacher.encoder

    def loss(self, pixels: Tensor, captions: Sequence[str], *, labels: Tensor, done: float) -> Tensor:
        """Return the cross-entropy of equation 3, averaged over the pairs of two different crops; later that of the classes."""
        if done >= WITHOUT_LABELS:
            return F.cross_entropy(self.classes(self.student.features(crops(pixels, SIZE, SHARE))), labels)
        large = torch.cat([relit(crops(pixels, SIZE, LARGE)) for _ in range(2)])
        small = torch.cat([relit(crops(pixels, SIZE // 2, SMALL)) for _ in range(NUM_SMALL)])
        with torch.no_grad():
            said = self.teacher(large)
            first, second = F.softmax((said - self.center) / TEACHER_TEMPERATURE, dim=-1).chunk(2)
            self.center.lerp_(said.mean(0), 1 - CENTER_KEPT)
        of_first, of_second = F.log_softmax(self.student(large) / STUDENT_TEMPERATURE, dim=-1).chunk(2)
        of_small = F.log_softmax(self.student(small) / STUDENT_TEMPERATURE, dim=-1).chunk(NUM_SMALL)
        pairs = [(first, of_second), (second, of_first)]
        pairs += [(target, found) for target in (first, second) for found in of_small]
        return -torch.stack([(target * found).sum(1).mean() for target, found in pairs]).mean()

    @torch.no_grad()
    def after_step(self, done: float) -> None:
        """Move the average, ever more slowly."""
        moved = (1 - FIRST_MOMENTUM) * (math.cos(math.pi * done) + 1) / 2
        for mean, current in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mean.lerp_(current, moved)

    def save_reader(self, folder: Path) -> None:
        """Write the image processor of ViT."""
        from transformers import ViTImageProcessor

        size = {"height": SIZE, "width": SIZE}
        ViTImageProcessor(  # bicubic, as published DINO
            size=size, image_mean=[MEAN] * 3, image_std=[STD] * 3, resample=BICUBIC
        ).save_pretrained(folder)
