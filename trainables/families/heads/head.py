"""What all heads do alike."""

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, Literal

from trainables.families.two_sided.model import TwoSided
from trainables.families.two_sided.options import SideOptions


@dataclass(frozen=True, kw_only=True)
class VectorOptions(SideOptions):
    """What heads on one vector have in common.

    Attributes:
        embedding: width E of the joint embedding; relative to the teacher's own.
        feature: the teacher's vector that is read, on both sides: its embedding, or the pooled feature before its own
            projection.
        text: whether there is a text side; `auto` follows the teacher.
        classifier: whether it also says logits over the classes of the data.
    """

    feature: Literal["embedding", "pooled"] = "embedding"


class Head(TwoSided, ABC):
    """A student that reads signals of its teacher on every side; its classifier stands behind the projection."""

    classifies: ClassVar[str] = "projected"
