"""Where things are: two losses of scenes whose places are known, that the embedded teacher learns beside those of BLIP.

Captions and questions alone do not teach it: what patches show tells nearly all texts apart, so that where they lie is hardly
learned. Models that tie words to places learn from places that are given (Kamath et al. 2021, MDETR; Zeng et al. 2022, X-VLM), as
this one does. The heads are thrown away.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.families.blip.offers import IMAGE_TOKENS
from trainables.losses.base import Ends, Loss, Needs
from trainables.signals import CAPTION, PIXELS, QUESTION, Batch, Signals, Want, layers
from trainables.teachers.blip.scene_places import KINDS, NOWHERE, PATCHES, mentions

EMPTY = 0.15  # weight of a patch that shows nothing beside one that shows a thing: 14 of 16 do


class Places(nn.Module):
    """Two heads that tell the row and the column of a patch in a square grid."""

    def __init__(self, width: int, grid: int) -> None:
        super().__init__()
        self.grid, self.row, self.column = grid, nn.Linear(width, grid), nn.Linear(width, grid)

    def forward(self, states_ND: Tensor, patches_N: Tensor) -> Tensor:
        """Return the mean cross-entropy of states against the numbers of their patches, row by row; 0 of none."""
        if not len(patches_N):
            return states_ND.sum() * 0.0
        rows = functional.cross_entropy(self.row(states_ND), patches_N // self.grid)
        columns = functional.cross_entropy(self.column(states_ND), patches_N % self.grid)
        return rows + columns


@final
class PatchGrounding(Loss):
    """Each last image token tells what stands in its patch (colour, shape, size, or nothing), and which patch it is."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options: none beside the weight."""

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        offer = ends.student[IMAGE_TOKENS]
        self.things = nn.ModuleList(nn.Linear(offer.size("D"), 1 + count) for count in KINDS)
        self.places = Places(offer.size("D"), round((offer.size("P") - 1) ** 0.5))

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the image tokens."""
        return Needs(student=frozenset({IMAGE_TOKENS}), fields=frozenset({PIXELS}))

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the sum of the cross-entropies of colour, shape, size, row and column, each a mean over patches."""
        tokens_BPD, things_BPK = student[IMAGE_TOKENS][:, 1:].float(), batch[PATCHES]
        weight_N = torch.where(things_BPK[..., 0] > 0, 1.0, EMPTY).flatten()
        patches_N = torch.arange(tokens_BPD.shape[1], device=batch.device).repeat(len(tokens_BPD))
        found = self.places(tokens_BPD.flatten(0, 1), patches_N)
        for number, head in enumerate(self.things):
            values_N = functional.cross_entropy(
                head(tokens_BPD).flatten(0, 1), things_BPK[..., number].flatten(), reduction="none"
            )
            found = found + (values_N * weight_N).sum() / weight_N.sum()
        return found


@final
class MentionGrounding(Loss):
    """The decoder's state behind the last word of `red ring` tells where that thing is, in captions and in questions.

    It is read half-way up, so that the layers above can compare the places of two things.
    """

    PASSES: ClassVar = {"decoder": CAPTION, "answer": QUESTION}

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options: none beside the weight."""

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        patches = ends.student[IMAGE_TOKENS].size("P") - 1
        width = ends.student[min(self.needs.student)].size("D")
        self.places = Places(width, round(patches**0.5))

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the states of the decoder's middle layer, in both passes."""
        middle = layers(ends.student, "decoder", "hidden")[-1] // 2
        wants = frozenset(Want(mode, "hidden", middle) for mode in cls.PASSES)
        return Needs(student=wants, fields=frozenset({PIXELS}))

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the sum over captions and questions of the mean cross-entropies of row and column."""
        found = torch.zeros((), device=batch.device)
        for want in sorted(self.needs.student):
            states_BTD, patches_BT = student[want].float(), batch[mentions(self.PASSES[want.mode])]
            states_ND = states_BTD[patches_BT != NOWHERE]
            found = found + self.places(states_ND, patches_BT[patches_BT != NOWHERE])
        return found
