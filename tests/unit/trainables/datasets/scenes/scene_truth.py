"""Whether a sentence about a scene is true: a second reading of the words, on nothing but the integers of a scene."""

import re
from dataclasses import dataclass

COLORS = ["red", "green", "blue", "yellow", "purple", "orange", "cyan", "white"]
SHAPES = ["circle", "square", "triangle", "star", "cross", "ring"]
SIZES = ["small", "large"]
NUMBERS = ["zero", "one", "two", "three"]
RELATIONS = "left of|right of|above|below"
OBJECT = rf"(?:(?:{'|'.join(SIZES)}) )?(?:{'|'.join(COLORS)}) (?:{'|'.join(SHAPES)})"
REGION = r"in the center|on the (?:left|right)|at the (?:top|bottom)|in the (?:top|bottom) (?:left|right)"


@dataclass(frozen=True)
class Thing:
    """One shape of a scene, in words, with its place."""

    color: str
    shape: str
    size: str
    x: int
    y: int

    @property
    def region(self) -> str:
        """Where it stands in a 3 x 3 grid over 64 x 64 pixels."""
        column = "left" if self.x / 64 < 1 / 3 else "right" if self.x / 64 >= 2 / 3 else ""
        row = "top" if self.y / 64 < 1 / 3 else "bottom" if self.y / 64 >= 2 / 3 else ""
        if row and column:
            return f"in the {row} {column}"
        return f"at the {row}" if row else f"on the {column}" if column else "in the center"


def things(numbers: list[int]) -> list[Thing]:
    """Return the shapes that five integers each describe."""
    assert len(numbers) % 5 == 0
    return [
        Thing(COLORS[c], SHAPES[s], SIZES[z], x, y)
        for c, s, z, x, y in (numbers[i : i + 5] for i in range(0, len(numbers), 5))
    ]


def stands(a: Thing, relation: str, b: Thing) -> bool:
    """Return whether `a` stands so from `b`, along the larger distance (sideways where both are equal)."""
    right, down = a.x - b.x, a.y - b.y
    if abs(right) >= abs(down):
        return relation == ("right of" if right > 0 else "left of") and right != 0
    return relation == ("below" if down > 0 else "above")


def find(scene: list[Thing], words: str) -> Thing | None:
    """Return the thing that `small red ring` or `red ring` names, if it is there exactly once."""
    *size, color, shape = words.split()
    found = [t for t in scene if (t.color, t.shape) == (color, shape) and (not size or t.size == size[0])]
    return found[0] if len(found) == 1 else None


def caption_is_true(scene: list[Thing], text: str) -> bool:
    """Return whether a caption holds; False for one that this grammar does not know."""
    if len(scene) == 1:
        only = scene[0]
        for pattern in (
            rf"a ({OBJECT}) ({REGION})",
            rf"there is a ({OBJECT}) ({REGION})",
            rf"(?P<w>{REGION}) there is a (?P<o>{OBJECT})",
            rf"one ({OBJECT}) ({REGION}) and nothing else",
        ):
            if match := re.fullmatch(pattern, text):
                words, where = (match["o"], match["w"]) if "o" in match.groupdict() else match.groups()
                return find(scene, words) is only and where == only.region
        return False
    if match := re.fullmatch(rf"(\w+) shapes : ({OBJECT}(?: , {OBJECT})*)", text):
        named = [find(scene, words) for words in match[2].split(" , ")]
        return match[1] == NUMBERS[len(scene)] and None not in named and set(named) == set(scene)
    if match := re.fullmatch(rf"a ({OBJECT}) ({RELATIONS}) a ({OBJECT})(?: and a ({OBJECT}))?", text):
        first, second = find(scene, match[1]), find(scene, match[3])
        third = {find(scene, match[4])} if match[4] else set()
        everything = {first, second} | third == set(scene)
        return everything and first is not None and second is not None and stands(first, match[2], second)
    if match := re.fullmatch(
        rf"the ({OBJECT}) is ({RELATIONS}) the ({OBJECT})(?: and ({RELATIONS}) the ({OBJECT}))?", text
    ):
        first = find(scene, match[1])
        claims = [(match[2], match[3])] + ([(match[4], match[5])] if match[4] else [])
        others = [(relation, find(scene, words)) for relation, words in claims]
        everything = {first, *(other for _, other in others)} == set(scene)
        return everything and all(first and other and stands(first, how, other) for how, other in others)
    parts = re.split(" , | and ", text)
    matches = [re.fullmatch(rf"({OBJECT}) ({REGION})", part) for part in parts]
    if not all(matches):
        return False
    placed = {find(scene, m[1]): m[2] for m in matches if m}
    return set(placed) == set(scene) and all(
        thing and thing.region == place for thing, place in placed.items()
    )


def answer(scene: list[Thing], kind: str, question: str) -> str | None:
    """Return the one right answer, or None where the question is ambiguous or of another form than its kind."""
    pattern = {
        "color": rf"what color is the ({'|'.join(SHAPES)}) \?",
        "shape": rf"what shape is the ({'|'.join(COLORS)}) object \?",
        "size": rf"what size is the ({OBJECT}) \?",
        "count_color": rf"how many ({'|'.join(COLORS)}) shapes are there \?",
        "count_shape": rf"how many ({'|'.join(SHAPES)}) shapes are there \?",
        "exist": rf"is there a ({OBJECT}) \?",
        "relation": rf"is the ({OBJECT}) ({RELATIONS}) the ({OBJECT}) \?",
        "where": rf"what is ({RELATIONS})(?: of)? the ({'|'.join(COLORS)}) object \?",
    }[kind]
    match = re.fullmatch(pattern, question)
    if match is None:
        return None
    word = match[1]
    if kind in ("color", "shape"):
        said = [t.color if kind == "color" else t.shape for t in scene if word in (t.color, t.shape)]
        return said[0] if len(said) == 1 else None
    if kind.startswith("count"):
        return NUMBERS[sum(word in (t.color, t.shape) for t in scene)]
    if kind == "exist":
        return "yes" if any(word == f"{t.color} {t.shape}" for t in scene) else "no"
    if kind == "where":
        centre = [t for t in scene if t.color == match[2]]
        near = [t for t in scene if len(centre) == 1 and t is not centre[0] and stands(t, word, centre[0])]
        return near[0].shape if len(near) == 1 else None
    first = find(scene, word)
    if first is None or kind == "size":
        return first.size if first else None
    second = find(scene, match[3])
    return None if second is None else "yes" if stands(first, match[2], second) else "no"
