"""A student of two sides: each makes a vector of what it reads; projections, a classifier and a logit scale stand behind them."""

import math
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.families.base import Block, Family, Resolved, noise
from trainables.families.two_sided.architecture import (
    IMAGE,
    IMAGE_LOGITS,
    MASKS,
    TEMPERATURE,
    TEXT,
    TOKENS,
    Read,
    TwoSidedArchitecture,
    VectorSizes,
)
from trainables.families.two_sided.options import resolved
from trainables.signals import PIXELS, Batch, Inputs, Offers, Signals, Want, Wants, modes

INITIAL_TEMPERATURE = 0.07  # CLIP (Radford et al. 2021, section 2.5)
FLOOR = 0.01  # the same: the logit scale is at most ln 100


def projection(kind: str, width: int, bottleneck: int, embedding: int) -> nn.Module:
    """Return what makes an embedding of a side's vector: one linear layer, or two with ReLU between them."""
    if kind == "bottleneck":
        return nn.Sequential(nn.Linear(width, bottleneck), nn.ReLU(), nn.Linear(bottleneck, embedding))
    return nn.Linear(width, embedding)


class TwoSided(Family, ABC):
    """What every family of two sides does alike; a final one adds its options and the sizes of its sides.

    Attributes:
        classifies: what the classifier reads: the `pooled` vector of the image side, or the vector that the embedding is
            made of by unit norm.
    """

    architecture: TwoSidedArchitecture
    classifies: ClassVar[str]

    def __init__(self, architecture: TwoSidedArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.floor = FLOOR
        self.image = None if a.image is None else a.image.build()
        self.text = None if a.text is None else a.text.build()
        self.image_projection = self.text_projection = None
        if a.image is not None and IMAGE in a.embeds and a.projection != "none":
            self.image_projection = projection(a.projection, a.image.width, a.bottleneck, a.embedding)
        if a.text is not None and TEXT in a.embeds:
            self.text_projection = projection(a.projection, a.text.width, a.bottleneck, a.embedding)
        self.classifier = None
        if a.classes:
            read = a.image.width if self.classifies == "pooled" else a.embedding
            self.classifier = nn.Linear(read, a.classes)
        self.logit_scale = (
            nn.Parameter(torch.tensor(math.log(1 / INITIAL_TEMPERATURE))) if a.contrast else None
        )

    @classmethod
    def resolve(cls, options: Mapping[str, Any], sizes: Mapping[str, int]) -> Resolved:
        """Return the options with an absolute embedding, and as `settle` leaves them."""
        return resolved(cls.Config, options, sizes, cls.settle)

    @classmethod
    def settle(cls, options: dict[str, Any], notes: list[str]) -> None:
        """Change options in place for a family's own reasons, and append a sentence for each rounding."""

    @classmethod
    def sizes(cls, architecture: Any) -> dict[str, int]:
        """Return the embedding."""
        return {"embedding": architecture.embedding}

    @classmethod
    def offers(cls, architecture: Any) -> Offers:
        """Return all that such a model can say, see `TwoSidedArchitecture.offers`."""
        found: Offers = architecture.offers()
        return found

    @classmethod
    def deployed(cls, architecture: Any, wants: Wants) -> Any:
        """Return the model without the sides, projections, classifier and logit scale that answer none of the wants."""
        a, asked = architecture, modes(wants)
        needed = {mode for mode in a.embeds if Want(mode, "embedding") in wants}
        if IMAGE_LOGITS in wants and cls.classifies != "pooled":
            needed.add(IMAGE)
        classes = a.classes if IMAGE_LOGITS in wants else 0
        return replace(
            a,
            image=a.image if IMAGE in asked else None,
            text=a.text if TEXT in asked else None,
            embeds=tuple(mode for mode in a.embeds if mode in needed),
            classes=classes,
            meaning=a.meaning if classes else "",
            contrast=a.contrast and TEMPERATURE in wants,
        )

    @classmethod
    def blocks(cls, architecture: Any, mode: str) -> Sequence[Block]:
        """Return the parts of a side, and what stands behind it: projection, unit norm, classifier."""
        a, other = architecture, TEXT if mode == IMAGE else IMAGE
        own = replace(
            a, **{other: None}, embeds=tuple(one for one in a.embeds if one == mode), contrast=False
        )
        if mode == TEXT:
            own = replace(own, classes=0, meaning="")
        side = a.sides[mode]
        if isinstance(side, VectorSizes):
            return (Block(architecture=own, mode=mode),)
        bare = replace(
            own, embeds=(), classes=0, meaning="", projection="none", bottleneck=0, embedding=side.width
        )
        parts = [
            Block(
                architecture=replace(bare, **{mode: sizes}, embedding=sizes.width),
                mode=f"{mode}.{name}" if name else mode,
                repeats=count,
            )
            for name, (sizes, count) in side.parts().items()
        ]
        if not own.classes and not (own.embeds and (own.projection != "none" or mode == TEXT)):
            return parts  # nothing stands behind it, or unit norm alone
        behind = replace(own, **{mode: VectorSizes(read=Read(what="pooled", sizes=(side.width,)))})
        return (*parts, Block(architecture=behind, mode=mode))

    def inputs(self, wants: Wants) -> Inputs:
        """Return pixels or signals of the teacher, as each side that is asked reads them."""
        fields, source = set[str](), set[Want]()
        for mode, side in self.architecture.sides.items():
            if mode not in modes(wants):
                continue
            if side.source is None:
                fields.add(PIXELS)
                continue
            source.add(Want(mode, side.source.what))
            if side.source.what == TOKENS and MASKS[mode]:
                fields.add(MASKS[mode])
        return Inputs(fields=frozenset(fields), source=frozenset(source))

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        """Return the signals; a side that nobody asks does not run."""
        found = Signals()
        if self.logit_scale is not None and TEMPERATURE in wants:
            found[TEMPERATURE] = torch.exp(-self.logit_scale)
        for mode, side in self.architecture.sides.items():
            if mode not in modes(wants):
                continue
            mask = None
            if side.source is None:
                read = batch[PIXELS]
            else:
                read = (given if given is not None else Signals())[Want(mode, side.source.what)]
                if side.source.what == TOKENS and MASKS[mode]:
                    mask = batch[MASKS[mode]]
            found.update(self._side(mode, read, mask, wants))
        return found.only(wants)

    def pass_inputs(self, mode: str, tokens: int) -> dict[str, Tensor]:
        """Return noise for what the side reads: a picture, or a signal of the teacher; no padding."""
        mode, _, part = mode.partition(".")
        side, like = self.architecture.sides[mode], next(self.parameters())
        if part:
            picture = noise(like, 1, 3, *2 * (self.architecture.image.image_size,))
            return {"given": self._network(mode).read_by(part, picture)}
        if side.source is None:
            side_length = self.architecture.image.image_size
            return {"pixels": noise(like, 1, 3, side_length, side_length)}
        found = {str(Want(mode, side.source.what)): noise(like, 1, *side.source.shape(mode, tokens))}
        if side.source.what == TOKENS and MASKS[mode]:
            found[MASKS[mode]] = torch.ones((1, tokens), dtype=torch.bool, device=like.device)
        return found

    def run_pass(self, mode: str, inputs: Mapping[str, Tensor]) -> object:
        """Run a side up to its embedding, and to the logits of classes where the model has them; or a part of the side."""
        mode, _, part = mode.partition(".")
        if part:
            return self._network(mode).run_part(part, inputs["given"])
        side = self.architecture.sides[mode]
        read = inputs["pixels" if side.source is None else str(Want(mode, side.source.what))]
        wants = frozenset({Want(mode, "pooled"), Want(mode, "embedding"), Want(mode, "logits")})
        return self._side(mode, read, inputs.get(MASKS[mode]), wants)

    def prepare_training(self, options: Mapping[str, Any]) -> None:
        """Take how low the temperature may go: `temperature_floor`."""
        self.floor = float(options.get("temperature_floor", FLOOR))

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the temperature in range, in place as CLIP does: a clamp in the graph would stop its gradient."""
        if self.logit_scale is not None:
            self.logit_scale.clamp_(max=math.log(1 / self.floor))

    def _network(self, mode: str) -> Any:
        network = self.image if mode == IMAGE else self.text
        assert network is not None  # the architecture has the side
        return network

    def _side(self, mode: str, read: Tensor, mask: Tensor | None, wants: Wants) -> Signals:
        """Return what one side says to the wants, as far as the model has the parts for it."""
        attention = Want(mode, "attention", 0)
        said = self._network(mode)(read, mask, maps=attention in wants)
        found = Signals({Want(mode, "pooled"): said.pooled})
        if said.map is not None:
            found[Want(mode, "map")] = said.map
        if said.attention is not None:
            found[attention] = said.attention
        classifier = self.classifier if mode == IMAGE and IMAGE_LOGITS in wants else None
        embedding = Want(mode, "embedding")
        vector = said.pooled
        classified = classifier is not None and self.classifies != "pooled"
        if mode in self.architecture.embeds and (embedding in wants or classified):
            layers = self.image_projection if mode == IMAGE else self.text_projection
            vector = said.pooled if layers is None else layers(said.pooled)
            found[embedding] = F.normalize(vector.float(), dim=-1)
        if classifier is not None:
            found[IMAGE_LOGITS] = classifier(said.pooled if self.classifies == "pooled" else vector)
        return found
