"""Captions of a scene made false by one or two words: negatives so near that no drawing from a batch finds them.

As in the tests of Thrush et al. 2022 and the negatives of Yuksekgonul et al. 2023, section 4: the words stay, who is where or
how is exchanged; or one property is another.
"""

import re

from trainables.datasets.scenes.drawing import SHAPES, SIZE, Shape
from trainables.datasets.scenes.integers import IntegerStream
from trainables.datasets.scenes.language import COLOR_NAMES, OPPOSITE, SIZE_NAMES, region, relation

TURNED = {
    word: other
    for pair in (("left", "right"), ("above", "below"), ("top", "bottom"))
    for word, other in (pair, pair[::-1])
}
PROPERTIES = (COLOR_NAMES, SHAPES, SIZE_NAMES)
_THING = re.compile(rf"(?:({'|'.join(SIZE_NAMES)}) )?({'|'.join(COLOR_NAMES)}) ({'|'.join(SHAPES)})")
_RELATION = re.compile("|".join(OPPOSITE))
_CORNER = re.compile("in the (?:top|bottom) (?:left|right)")
_REGION = re.compile(rf"{_CORNER.pattern}|in the center|on the (?:left|right)|at the (?:top|bottom)")


def false_caption(stream: IntegerStream, scene: list[Shape], text: str, *, side: int = SIZE) -> str:
    """Return a caption with as many words that is not true of the scene, and could be of another one.

    Args:
        stream: draws what is changed: a direction is turned, or two words of a kind change places, or one becomes another.
        scene: 1 to 3 shapes.
        text: a true caption of it.
        side: of the picture.
    """
    words = text.split()
    edits = (_turn, _exchange, _replace)
    while True:
        edited = " ".join(stream.choose(edits)(stream, words))
        if _possible(edited) and not is_true(scene, edited, side=side):
            return edited


def is_true(scene: list[Shape], text: str, *, side: int = SIZE) -> bool:
    """Return whether what a caption says of things, their sizes, places and relations holds.

    How many there are, and that there is nothing else, is not looked at: no edit here touches it.

    Args:
        scene: 1 to 3 shapes.
        text: a caption of one of the four kinds.
        side: of the picture.
    """
    mentions = list(_THING.finditer(text))
    named = [_found(scene, *mention.groups()) for mention in mentions]
    there = [item for item in named if item is not None]
    if len(set(there)) < len(named):
        return False
    ends = [0, *(mention.end() for mention in mentions)]
    starts = [*(mention.start() for mention in mentions), len(text)]
    for number, (first, last) in enumerate(zip(ends, starts, strict=True)):
        said = text[first:last]
        place, stands = _REGION.search(said), _RELATION.search(said)
        if place and place[0] != region(there[max(0, number - 1)], side):
            return False
        if stands and number < len(there) and stands[0] != relation(there[0], there[number]):
            return False
    return True


def _found(scene: list[Shape], size: str | None, color: str, shape: str) -> Shape | None:
    for item in scene:
        if (COLOR_NAMES[item.color], SHAPES[item.shape]) == (color, shape):
            return item if size in (None, SIZE_NAMES[item.size]) else None
    return None


def _possible(text: str) -> bool:
    """Return whether there are such scenes: else a text would be known as false without a look."""
    things = [mention.groups()[1:] for mention in _THING.finditer(text)]
    corners = _CORNER.findall(text)  # each is a single cell
    return len(set(things)) == len(things) and len(set(corners)) == len(corners)


def _turn(stream: IntegerStream, words: list[str]) -> list[str]:
    places = [place for place, word in enumerate(words) if word in TURNED]
    if not places:
        return words
    chosen = stream.choose(places)
    return [TURNED[word] if place == chosen else word for place, word in enumerate(words)]


def _exchange(stream: IntegerStream, words: list[str]) -> list[str]:
    kind = stream.choose(PROPERTIES)
    places = [place for place, word in enumerate(words) if word in kind]
    if len(places) < 2:
        return words
    stream.shuffle(places)
    edited = list(words)
    edited[places[0]], edited[places[1]] = words[places[1]], words[places[0]]
    return edited


def _replace(stream: IntegerStream, words: list[str]) -> list[str]:
    kind = stream.choose(PROPERTIES)
    places = [place for place, word in enumerate(words) if word in kind]
    if not places:
        return words
    edited = list(words)
    edited[stream.choose(places)] = stream.choose(kind)
    return edited
