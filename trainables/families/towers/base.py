"""What every tower is: a published image model that says signals, frozen, and is never a student."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spaces.errors import IllegalCandidate
from trainables.families.base import Family, Resolved, Surroundings, noise
from trainables.signals import (
    PICTURE,
    PIXELS,
    Batch,
    Inputs,
    Offer,
    Offers,
    Signals,
    Want,
    Wants,
    classes_meaning,
    layers,
)

POOLED, EMBEDDING = Want("image", "pooled"), Want("image", "embedding")
TOKENS, JOINT, MAP = Want("image", "tokens"), Want("image", "joint"), Want("image", "map")
LOGITS = Want("image", "logits")


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """A tower has no options: its files say all."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What a tower made of pictures.

    Attributes:
        tokens: (B, P, D), the special ones first; of a convolutional trunk the cells of its last feature map.
        pooled: (B, D).
        states: layer -> (B, P, D).
        maps: layer -> (B, H, P, P).
        logits: (B, C); None without a class head.
    """

    tokens: Tensor
    pooled: Tensor
    states: Mapping[int, Tensor] = field(default_factory=dict)
    maps: Mapping[int, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the offers of a tower follow from.

    Attributes:
        tokens: P and D of the last tokens.
        pooled: D of the pooled feature.
        special: number of tokens before those of the patches.
        grid: Y and X of the patches; None where they are no grid.
        states: P and D of the state after each layer.
        heads: H of the map of each layer; () where there are no maps.
        classes: C of the class head; 0 without one.
        labels: names of the classes; () where nobody says them.
    """

    tokens: tuple[int, int]
    pooled: int
    special: int = 0
    grid: tuple[int, int] | None = None
    states: tuple[tuple[int, int], ...] = ()
    heads: tuple[int, ...] = ()
    classes: int = 0
    labels: tuple[str, ...] = ()

    @property
    def offers(self) -> Offers:
        """All that such a tower can say."""
        _, width = self.tokens
        found = {
            POOLED: Offer(axes=("D",), sizes=(self.pooled,), rows=PICTURE),
            EMBEDDING: Offer(axes=("E",), sizes=(self.pooled,), rows=PICTURE),
            TOKENS: Offer(axes=("P", "D"), sizes=self.tokens, rows=PICTURE),
            JOINT: Offer(axes=("P", "E"), sizes=self.tokens, rows=PICTURE),
        }
        if self.grid:
            found[MAP] = Offer(axes=("E", "Y", "X"), sizes=(width, *self.grid), rows=PICTURE)
        for index, state in enumerate(self.states):
            found[Want("image", "hidden", index)] = Offer(axes=("P", "D"), sizes=state, rows=PICTURE)
        for index, heads in enumerate(self.heads):
            tokens, _ = self.states[index]
            found[Want("image", "attention", index)] = Offer(
                axes=("H", "P", "P"), sizes=(heads, tokens, tokens), rows=PICTURE
            )
        if self.classes:
            meaning = classes_meaning(self.labels) if self.labels else f"{self.classes} classes without names"
            found[LOGITS] = Offer(axes=("C",), sizes=(self.classes,), rows=PICTURE, meaning=meaning)
        return found

    @property
    def relative(self) -> dict[str, int]:
        """What relative values of a student refer to."""
        found = {"embedding": self.pooled, "image.width": self.tokens[1], "image.depth": len(self.states)}
        if self.heads:
            found["image.heads"] = self.heads[-1]
        return {name: size for name, size in found.items() if size}


class TeachingOnly(Family, ABC):
    """A family of `TOWERS`: it makes no student."""

    Config = NoOptions

    @classmethod
    def resolve(cls, options: Mapping[str, Any], sizes: Mapping[str, int]) -> Resolved:
        """Refuse to be a student.

        Raises:
            IllegalCandidate: always.
        """
        raise _only_teaches(cls)

    @classmethod
    def draft(cls, config: Any, around: Surroundings) -> Any:
        """Refuse to be a student.

        Raises:
            IllegalCandidate: always.
        """
        raise _only_teaches(cls)

    def inherit(self, teacher: nn.Module, config: Any) -> None:
        """Refuse to be a student.

        Raises:
            IllegalCandidate: always.
        """
        raise _only_teaches(type(self))


