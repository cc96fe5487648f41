"""From relative to absolute: the student's sizes, what rounding did to them, and what cannot be built.

Rules. A relative width goes to the nearest multiple of the heads where heads are absolute, else of the
teacher's head dimension; a relative head count to the nearest divisor of the width; depths, fusion layers and
embedding to the nearest whole number, at least 1. Halves go up. Absolute values are never changed.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from spaces.candidate import TeacherFacts
from spaces.domains import relative
from spaces.errors import IllegalCandidate

# Path of the field to change, and the rest of the message.
Misfit = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Side:
    """The teacher's image or text encoder."""

    name: str
    width: int
    depth: int
    heads: int

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


def side(name: str, facts: TeacherFacts) -> Side:
    """Return the teacher's `image` or `text` side."""
    if name == "image":
        return Side(name, facts.image_width, facts.image_depth, facts.image_heads)
    return Side(name, facts.text_width, facts.text_depth, facts.text_heads)


def nearest(exact: Fraction, step: int = 1) -> int:
    """Return the multiple of `step` nearest to `exact`, at least one step; halves go up."""
    return max(int(exact / step + Fraction(1, 2)), 1) * step


def resolve_width(value: Any, heads: Any, teacher: Side) -> int:
    """Return the absolute width of an encoder."""
    factor = relative(value)
    return int(value) if factor is None else nearest(factor * teacher.width, width_step(heads, teacher))


def width_step(heads: Any, teacher: Side) -> int:
    """Return what a relative width is rounded to a multiple of."""
    return int(heads) if heads is not None and relative(heads) is None else teacher.head_dim


def resolve_heads(value: Any, width: int, teacher: Side) -> int:
    """Return the absolute number of heads; None means the teacher's head dimension."""
    if value is None:
        return max(width // teacher.head_dim, 1)
    factor = relative(value)
    if factor is None:
        return int(value)
    exact = factor * teacher.heads
    divisors = [count for count in range(1, width + 1) if width % count == 0]
    return min(divisors, key=lambda count: (abs(count - exact), -count))


def resolve_count(value: Any, teacher_count: int) -> int:
    """Return an absolute depth, number of fusion layers or embedding size."""
    factor = relative(value)
    return int(value) if factor is None else nearest(factor * teacher_count)


def width_misfit(width: int, heads: int, *, teacher: Side) -> Misfit | None:
    """Return why an encoder of this width and these heads cannot be built, or None."""
    if width % heads == 0:
        return None
    below, above = width - width % heads, width - width % heads + heads
    use = f"width {below} or {above}" if below else f"width {above}"
    rule = f"width must be a multiple of heads. Use {use}, or set other heads."
    return f"student.{teacher.name}.heads", f"got {heads} with width {width}; {rule}"


def inherit_misfit(width: int, depth: int, *, init: str, teacher: Side) -> Misfit | None:
    """Return why an encoder cannot take the teacher's layers and width slices, or None."""
    if init != "inherit" or (width <= teacher.width and depth <= teacher.depth):
        return None
    allowed = f"at most the teacher's width {teacher.width} and depth {teacher.depth}"
    return (
        f"student.{teacher.name}.init",
        f"got inherit with width {width} and depth {depth}; allowed: {allowed}. Lower them, or use random.",
    )


def fusion_misfit(layers: int, text_depth: int) -> Misfit | None:
    """Return why so many fusion layers do not fit, or None."""
    if layers <= text_depth:
        return None
    return (
        "student.fusion.layers",
        f"got {layers} with text depth {text_depth}; allowed: 0..{text_depth}. "
        "Lower student.fusion.layers or raise student.text.depth.",
    )


def _refuse(*misfits: Misfit | None) -> None:
    """Raise the first misfit there is."""
    for path, text in filter(None, misfits):
        raise IllegalCandidate(f"{path}: {text}")


def _encoder(fields: dict[str, Any], teacher: Side) -> dict[str, Any]:
    """Return an encoder section with absolute sizes."""
    width = resolve_width(fields["width"], fields["heads"], teacher)
    depth = resolve_count(fields["depth"], teacher.depth)
    heads = resolve_heads(fields["heads"], width, teacher)
    _refuse(
        width_misfit(width, heads, teacher=teacher),
        inherit_misfit(width, depth, init=fields["init"], teacher=teacher),
    )
    return {**fields, "width": width, "depth": depth, "heads": heads}


def resolve_student(student: dict[str, Any], facts: TeacherFacts) -> dict[str, Any]:
    """Return the student section with absolute sizes.

    Args:
        student: literals, some of them relative.
        facts: the teacher.

    Raises:
        IllegalCandidate: sizes that do not fit together; the message is the reason.
    """
    image = _encoder(student["image"], side("image", facts))
    text = _encoder(student["text"], side("text", facts))
    layers = resolve_count(student["fusion"]["layers"], facts.fusion_layers)
    _refuse(fusion_misfit(layers, text["depth"]))
    return {
        **student,
        "image": image,
        "text": text,
        "fusion": {**student["fusion"], "layers": layers},
        "embedding": resolve_count(student["embedding"], facts.embedding),
    }
