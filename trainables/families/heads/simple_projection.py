"""The report's SimpleProjection: a linear layer on the teacher's vector, and a learnable logit scale."""

from dataclasses import dataclass
from typing import final

from trainables.families.base import Surroundings
from trainables.families.heads.head import Head, VectorOptions
from trainables.families.two_sided.architecture import TwoSidedArchitecture, VectorSizes
from trainables.families.two_sided.options import behind, vectors_of


@dataclass(frozen=True, kw_only=True)
class SimpleProjectionOptions(VectorOptions):
    """A linear layer for each side.

    Attributes:
        embedding: width E of the joint embedding; relative to the teacher's own.
        feature: the teacher's vector that is read, on both sides: its embedding, or the pooled feature before its own
            projection.
        text: whether there is a text side; `auto` follows the teacher.
        classifier: whether it also says logits over the classes of the data, from the projected vector.
    """


@dataclass(frozen=True, kw_only=True)
class VectorHeadArchitecture(TwoSidedArchitecture):
    """Sizes of a head on one vector of the teacher."""

    image: VectorSizes | None
    text: VectorSizes | None


@final
class SimpleProjection(Head):
    """A linear layer on the teacher's vector, for each side."""

    Config = SimpleProjectionOptions
    Architecture = VectorHeadArchitecture

    @classmethod
    def draft(cls, config: SimpleProjectionOptions, around: Surroundings) -> VectorHeadArchitecture:
        """Return the architecture of a student.

        Raises:
            ShapeError: the teacher does not say what it reads, or the data has no classes.
        """
        image, text = vectors_of(config.feature, config.text, around)
        return VectorHeadArchitecture(image=image, text=text, projection="linear", **behind(config, around))
