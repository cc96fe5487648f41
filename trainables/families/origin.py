"""What a student may begin with instead of fresh weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from spaces.errors import ShapeError

Importance = Mapping[str, Tensor]
"""Name of a part of a model -> how much each of its entries matters, see `Family.importances`."""


def _unknown() -> Importance:
    raise ShapeError(
        "student: begins with what matters most of its teacher, and nobody has measured that. Train it as a trial does."
    )


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model that others have trained, as it lies in a folder or file.

    Attributes:
        place: where.
        config: what its `config.json` says; {} of a bare file.
        shapes: of its weights by their published names.
        weights: reads them, float32.
        vocabulary: reads token -> id of its tokenizer; {} without one.
    """

    place: str
    config: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    weights: Callable[[], Mapping[str, Tensor]]
    vocabulary: Callable[[], Mapping[str, int]]


def unreadable(name: str, side: str) -> Published:
    """Stand for what opens published models, where nobody does."""
    raise ShapeError(
        f"student.{side}.weights: got {name}, and nobody is there who could read it. Train it as a trial does."
    )


Open = Callable[[str, str], Published]
"""Gives what lies in a place, or under a published name, for the image or the text side."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What there is to begin with.

    Attributes:
        teacher: its model; without weights where `Family.reads_teacher` says that nobody looks at them.
        tokens: tells the words of the teacher's tokenizer by their ids; () without one.
        importance: measures the teacher, or reads what was measured before.
        published: opens a model that others have trained.
    """

    teacher: nn.Module
    tokens: Callable[[], Sequence[str]] = tuple
    importance: Callable[[], Importance] = _unknown
    published: Open = unreadable


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What a student has begun with, for its log and record.

    Attributes:
        notes: whence, a sentence each.
        loaded: weights that were overwritten, in whole or in part.
        fresh: those that were drawn.
    """

    notes: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return what the log tells; nothing of a student that begins with fresh weights alone."""
        if not self.loaded:
            return []
        left = f"; fresh: {', '.join(self.fresh)}" if self.fresh else ""
        of = len(self.loaded) + len(self.fresh)
        return [*self.notes, f"initial weights: {len(self.loaded)} of {of} tensors are loaded{left}"]

    def to_dict(self) -> dict[str, list[str]]:
        """Return a JSON-able copy."""
        return {"notes": list(self.notes), "loaded": list(self.loaded), "fresh": list(self.fresh)}


def versions(model: nn.Module) -> dict[str, int]:
    """Return name of each weight and buffer -> how often it was written to: what has changed since was loaded."""
    return {name: value._version for name, value in model.state_dict(keep_vars=True).items()}
