"""What is said about a scene: four kinds of captions, eight kinds of questions with one-word answers."""

from trainables.datasets.scenes.drawing import COLORS, SHAPES, SIZE, Shape
from trainables.datasets.scenes.integers import IntegerStream

COLOR_NAMES = tuple(COLORS)
SIZE_NAMES = ("small", "large")
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")
NUMBERS = ("zero", "one", "two", "three")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
QUESTION_KINDS = ("color", "shape", "size", "count_color", "count_shape", "exist", "relation", "where")
_OTHER_WORDS = (
    "yes no a the is are there of above below with and nothing else , : ? on at in shapes "
    "what color shape size how many object"
)
VOCABULARY = tuple(
    sorted({*COLOR_NAMES, *SHAPES, *SIZE_NAMES, *ROWS, *COLUMNS, *NUMBERS, *_OTHER_WORDS.split()})
)


def name(item: Shape, *, sized: bool = False) -> str:
    """Return `red ring`, or `small red ring`."""
    return f"{SIZE_NAMES[item.size] + ' ' if sized else ''}{COLOR_NAMES[item.color]} {SHAPES[item.shape]}"


def region(item: Shape, side: int = SIZE) -> str:
    """Return where in a picture of this side it stands, in words of a 3 x 3 grid."""
    row, column = ROWS[min(2, item.y * 3 // side)], COLUMNS[min(2, item.x * 3 // side)]
    if row == "middle" and column == "center":
        return "in the center"
    if row == "middle":
        return f"on the {column}"
    if column == "center":
        return f"at the {row}"
    return f"in the {row} {column}"


def relation(item: Shape, other: Shape) -> str:
    """Return where `item` stands seen from `other`, along the larger distance."""
    dx, dy = other.x - item.x, other.y - item.y
    if abs(dx) >= abs(dy):
        return "left of" if dx > 0 else "right of"
    return "above" if dy > 0 else "below"


def caption(stream: IntegerStream, scene: list[Shape], kind: int, *, side: int = SIZE) -> str:
    """Return a caption of one of four kinds: relation, counted list, regions, `the .. is .. the ..`.

    Args:
        stream: draws the order in which shapes are named.
        scene: 1 to 3 shapes.
        kind: 0 to 3.
        side: of the picture.
    """
    items = [scene[i] for i in stream.shuffled(len(scene))]
    first = items[0]
    if len(items) == 1:
        a, where = name(first, sized=True), region(first, side)
        return (
            f"a {a} {where}",
            f"there is a {a} {where}",
            f"{where} there is a {a}",
            f"one {a} {where} and nothing else",
        )[kind]
    if kind == 0:
        if len(items) == 2:
            return f"a {name(first, sized=True)} {relation(first, items[1])} a {name(items[1], sized=True)}"
        last = name(items[2], sized=True)
        return f"a {name(first)} {relation(first, items[1])} a {name(items[1])} and a {last}"
    if kind == 1:
        return f"{NUMBERS[len(items)]} shapes : " + " , ".join(name(item, sized=True) for item in items)
    if kind == 2:
        parts = [f"{name(item)} {region(item, side)}" for item in items]
        return " , ".join(parts[:-1]) + " and " + parts[-1]
    text = f"the {name(first)} is {relation(first, items[1])} the {name(items[1])}"
    if len(items) > 2:
        text += f" and {relation(first, items[2])} the {name(items[2])}"
    return text


def _exist(stream: IntegerStream, scene: list[Shape], item: Shape) -> tuple[str, str]:
    present = {(o.color, o.shape) for o in scene}
    color, shape = item.color, item.shape
    if stream.chance(50):  # a hard negative: colour of one object, shape of another
        shape = stream.choose(scene).shape
        if (color, shape) in present:
            if stream.chance(50):
                shape = stream.below(len(SHAPES))
            else:
                color, shape = stream.below(len(COLORS)), item.shape
    answer = "yes" if (color, shape) in present else "no"
    return f"is there a {COLOR_NAMES[color]} {SHAPES[shape]} ?", answer


def relation_question(
    stream: IntegerStream, scene: list[Shape], item: Shape, kind: str
) -> tuple[str, str] | None:
    """Return question and answer of the kind `relation` or `where` about a shape; None where the draw gives no clear one."""
    other = stream.choose(scene)
    if other is item:
        return None
    if kind == "relation":
        truth = relation(item, other)
        asked = truth if stream.chance(50) else OPPOSITE[truth]
        return f"is the {name(item)} {asked} the {name(other)} ?", "yes" if asked == truth else "no"
    side = relation(other, item)
    if sum(o.color == item.color for o in scene) > 1:
        return None
    if sum(relation(o, item) == side for o in scene if o is not item) > 1:
        return None
    side_text = side.removesuffix(" of") + " of"
    return f"what is {side_text} the {COLOR_NAMES[item.color]} object ?", SHAPES[other.shape]


def question(stream: IntegerStream, scene: list[Shape]) -> tuple[str, str, str]:
    """Return kind, question and answer; draws again until the answer is unambiguous."""
    while True:
        kind, item = stream.choose(QUESTION_KINDS), stream.choose(scene)
        same_color = sum(o.color == item.color for o in scene)
        same_shape = sum(o.shape == item.shape for o in scene)
        if kind == "color" and same_shape == 1:
            return kind, f"what color is the {SHAPES[item.shape]} ?", COLOR_NAMES[item.color]
        if kind == "shape" and same_color == 1:
            return kind, f"what shape is the {COLOR_NAMES[item.color]} object ?", SHAPES[item.shape]
        if kind == "size":
            return kind, f"what size is the {name(item)} ?", SIZE_NAMES[item.size]
        if kind == "count_color":
            color = item.color if stream.chance(80) else stream.below(len(COLORS))
            count = sum(o.color == color for o in scene)
            return kind, f"how many {COLOR_NAMES[color]} shapes are there ?", NUMBERS[count]
        if kind == "count_shape":
            shape = item.shape if stream.chance(80) else stream.below(len(SHAPES))
            count = sum(o.shape == shape for o in scene)
            return kind, f"how many {SHAPES[shape]} shapes are there ?", NUMBERS[count]
        if kind == "exist":
            return kind, *_exist(stream, scene, item)
        if kind in ("relation", "where") and len(scene) > 1:
            asked = relation_question(stream, scene, item, kind)
            if asked is not None:
                return kind, *asked
