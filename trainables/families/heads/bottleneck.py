"""The report's Bottleneck: two linear layers with ReLU between them on the teacher's vector, and a logit scale."""

from dataclasses import dataclass, field
from typing import final

from trainables.families.base import Surroundings
from trainables.families.heads.head import Head, VectorOptions
from trainables.families.heads.simple_projection import VectorHeadArchitecture
from trainables.families.two_sided.options import COUNT, behind, vectors_of


@dataclass(frozen=True, kw_only=True)
class BottleneckOptions(VectorOptions):
    """Two linear layers for each side.

    Attributes:
        bottleneck: width between the two.
        embedding: width E of the joint embedding; relative to the teacher's own.
        feature: the teacher's vector that is read, on both sides: its embedding, or the pooled feature before its own
            projection.
        text: whether there is a text side; `auto` follows the teacher.
        classifier: whether it also says logits over the classes of the data, from the projected vector.
    """

    bottleneck: int = field(default=128, metadata=COUNT)


@final
class Bottleneck(Head):
    """Two linear layers with ReLU between them on the teacher's vector, for each side."""

    Config = BottleneckOptions
    Architecture = VectorHeadArchitecture

    @classmethod
    def draft(cls, config: BottleneckOptions, around: Surroundings) -> VectorHeadArchitecture:
        """Return the architecture of a student.

        Raises:
            ShapeError: the teacher does not say what it reads, or the data has no classes.
        """
        image, text = vectors_of(config.feature, config.text, around)
        return VectorHeadArchitecture(
            image=image,
            text=text,
            projection="bottleneck",
            bottleneck=config.bottleneck,
            **behind(config, around),
        )
