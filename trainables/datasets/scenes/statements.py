"""What is said of two pictures together: each sentence of two pairs, true of the one and false of the other.

So whoever reads the sentence alone is right in half of all cases, whatever it says. The two pairs have one picture in common, in
turn the left and the right one, so that neither picture tells by itself (as Goyal et al. 2017 balance questions, section 3).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from trainables.datasets.scenes.drawing import SHAPES, Shape
from trainables.datasets.scenes.integers import IntegerStream
from trainables.datasets.scenes.language import COLOR_NAMES, NUMBERS, name

KEY = 7  # of the draws, apart from those of the scenes
TRIES = 50  # of another picture, before another sentence is taken
SCHEMA = pa.schema(
    [("text", pa.string()), ("left", pa.int64()), ("right", pa.int64()), ("holds", pa.bool_())]
)
ANY = -1
Scene = Sequence[Shape]
Holds = Callable[[Scene, Scene], bool]
"""Takes a left and a right scene."""


def scene_of(numbers: Sequence[int]) -> list[Shape]:
    """Return a scene of the integers that describe it, five a shape."""
    return [Shape(*numbers[first : first + 5]) for first in range(0, len(numbers), 5)]


def _number(scene: Scene, color: int, shape: int) -> int:
    """Return how many objects have a colour and a shape; ANY for any."""
    return sum(color in (ANY, item.color) and shape in (ANY, item.shape) for item in scene)


def _kind_of_object(stream: IntegerStream, scene: Scene) -> tuple[int, int]:
    """Return the colour or the shape of an object of a scene, and ANY for the other."""
    item = stream.choose(scene)
    return (item.color, ANY) if stream.chance(50) else (ANY, item.shape)


def _each(stream: IntegerStream, left: Scene, right: Scene) -> tuple[str, Holds]:
    """Say which object the left and which one the right picture shows."""
    one, other = stream.choose(left), stream.choose(right)

    def holds(here: Scene, there: Scene) -> bool:
        return min(_number(here, one.color, one.shape), _number(there, other.color, other.shape)) > 0

    return f"there is a {name(one)} on the left and a {name(other)} on the right", holds


def _both(stream: IntegerStream, left: Scene, right: Scene) -> tuple[str, Holds]:
    """Say that both pictures show a colour, or a shape."""
    color, shape = _kind_of_object(stream, left)
    words = f"{COLOR_NAMES[color]} object" if shape == ANY else SHAPES[shape]

    def holds(here: Scene, there: Scene) -> bool:
        return min(_number(here, color, shape), _number(there, color, shape)) > 0

    return f"there is a {words} on the left and on the right", holds


def _count(stream: IntegerStream, left: Scene, right: Scene) -> tuple[str, Holds]:
    """Say how many objects of a colour, or of a shape, both pictures show together."""
    color, shape = _kind_of_object(stream, [*left, *right])
    words = COLOR_NAMES[color] if shape == ANY else SHAPES[shape]
    number = _number(left, color, shape) + _number(right, color, shape)
    number = min(number, len(NUMBERS) - 1)  # of more no word tells: then it does not hold, and is not said

    def holds(here: Scene, there: Scene) -> bool:
        return _number(here, color, shape) + _number(there, color, shape) == number

    are, shapes = ("is", "shape") if number == 1 else ("are", "shapes")
    return f"there {are} {NUMBERS[number]} {words} {shapes} on the left and right", holds


SAYINGS = (_each, _both, _count)


def stated(scenes: Sequence[Scene], *, each: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield statements: of every scene `each` sentences, each of two pairs in which it stands.

    Args:
        scenes: of a split.
        each: sentences of a scene; it is in turn the left and the right picture of their pairs.
        seed: of the split.
    """
    for picture in range(len(scenes)):
        stream = IntegerStream(KEY, seed, picture)
        for number in range(each):
            yield from _twins(stream, scenes, picture, on_left=number % 2 == 0)


def _twins(
    stream: IntegerStream, scenes: Sequence[Scene], picture: int, *, on_left: bool
) -> list[dict[str, Any]]:
    """Return a sentence of two pairs with a picture, one that it holds of and one that it does not, in any order."""

    def pair(other: int) -> tuple[int, int]:
        return (picture, other) if on_left else (other, picture)

    while True:
        first = stream.below(len(scenes))
        left, right = (scenes[one] for one in pair(first))
        text, holds = stream.choose(SAYINGS)(stream, left, right)
        if first == picture or not holds(left, right):
            continue
        for _ in range(TRIES):
            second = stream.below(len(scenes))
            if second != picture and not holds(*(scenes[one] for one in pair(second))):
                rows = [(pair(first), True), (pair(second), False)]
                stream.shuffle(rows)
                return [{"text": text, "left": a, "right": b, "holds": true} for (a, b), true in rows]
