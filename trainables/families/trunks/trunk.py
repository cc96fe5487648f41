"""What all students with a trunk of their own do alike: options, projections, the text side."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from trainables.families.base import Surroundings
from trainables.families.two_sided.architecture import (
    Read,
    Said,
    SideNetwork,
    SideSizes,
    VectorSizes,
)
from trainables.families.two_sided.model import TwoSided
from trainables.families.two_sided.options import (
    BOTTLENECK_WIDTH,
    COUNT,
    EMBEDDING_WIDTH,
    SideOptions,
    behind,
    text_of,
)
from trainables.signals import PICTURE, Offer, Offers, Want

STEM = Literal["imagenet", "small"]


@dataclass(frozen=True, kw_only=True)
class TrunkOptions(SideOptions):
    """What students with a trunk have in common.

    Attributes:
        projection: what makes the embedding of the pooled feature: nothing, one linear layer, or two with ReLU between
            them; the text side has the same, and one linear layer where this is none.
        bottleneck: width between the two layers; without meaning for other projections.
        embedding: width E of the joint embedding; relative to the teacher's own. Without a projection it has no meaning:
            the embedding is as wide as the pooled feature then.
        text: whether there is a text side, which reads the teacher's text embedding; `auto` follows the teacher.
        classifier: whether it also says logits over the classes of the data, from the pooled feature.
    """

    projection: Literal["none", "linear", "bottleneck"] = "bottleneck"
    bottleneck: int = field(default=128, metadata=COUNT)


POOL = "pool"
"""Name of what stands behind the last part of a trunk."""


class TrunkSizes(SideSizes, ABC):
    """Sizes of a side that looks at the pixels itself.

    Attributes:
        image_size: side S of the pictures.
    """

    image_size: int

    @property
    def source(self) -> Read | None:
        """Nothing of the teacher."""
        return None

    @property
    @abstractmethod
    def map_sizes(self) -> tuple[int, ...]:
        """Sizes (D, Y, X) of the last feature map; () without one."""

    def offers(self, mode: str) -> Offers:
        """Return the pooled feature, and the last feature map where there is one."""
        found = {Want(mode, "pooled"): Offer(axes=("D",), sizes=(self.width,), rows=PICTURE)}
        if self.map_sizes:
            found[Want(mode, "map")] = Offer(axes=("D", "Y", "X"), sizes=self.map_sizes, rows=PICTURE)
        return found


class TrunkNetwork(SideNetwork, ABC):
    """A trunk of parts that run one after another; its pooled feature is the mean of its last feature map."""

    def forward(self, given: Tensor, mask: Tensor | None, *, maps: bool) -> Said:
        """Return the last feature map (B, D, Y, X) of normalised pixels (B, 3, S, S), and its mean (B, D)."""
        found = given
        for part in self.parts.values():
            found = part(found)
        return Said(pooled=self.run_part(POOL, found), map=found)

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The parts by their names, in the order in which they run: from pixels to the last feature map."""

    def run_part(self, name: str, given: Tensor) -> Tensor:
        """Return what a part, or the pooling behind the last one, makes of a map (B, D, Y, X)."""
        return given.mean((2, 3)) if name == POOL else self.parts[name](given)

    @torch.no_grad()
    def read_by(self, name: str, pixels: Tensor) -> Tensor:
        """Return the map that a part reads when the trunk sees these pixels."""
        found = pixels
        for other, part in self.parts.items():
            if other == name:
                break
            found = part(found)
        return found


class Trunk(TwoSided, ABC):
    """A student that looks at the pixels itself; its classifier stands on the pooled feature."""

    classifies: ClassVar[str] = "pooled"

    @classmethod
    def settle(cls, options: dict[str, Any], notes: list[str]) -> None:
        """Give options that the projection leaves without meaning their defaults: equal students have equal options."""
        if options["projection"] != "bottleneck":
            options["bottleneck"] = BOTTLENECK_WIDTH
        if options["projection"] == "none":
            options["embedding"] = EMBEDDING_WIDTH


def around_trunk(config: TrunkOptions, sizes: TrunkSizes, around: Surroundings) -> dict[str, Any]:
    """Return the fields of an architecture with this trunk.

    Raises:
        ShapeError: a text side that the teacher cannot feed, or a classifier for data without classes.
    """
    text = text_of(config.text, "embedding", around)
    found = behind(config, around)
    if config.projection == "none":
        found["embedding"] = sizes.width
    return {
        **found,
        "image": sizes,
        "text": None if text is None else VectorSizes(read=text),
        "projection": config.projection,
        "bottleneck": config.bottleneck if config.projection == "bottleneck" else 0,
    }


def halved(side: int, times: int, *, up: bool = True) -> int:
    """Return what is left of the side of a map that is halved several times.

    Args:
        side: in pixels.
        times: how often.
        up: whether halves go up, as with padded windows.
    """
    for _ in range(times):
        side = (side + 1) // 2 if up else side // 2
    return side
