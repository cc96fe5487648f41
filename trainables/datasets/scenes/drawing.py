"""What a scene is, and its picture: 1 to 3 shapes on a 64 x 64 noisy gradient."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from trainables.datasets.scenes.integers import IntegerStream

SIZE = 64
CELL = 16
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (46, 160, 67),
    "blue": (40, 90, 220),
    "yellow": (240, 215, 50),
    "purple": (140, 60, 190),
    "orange": (245, 140, 30),
    "cyan": (60, 205, 215),
    "white": (238, 238, 238),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
RADII = (5, 7)  # small, large
JITTER = 1
NUM_OBJECTS_PERCENT = (15, 40, 45)
SUPERSAMPLE = 4


@dataclass(frozen=True, slots=True)
class Manner:
    """How freely shapes lie in a picture.

    Attributes:
        jitter: pixels by which a centre may be off its cell's, either way.
        radii: least and largest radius of small and of large shapes.
        turn: degrees by which a shape may be turned, either way.
    """

    jitter: int
    radii: tuple[tuple[int, int], tuple[int, int]]
    turn: int


HARDER = Manner(jitter=3, radii=((4, 5), (7, 8)), turn=20)


def plain() -> Manner:
    """Return how the scenes of the embedded task lie."""
    return Manner(jitter=JITTER, radii=((RADII[0], RADII[0]), (RADII[1], RADII[1])), turn=0)


@dataclass(frozen=True, slots=True)
class Shape:
    """One object: colour, shape and size as indices, centre in pixels; how it is drawn beside that.

    Attributes:
        radius: in pixels; 0 for that of its size in a plain scene.
        turn: degrees, clockwise.
    """

    color: int
    shape: int
    size: int
    x: int
    y: int
    radius: int = 0
    turn: int = 0

    def numbers(self) -> tuple[int, ...]:
        """Return the five integers that describe it."""
        return (self.color, self.shape, self.size, self.x, self.y)


def _num_objects(stream: IntegerStream) -> int:
    draw = stream.below(100)
    for count, share in enumerate(NUM_OBJECTS_PERCENT, start=1):
        if draw < share:
            return count
        draw -= share
    return len(NUM_OBJECTS_PERCENT)


def _look(stream: IntegerStream, scene: list[Shape]) -> tuple[int, int] | None:
    """Return colour and shape, half of the time one of them as an earlier object's: binding is needed."""
    color, shape = stream.below(len(COLORS)), stream.below(len(SHAPES))
    if scene and stream.chance(50):
        other = stream.choose(scene)
        if stream.chance(50):
            color = other.color
        else:
            shape = other.shape
    taken = {(o.color, o.shape) for o in scene}
    if (color, shape) in taken:
        color = (color + 1 + stream.below(len(COLORS) - 1)) % len(COLORS)
    return None if (color, shape) in taken else (color, shape)


def _inside(place: int, radius: int) -> int:
    """Return the place moved so that the whole sprite, its soft edge included, lies in the picture."""
    return min(max(place, radius + 1), SIZE - radius - 2)


def _within(stream: IntegerStream, low: int, high: int) -> int:
    """Return an integer in low..high; where there is one alone nothing is drawn of the stream, as in plain scenes."""
    return low if low == high else stream.between(low, high)


def draw_scene(stream: IntegerStream, manner: Manner | None = None) -> list[Shape]:
    """Return 1 to 3 shapes, each with its centre in a cell of its own, no (colour, shape) twice.

    Args:
        stream: of integers.
        manner: how freely they lie; None for plain scenes.
    """
    how = manner or plain()
    count = _num_objects(stream)
    while True:
        scene: list[Shape] = []
        for cell in stream.shuffled(16)[:count]:
            size = stream.below(2)
            radius = _within(stream, *how.radii[size])
            x = _inside(cell % 4 * CELL + CELL // 2 + stream.between(-how.jitter, how.jitter), radius)
            y = _inside(cell // 4 * CELL + CELL // 2 + stream.between(-how.jitter, how.jitter), radius)
            turn = _within(stream, -how.turn, how.turn)
            look = _look(stream, scene)
            if look is None:
                break
            scene.append(Shape(look[0], look[1], size, x, y, radius, turn))
        if len(scene) == count:
            return scene


@cache
def coverage(shape: int, radius: int, turn: int = 0) -> np.ndarray:
    """Return how many of 16 sub-pixels each pixel of the sprite covers, (2r + 3, 2r + 3) int64.

    Args:
        shape: number of the outline.
        radius: in pixels.
        turn: degrees, clockwise as it is seen.
    """
    n = 2 * radius + 3
    axis = ((np.arange(n * SUPERSAMPLE) + 0.5) / SUPERSAMPLE - n / 2) / radius
    x, y = np.meshgrid(axis, axis)
    if turn:
        cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        x, y = cosine * x + sine * y, cosine * y - sine * x
    distance = np.hypot(x, y)
    name = SHAPES[shape]
    if name == "circle":
        inside = distance <= 0.95
    elif name == "ring":
        inside = (distance <= 1) & (distance >= 0.55)
    elif name == "square":
        inside = (abs(x) <= 0.8) & (abs(y) <= 0.8)
    elif name == "triangle":
        inside = (y <= 0.62) & (y >= 1.75 * abs(x) - 0.95)
    elif name == "cross":
        inside = ((abs(x) <= 0.33) & (abs(y) <= 0.95)) | ((abs(y) <= 0.33) & (abs(x) <= 0.95))
    else:
        ray = np.abs(((np.arctan2(x, -y) / (2 * math.pi / 5) + 0.5) % 1) - 0.5) * 2
        inside = distance <= 1.0 - 0.58 * np.minimum(1, ray * 1.15)
    return inside.reshape(n, SUPERSAMPLE, n, SUPERSAMPLE).sum(axis=(1, 3)).astype(np.int64)


def render(stream: IntegerStream, scene: list[Shape]) -> np.ndarray:
    """Return the picture (64, 64, 3) uint8: gradient, shapes of jittered colours, luminance noise +-8."""
    ends = [[stream.between(20, 95) for _ in range(3)] for _ in range(2)]
    ramp = np.arange(SIZE, dtype=np.int64)
    ramp = ramp[None, :] if stream.chance(50) else ramp[:, None]
    start, end = np.array(ends[0]), np.array(ends[1])
    image = start + (end - start) * ramp[..., None] // (SIZE - 1) + np.zeros((SIZE, SIZE, 1), dtype=np.int64)
    full = SUPERSAMPLE * SUPERSAMPLE
    for item in scene:
        # the sum of four uniform draws in -8..8 has a standard deviation of 9.8
        color = np.array(
            [
                min(255, max(0, channel + sum(stream.between(-8, 8) for _ in range(4))))
                for channel in list(COLORS.values())[item.color]
            ]
        )
        radius = item.radius or RADII[item.size]
        reach = radius + 1
        cover = coverage(item.shape, radius, item.turn)[..., None]
        box = image[item.y - reach : item.y + reach + 1, item.x - reach : item.x + reach + 1]
        box += (color - box) * cover // full
    image += stream.grid(SIZE * SIZE, -8, 8).reshape(SIZE, SIZE, 1)
    return np.clip(image, 0, 255).astype(np.uint8)
