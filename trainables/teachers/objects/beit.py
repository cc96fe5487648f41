"""BEiT: what hidden patches look like, in words of a codebook; then the classes, as the published `-ft22k` weights were made."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.datasets.objects.drawing import CLASSES, SIZE
from trainables.teachers.objects.recipe import ENCODER, MEAN, PATCH, STD, Recipe, Schedule, crops

GRID = SIZE // PATCH
WORDS = 256  # of the codebook
COARSE = 4  # pixels across a patch that a word describes
ROUNDS = 10  # of k-means
HIDDEN_SHARE, LARGEST_BLOCK = (
    0.4,
    3,
)  # of the patches, and patches across a block (Bao et al. 2021, section 2.3)
WITHOUT_LABELS = 0.08  # share of the training before labels are looked at
SHARE = (0.7, 1.0)  # of the area of a crop


def patches_of(pixels: Tensor) -> Tensor:
    """Return the patches of pictures (B, 3, S, S), coarse: (B, P, 3 * COARSE ** 2)."""
    coarse = F.adaptive_avg_pool2d(pixels, GRID * COARSE)
    cells = coarse.unflatten(3, (GRID, COARSE)).unflatten(2, (GRID, COARSE))
    return cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def words_of(patches: Tensor, codebook: Tensor) -> Tensor:
    """Return the number of the nearest word of each patch, (..., D) -> (...)."""
    return (2 * patches @ codebook.T - codebook.square().sum(1)).argmax(-1)


def make_codebook(patches: Tensor) -> Tensor:
    """Return the centres (K, D) of patches (N, D): k-means++ (Arthur and Vassilvitskii 2007)."""
    centres = [patches[int(torch.randint(len(patches), (1,)))]]
    away = (patches - centres[0]).square().sum(1)
    for _ in range(WORDS - 1):
        centres.append(patches[int(torch.multinomial(away, 1))])
        away = torch.minimum(away, (patches - centres[-1]).square().sum(1))
    found = torch.stack(centres)
    for _ in range(ROUNDS):
        words = words_of(patches, found)
        counts = torch.bincount(words, minlength=WORDS)
        means = torch.zeros_like(found).index_add_(0, words, patches) / counts.clamp_min(1)[:, None]
        found = torch.where(counts[:, None] > 0, means, found)
    return found


def hidden_blocks(count: int) -> Tensor:
    """Return which patches are hidden, (count, P) bool: rectangles, until enough are."""
    hidden = torch.zeros(count, GRID, GRID, dtype=torch.bool)
    for picture in hidden:
        while picture.sum() < GRID * GRID * HIDDEN_SHARE:
            high, wide = torch.randint(1, LARGEST_BLOCK + 1, (2,)).tolist()
            y, x = (int(torch.randint(GRID - side + 1, (1,))) for side in (high, wide))
            picture[y : y + high, x : x + wide] = True
    return hidden.flatten(1)


class Beit(Recipe):
    """Masked image modelling (Bao et al. 2021), then supervised."""

    schedule: ClassVar[Schedule] = Schedule(steps=4000)
    objective: ClassVar[str] = (
        "masked image modelling (BEiT) for the first 8 % of the steps, then SUPERVISED by the 24 labels"
    )

    def __init__(self) -> None:
        from transformers import BeitConfig, BeitModel

        super().__init__()
        config = BeitConfig(
            **ENCODER,
            use_mask_token=True,
            use_mean_pooling=True,
            use_relative_position_bias=True,
            layer_scale_init_value=1.0,
            drop_path_rate=0.0,
        )
        self.model = BeitModel(config)
        width = config.hidden_size
        self.words = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, WORDS))
        self.classes = nn.Linear(width, len(CLASSES))
        self.register_buffer("codebook", torch.zeros(WORDS, 3 * COARSE**2))
        self.codebook: Tensor

    def prepare(self, pixels: Tensor) -> None:
        """Make the codebook of some pictures."""
        self.codebook = make_codebook(patches_of(pixels).flatten(0, 1))

    def loss(self, pixels: Tensor, captions: Sequence[str], *, labels: Tensor, done: float) -> Tensor:
        """Return the cross-entropy of the words of hidden patches, later of the classes."""
        pixels = crops(pixels, SIZE, SHARE)
        if done >= WITHOUT_LABELS:
            return F.cross_entropy(self.classes(self.features(pixels)), labels)
        hidden = hidden_blocks(len(pixels))
        tokens = self.model(pixels, bool_masked_pos=hidden).last_hidden_state[:, 1:]
        return F.cross_entropy(
            self.words(tokens[hidden]), words_of(patches_of(pixels), self.codebook)[hidden]
        )

    def features(self, pixels: Tensor) -> Tensor:
        """Return the mean of the tokens of patches, normalised by the pooler."""
        found: Tensor = self.model(pixels).pooler_output
        return found

    def save_reader(self, folder: Path) -> None:
        """Write the image processor of BEiT, and leave out the token of hidden patches, which answers need not."""
        from transformers import BeitImageProcessor

        self.model.embeddings.mask_token = None
        self.model.config.use_mask_token = False
        BeitImageProcessor(
            size={"height": SIZE, "width": SIZE},
            do_center_crop=False,
            image_mean=[MEAN] * 3,
            image_std=[STD] * 3,
        ).save_pretrained(folder)
