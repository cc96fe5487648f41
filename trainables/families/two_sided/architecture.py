"""Sizes of a student of two sides: what each reads, what it says, and what stands behind it."""

import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal, Self

from torch import Tensor, nn

from trainables.configs import plain
from trainables.signals import CAPTION, PICTURE, Offer, Offers, Want, classes_meaning

IMAGE, TEXT = "image", "text"
ROWS = {IMAGE: PICTURE, TEXT: CAPTION}
MASKS = {IMAGE: "", TEXT: "caption.mask"}
TOKENS = "joint"
"""The kind of signal that has one vector for each token."""
IMAGE_EMBEDDING, TEXT_EMBEDDING = Want(IMAGE, "embedding"), Want(TEXT, "embedding")
IMAGE_LOGITS, TEMPERATURE = Want(IMAGE, "logits"), Want("contrast", "temperature")


@dataclass(frozen=True, kw_only=True)
class Read:
    """A signal of the teacher that a side reads.

    Attributes:
        what: `embedding`, `pooled`, `joint` or `map`.
        sizes: of its axes, as the teacher offers it: (E,), (D,), (P, E) or (T, E), (E, Y, X).
    """

    what: str
    sizes: tuple[int, ...]

    @property
    def gain(self) -> float:
        """By what it is multiplied before the first layer: what has unit norm then has entries of about 1, whatever its width."""
        return float(self.sizes[-1]) ** 0.5 if self.what == "embedding" else 1.0

    def shape(self, mode: str, tokens: int) -> tuple[int, ...]:
        """Return the sizes for a text of so many tokens."""
        return (tokens, *self.sizes[1:]) if mode == TEXT and self.what == TOKENS else self.sizes


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a side says about B rows.

    Attributes:
        pooled: (B, D), the vector before the projection.
        map: (B, D, Y, X), where the side has one.
        attention: (B, H, P, P) or (B, H, T, T), where the side has one and it was asked for.
    """

    pooled: Tensor
    map: Tensor | None = None
    attention: Tensor | None = None


class SideNetwork(nn.Module, ABC):
    """The weights of one side."""

    @abstractmethod
    def forward(self, given: Tensor, mask: Tensor | None, *, maps: bool) -> Said:
        """Return what it says.

        Args:
            given: the teacher's signal, or normalised pixels (B, 3, S, S).
            mask: (B, T) True on real tokens; None where nothing is padding.
            maps: whether attention maps are asked for.
        """


class SideSizes(ABC):
    """Sizes of one side: a frozen dataclass, from which its network is built."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Size D of the vector before the projection."""

    @property
    @abstractmethod
    def source(self) -> Read | None:
        """What it reads of the teacher; None for one that looks at the pixels itself."""

    @abstractmethod
    def offers(self, mode: str) -> Offers:
        """Return what it says by itself, the embedding not counted.

        Args:
            mode: image or text.
        """

    @abstractmethod
    def build(self) -> SideNetwork:
        """Return it with fresh weights."""

    def parts(self) -> Mapping[str, tuple["SideSizes", int]]:
        """Return the parts of it: name -> (the smallest sizes with such a part, how often this side has it).

        By default one part without a name: the side itself. A name is one that `TrunkNetwork.run_part` knows.
        """
        return {"": (self, 1)}


@dataclass(frozen=True, kw_only=True)
class VectorSizes(SideSizes):
    """A side without weights of its own: it hands a vector of the teacher to the projection.

    Attributes:
        read: the vector.
    """

    read: Read

    @property
    def width(self) -> int:
        """Size of the vector."""
        return self.read.sizes[-1]

    @property
    def source(self) -> Read | None:
        """The vector."""
        return self.read

    def offers(self, mode: str) -> Offers:
        """Return nothing: its pooled vector is the teacher's own."""
        return {}

    def build(self) -> SideNetwork:
        """Return a network without weights."""
        return VectorNetwork(self.read.gain)


class VectorNetwork(SideNetwork):
    """Hands a vector on, times a number."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, given: Tensor, mask: Tensor | None, *, maps: bool) -> Said:
        """Return the vector (B, D)."""
        return Said(pooled=given * self.gain)


@dataclass(frozen=True, kw_only=True)
class TwoSidedArchitecture:
    """Everything needed to build a student of two sides; a family's own class narrows the types of the sides.

    Attributes:
        image, text: the sides; None where the model has none, or what is deployed needs none.
        embedding: E; with `projection` none the width of the image side.
        projection: what makes the embedding of a side's vector: nothing, one linear layer, or two with ReLU between
            them. The text side has a linear layer where the image side has nothing, since both must be of one size.
        bottleneck: width between the two layers; 0 without them.
        embeds: modes that say an embedding, `image` and `text`.
        classes, meaning: number of classes, and which they are; 0 and "" without classifier.
        contrast: whether the model has a learnable logit scale.
    """

    image: Any
    text: Any
    embedding: int
    projection: Literal["none", "linear", "bottleneck"]
    bottleneck: int = 0
    embeds: tuple[str, ...] = (IMAGE, TEXT)
    classes: int = 0
    meaning: str = ""
    contrast: bool = True

    @property
    def sides(self) -> dict[str, SideSizes]:
        """The sides that the model has, by their modes."""
        return {mode: side for mode, side in ((IMAGE, self.image), (TEXT, self.text)) if side is not None}

    def offers(self) -> Offers:
        """Return all that such a model can say."""
        found: dict[Want, Offer] = {}
        for mode, side in self.sides.items():
            found |= side.offers(mode)
            if mode in self.embeds:
                found[Want(mode, "embedding")] = Offer(axes=("E",), sizes=(self.embedding,), rows=ROWS[mode])
        if self.classes:
            found[IMAGE_LOGITS] = Offer(
                axes=("C",), sizes=(self.classes,), rows=PICTURE, meaning=self.meaning
            )
        if self.contrast:
            found[TEMPERATURE] = Offer()
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; `from_dict` reads it back."""
        return plain(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the architecture that `to_dict` wrote.

        Raises:
            TypeError: a field is missing or unknown.
        """
        return typing.cast(Self, _made(cls, fields))


def meaning_of(classes: tuple[str, ...]) -> str:
    """Return the meaning of logits over these classes; "" without any."""
    return classes_meaning(classes) if classes else ""


def _made(kind: Any, fields: Mapping[str, Any]) -> Any:
    """Return a dataclass whose fields hold plain values: mappings stand for nested ones, lists for tuples."""
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(hints.get(name), value) for name, value in fields.items()})


def _value(hint: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        (nested,) = (one for one in (hint, *typing.get_args(hint)) if is_dataclass(one))
        return _made(nested, value)
    return tuple(value) if isinstance(value, list) else value
