"""What a student of this family begins with, side by side."""

from typing import Any

from trainables.families.blip.inherit import inherit_image, inherit_text
from trainables.families.blip.options import IMPORTANCE, INHERIT, PRETRAINED, BlipOptions
from trainables.families.blip.order import SLICES, Order, by_importance
from trainables.families.blip.pretrained_image import load_image
from trainables.families.blip.pretrained_text import load_text
from trainables.families.origin import Origin
from trainables.layers import evenly_spaced

TAKEN = {INHERIT: "leading entries", IMPORTANCE: "most important entries"}


def begin(student: Any, origin: Origin, config: BlipOptions) -> tuple[str, ...]:
    """Overwrite those sides that are to begin with other weights than fresh ones; return whence, a sentence each.

    Of a teacher of several parts the decoder is that of the part that decodes.

    Args:
        student: a `Blip` with fresh weights.
        origin: what there is.
        config: what is asked for.
    """
    parent: Any = origin.teacher
    source, notes = getattr(parent, "first", parent), list[str]()
    orders = {"image": SLICES, "text": SLICES}
    for side in orders:
        asked = getattr(config, side).init
        if asked == IMPORTANCE:
            orders[side] = _order(side, origin, student, source)
        if asked in TAKEN:
            mine, theirs = (getattr(one.architecture, side).depth for one in (student, source))
            layers = ", ".join(map(str, evenly_spaced(mine, theirs)))
            notes.append(f"{side} side: begins with the {TAKEN[asked]} of the teacher's layers {layers}")
    if config.image.init in TAKEN:
        inherit_image(student, source, orders["image"])
    if config.text.init in TAKEN:
        decoding = getattr(parent, "decoding", parent)
        seen = orders["image"].channels
        inherit_text(student, source, decoding=decoding, order=orders["text"], seen=seen)
    if config.image.init == PRETRAINED:
        notes += load_image(student, origin.published(str(config.image.weights), "image"))
    if config.text.init == PRETRAINED:
        notes += load_text(student, origin.published(str(config.text.weights), "text"), origin.tokens())
    return tuple(notes)


def _order(side: str, origin: Origin, student: Any, teacher: Any) -> Order:
    mine, theirs = student.architecture, teacher.architecture
    return by_importance(side, origin.importance(), getattr(mine, side), getattr(theirs, side))
