"""Where the things of a scene are: in which patch of its picture, and which of them the words of a text mean."""

from collections.abc import Sequence

import numpy as np

from trainables.datasets.scenes.drawing import COLORS, SHAPES, SIZE, Shape
from trainables.datasets.scenes.language import SIZE_NAMES
from trainables.tokenizer import Tokenizer

PATCHES = "scene.patches"
"""Field (B, P, 3) int64: colour, shape and size of the thing whose centre lies in each patch, counted from 1; 0 for none."""
KINDS = (len(COLORS), len(SHAPES), len(SIZE_NAMES))
NOWHERE = -1


def mentions(kind: str) -> str:
    """Return the field (B, T) int64 beside texts of a kind: at the last word of a colour and a shape that the scene has, the
    patch of that thing; `NOWHERE` at all others."""
    return f"scene.{kind}"


def patch_of(item: Shape, grid: int) -> int:
    """Return the number, row by row, of the patch in which the centre of a thing lies, among `grid` x `grid`."""
    return item.y * grid // SIZE * grid + item.x * grid // SIZE


def patches(scenes: Sequence[Sequence[Shape]], grid: int) -> np.ndarray:
    """Return what `PATCHES` says of scenes; of several things in one patch, the last."""
    found = np.zeros((len(scenes), grid * grid, len(KINDS)), dtype=np.int64)
    for row, scene in enumerate(scenes):
        for item in scene:
            found[row, patch_of(item, grid)] = (item.color + 1, item.shape + 1, item.size + 1)
    return found


class Mentions:
    """Finds in token ids which things of a scene are meant."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        numbers = {token: number for number, token in enumerate(tokenizer.tokens())}
        self._colors, self._shapes = (
            {numbers[word]: place for place, word in enumerate(words) if word in numbers}
            for words in (COLORS, SHAPES)
        )

    def places(self, ids_BT: np.ndarray, scenes: Sequence[Sequence[Shape]], grid: int) -> np.ndarray:
        """Return what the field `mentions` says of texts about scenes, (B, T)."""
        found = np.full(ids_BT.shape, NOWHERE, dtype=np.int64)
        for row, (ids, scene) in enumerate(zip(ids_BT.tolist(), scenes, strict=True)):
            patch = {(item.color, item.shape): patch_of(item, grid) for item in scene}
            for place in range(1, len(ids)):
                thing = (self._colors.get(ids[place - 1], -1), self._shapes.get(ids[place], -1))
                found[row, place] = patch.get(thing, NOWHERE)
        return found
