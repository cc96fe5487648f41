"""The report's MultiheadAttention: self-attention over the teacher's tokens, their mean, a linear layer, a logit scale."""

from dataclasses import dataclass, field
from typing import final

from trainables.families.base import Surroundings
from trainables.families.heads.head import Head
from trainables.families.heads.self_attention import AttentionSizes
from trainables.families.two_sided.architecture import IMAGE, TOKENS, Read, TwoSidedArchitecture
from trainables.families.two_sided.options import (
    COUNT,
    SideOptions,
    behind,
    divisible,
    read_of,
    text_of,
)


@dataclass(frozen=True, kw_only=True)
class MultiheadAttentionOptions(SideOptions):
    """Self-attention over the teacher's joint tokens for each side, and a linear layer behind their mean.

    Attributes:
        heads: attention heads; they divide the width of the teacher's joint tokens.
        embedding: width E of the joint embedding; relative to the teacher's own.
        text: whether there is a text side; `auto` follows the teacher.
        classifier: whether it also says logits over the classes of the data, from the projected vector.
    """

    heads: int = field(default=8, metadata=COUNT)


@dataclass(frozen=True, kw_only=True)
class AttentionHeadArchitecture(TwoSidedArchitecture):
    """Sizes of a head that attends to the teacher's tokens."""

    image: AttentionSizes | None
    text: AttentionSizes | None


@final
class MultiheadAttention(Head):
    """Self-attention over the teacher's joint tokens, the mean over real ones, and a linear layer, for each side."""

    Config = MultiheadAttentionOptions
    Architecture = AttentionHeadArchitecture

    @classmethod
    def draft(cls, config: MultiheadAttentionOptions, around: Surroundings) -> AttentionHeadArchitecture:
        """Return the architecture of a student.

        Raises:
            ShapeError: the teacher does not say what it reads, heads that do not divide the width of its tokens, or the
                data has no classes.
        """
        text = text_of(config.text, TOKENS, around)
        return AttentionHeadArchitecture(
            image=_side(read_of(IMAGE, TOKENS, around), config.heads),
            text=None if text is None else _side(text, config.heads),
            projection="linear",
            **behind(config, around),
        )


def _side(read: Read, heads: int) -> AttentionSizes:
    divisible(read.sizes[-1], heads)
    return AttentionSizes(read=read, heads=heads)