class Tower(TeachingOnly):
    """A published image model behind the signals of `trainables.signals`; a subclass is final."""

    network: nn.Module

    @classmethod
    @abstractmethod
    def measured(cls, architecture: Any) -> Sizes:
        """Return what the offers follow from."""

    @abstractmethod
    def look(
        self, pixels_B3SS: Tensor, hidden: Set[int] = frozenset(), attention: Set[int] = frozenset()
    ) -> View:
        """Return what the model makes of pictures, with the states and maps of the layers asked for."""

    @classmethod
    def holding(cls, architecture: Any, **parts: nn.Module) -> "Tower":
        """Return the model around parts that are loaded already; nothing else is drawn or held twice."""
        with torch.device("meta"):
            made: Tower = cls(architecture)
        for name, part in parts.items():
            setattr(made, name, part)
        return made.eval()

    @classmethod
    def sizes(cls, architecture: Any) -> dict[str, int]:
        """Return embedding, width, depth and heads, as far as the model has them."""
        return cls.measured(architecture).relative

    @classmethod
    def offers(cls, architecture: Any) -> Offers:
        """Return pooled feature, tokens, map, states, maps of attention and class logits, as far as it has them."""
        return cls.measured(architecture).offers

    def inputs(self, wants: Wants) -> Inputs:
        """Return the pixels."""
        return Inputs(fields=frozenset({PIXELS}))

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        """Return the signals; maps and states of the wanted layers alone are made."""
        hidden, attention = (frozenset(layers(wants, "image", what)) for what in ("hidden", "attention"))
        view = self.look(batch[PIXELS], hidden, attention)
        found = Signals({POOLED: view.pooled, TOKENS: view.tokens, JOINT: view.tokens})
        if EMBEDDING in wants:
            found[EMBEDDING] = F.normalize(view.pooled.float(), dim=-1)
        if MAP in wants:
            found[MAP] = self._grid(view.tokens)
        if view.logits is not None:
            found[LOGITS] = view.logits
        found.update({Want("image", "hidden", index): one for index, one in view.states.items()})
        found.update({Want("image", "attention", index): one for index, one in view.maps.items()})
        return found.only(wants)

    def _grid(self, tokens_BPD: Tensor) -> Tensor:
        """Return the tokens of the patches as a grid (B, D, Y, X)."""
        sizes = self.measured(self.architecture)
        if sizes.grid is None:
            raise ValueError("the tokens of this model are no grid")
        return tokens_BPD[:, sizes.special :].transpose(1, 2).unflatten(2, sizes.grid)

    def pass_inputs(self, mode: str, tokens: int) -> dict[str, Tensor]:
        """Return noise for a picture."""
        side = self.architecture.image_size
        return {"pixels": noise(next(self.parameters()), 1, 3, side, side)}

    def run_pass(self, mode: str, inputs: Mapping[str, Tensor]) -> object:
        """Run the model up to its heads."""
        view = self.look(inputs["pixels"])
        return F.normalize(view.pooled.float(), dim=-1), view.logits


def _only_teaches(tower: type[Family]) -> IllegalCandidate:
    return IllegalCandidate(f"{tower.__name__} only teaches; a student is of a kind that --list names.")


@contextmanager
def kept(part: nn.Module, found: dict[int, Tensor], index: int, place: int | None = None) -> Iterator[None]:
    """Put the tensor that a module returns into `found`; of several results the one at `place`, or none."""

    def keep(_: nn.Module, __: Any, said: Any) -> None:
        if not isinstance(said, Tensor) and place is not None:
            said = said[place]
        if isinstance(said, Tensor):
            found[index] = said

    hook = part.register_forward_hook(keep)
    try:
        yield
    finally:
        hook.remove()
