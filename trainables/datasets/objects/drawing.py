"""What a picture of objects is: one large shape, which gives the class, and one or two small ones, on a 48 x 48 ground.

Each shape has the colours and the outlines of `scenes`. What a class does not tell, and what a picture of one class
differs in: place, size, shade, ground, noise, and the small shapes, which have colours and outlines of the same lists, so that a
model must tell which one is large, and read two of its attributes.
"""

import numpy as np

from trainables.datasets.scenes.drawing import COLORS, SHAPES, SUPERSAMPLE, Shape, coverage
from trainables.datasets.scenes.integers import IntegerStream

SIZE = 48
CLASS_COLORS = tuple(COLORS)[:4]
CLASSES = tuple(f"{color} {shape}" for color in CLASS_COLORS for shape in SHAPES)
SMALL, LARGE = 0, 1  # `Shape.size`, told in these words by captions
RADII = ((4, 5), (9, 12))  # least and largest of small and large shapes
TWO_SMALL_PERCENT = 60
GROUND = (20, 150)  # luminance at the two ends of its gradient
TINT = 12  # largest departure of a channel from it
SHADE = 12  # of each of the four draws that are summed: a standard deviation of 14
NOISE = 10
APART = 2  # pixels between two outlines


class Thing:
    """A shape with its radius in pixels."""

    __slots__ = ("radius", "shape")

    def __init__(self, shape: Shape, radius: int) -> None:
        self.shape = shape
        self.radius = radius

    def numbers(self) -> tuple[int, ...]:
        """Return the six integers that describe it."""
        return (*self.shape.numbers(), self.radius)


def label_of(numbers: tuple[int, ...] | list[int]) -> int:
    """Return the class that a picture's integers tell; the large object comes first."""
    return numbers[0] * len(SHAPES) + numbers[1]


def _place(stream: IntegerStream, size: int, look: tuple[int, int]) -> Thing:
    """Return a shape that lies in the picture whole, its soft edge included."""
    radius = stream.between(*RADII[size])
    x, y = (stream.between(radius + 1, SIZE - radius - 2) for _ in range(2))
    return Thing(Shape(color=look[0], shape=look[1], size=size, x=x, y=y), radius)


def _apart(one: Thing, other: Thing) -> bool:
    least = one.radius + other.radius + APART
    return abs(one.shape.x - other.shape.x) > least or abs(one.shape.y - other.shape.y) > least


def draw_objects(stream: IntegerStream) -> list[Thing]:
    """Return the large shape, then one or two small ones; none overlap, no (colour, outline) comes twice."""
    num_small = 2 if stream.chance(TWO_SMALL_PERCENT) else 1
    label = stream.below(len(CLASSES))
    while True:
        things = [_place(stream, LARGE, divmod(label, len(SHAPES)))]
        for _ in range(num_small):
            look = divmod(stream.below(len(CLASSES)), len(SHAPES))
            thing = _place(stream, SMALL, look)
            fits = all(_apart(thing, other) for other in things)
            if not fits or look in {(other.shape.color, other.shape.shape) for other in things}:
                break
            things.append(thing)
        if len(things) == num_small + 1:
            return things


def _ground(stream: IntegerStream) -> np.ndarray:
    """Return a gradient (S, S, 3) int64, almost grey, along one of the two axes."""
    ends = []
    for _ in range(2):
        luminance = stream.between(*GROUND)
        ends.append(np.array([luminance + stream.between(-TINT, TINT) for _ in range(3)]))
    ramp = np.arange(SIZE, dtype=np.int64)
    ramp = ramp[None, :] if stream.chance(50) else ramp[:, None]
    gradient: np.ndarray = ends[0] + (ends[1] - ends[0]) * ramp[..., None] // (SIZE - 1)
    return gradient + np.zeros((SIZE, SIZE, 1), dtype=np.int64)


def render(stream: IntegerStream, things: list[Thing]) -> np.ndarray:
    """Return the picture (48, 48, 3) uint8: ground, shapes of jittered colours, noise of the luminance."""
    image = _ground(stream)
    for thing in things:
        item, reach = thing.shape, thing.radius + 1
        color = np.array(
            [
                min(255, max(0, channel + sum(stream.between(-SHADE, SHADE) for _ in range(4))))
                for channel in COLORS[CLASS_COLORS[item.color]]
            ]
        )
        box = image[item.y - reach : item.y + reach + 1, item.x - reach : item.x + reach + 1]
        box += (color - box) * coverage(item.shape, thing.radius)[..., None] // SUPERSAMPLE**2
    image += stream.grid(SIZE * SIZE, -NOISE, NOISE).reshape(SIZE, SIZE, 1)
    return np.clip(image, 0, 255).astype(np.uint8)
