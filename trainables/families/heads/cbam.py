"""The report's CBAM student: attention blocks on the teacher's feature map, linear layers, a logit scale; pictures only."""

from dataclasses import dataclass, field
from typing import Literal, final

from trainables.families.base import Surroundings
from trainables.families.heads.convolutional_attention import CbamSizes
from trainables.families.heads.head import Head
from trainables.families.two_sided.architecture import IMAGE, TwoSidedArchitecture, VectorSizes
from trainables.families.two_sided.options import (
    BLOCKS,
    COUNT,
    SideOptions,
    behind,
    read_of,
    text_of,
)


@dataclass(frozen=True, kw_only=True)
class CbamOptions(SideOptions):
    """Channel and spatial attention on the teacher's feature map; the text side is a linear layer on its embedding.

    Attributes:
        blocks: how many stand one behind another.
        reduction: channels of the map over hidden channels of the channel attention, which are at least 1.
        kernel: side of the window of the spatial attention.
        embedding: width E of the joint embedding; relative to the teacher's own.
        text: whether there is a text side; `auto` follows the teacher.
        classifier: whether it also says logits over the classes of the data, from the projected vector.
    """

    blocks: int = field(default=2, metadata=BLOCKS)
    reduction: int = field(default=16, metadata=COUNT)
    kernel: Literal[3, 5, 7] = 7


@dataclass(frozen=True, kw_only=True)
class CbamArchitecture(TwoSidedArchitecture):
    """Sizes of a head on the teacher's feature map."""

    image: CbamSizes | None
    text: VectorSizes | None


@final
class Cbam(Head):
    """Blocks of channel and spatial attention on the teacher's feature map, its mean, and a linear layer."""

    Config = CbamOptions
    Architecture = CbamArchitecture

    @classmethod
    def draft(cls, config: CbamOptions, around: Surroundings) -> CbamArchitecture:
        """Return the architecture of a student.

        Raises:
            ShapeError: a teacher without feature map, or data without classes.
        """
        text = text_of(config.text, "embedding", around)
        return CbamArchitecture(
            image=CbamSizes(
                read=read_of(IMAGE, "map", around),
                blocks=config.blocks,
                reduction=config.reduction,
                kernel=config.kernel,
            ),
            text=None if text is None else VectorSizes(read=text),
            projection="linear",
            **behind(config, around),
        )
