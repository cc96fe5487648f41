"""What `student:` of a space says about students of two sides, and what their sizes follow from beside it. Pure Python."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from spaces.domains import relative
from spaces.errors import IllegalCandidate, PluginError, ShapeError
from spaces.plugins import listed
from spaces.rules import Number, show
from spaces.sizes import resolve_count
from trainables.configs import made_config, plain
from trainables.families.base import Resolved, Surroundings
from trainables.families.two_sided.architecture import (
    IMAGE,
    TEXT,
    TOKENS,
    Read,
    VectorSizes,
    meaning_of,
)
from trainables.signals import Want

Size = int | str
Auto = Literal[True, False, "auto"]
Settle = Callable[[dict[str, Any], list[str]], None]
"""Change options in place for a family's own reasons, and append a sentence for each rounding."""
# Against slips: what is larger than this is no small student, and fills a machine before anybody is told.
WIDEST, TIMES = 2**16, 100
WHY = "students are smaller than their teachers, and no model is that large"
EMBEDDING = {"rule": Number(whole=True, low=1, high=WIDEST, relative=True, most_times=TIMES, why=WHY)}
COUNT = {"rule": Number(whole=True, low=1, high=WIDEST, why=WHY)}
BLOCKS = {"rule": Number(whole=True, low=1, high=1000, why=WHY)}
BOTTLENECK_WIDTH, EMBEDDING_WIDTH = 128, 256  # those that the report's sizes follow from


@dataclass(frozen=True, kw_only=True)
class SideOptions:
    """What students of two sides have in common.

    Attributes:
        embedding: width E of the joint embedding; relative to the teacher's own.
        text: whether there is a text side; `auto` follows the teacher.
        classifier: whether it also says logits over the classes of the data.
    """

    embedding: Size = field(default=256, metadata=EMBEDDING)
    text: Auto = "auto"
    classifier: bool = False


def resolved(
    config_class: type, options: Mapping[str, Any], sizes: Mapping[str, int], settle: Settle
) -> Resolved:
    """Return the options with an absolute embedding; see `Family.resolve`.

    Args:
        config_class: of the family; it extends `SideOptions`.
        options: literal.
        sizes: the teacher's.
        settle: the family's own part, run first.

    Raises:
        IllegalCandidate: an option that the family does not take, or an embedding that cannot be made absolute.
    """
    try:
        found = plain(made_config(config_class, options, "student"))
    except PluginError as error:
        raise illegal(*_split(str(error))) from error
    notes: list[str] = []
    settle(found, notes)
    found["embedding"] = _embedding(found["embedding"], sizes, notes)
    return Resolved(options=found, roundings=notes)


def illegal(path: str, text: str) -> IllegalCandidate:
    """Return the error for one option of the student."""
    return IllegalCandidate(f"student.{path}: {text}" if path else f"student: {text}", [(path, text)])


def text_of(choice: bool | str, what: str, around: Surroundings) -> Read | None:
    """Return what the text side reads of the teacher; None without one.

    Args:
        choice: the option `text`; `auto` is true where the teacher says anything about captions.
        what: embedding, pooled or joint.
        around: the student's surroundings.

    Raises:
        ShapeError: a text side is asked for, and the teacher does not say what it would read.
    """
    has_text = any(want.mode == TEXT for want in around.offers)
    if choice is True and not has_text:
        raise ShapeError(
            "student.text: got true, and this teacher says nothing about texts; allowed with it: false or auto. "
            "Change it, or take a teacher of pictures and texts."
        )
    return read_of(TEXT, what, around) if has_text and choice is not False else None


def read_of(mode: str, what: str, around: Surroundings) -> Read:
    """Return a signal of the teacher as what a side reads.

    Raises:
        ShapeError: the teacher does not say it.
    """
    want = Want(mode, what)
    if want not in around.offers:
        said = sorted({str(Want(one.mode, one.what)) for one in around.offers})
        remedy = "set text: false, or" if mode == TEXT else "or"
        raise ShapeError(
            f"student: got a kind that reads {want} of its teacher, and this teacher does not say it; it says "
            f"{listed(said, 'nothing')}. Change kind or feature, {remedy} take another teacher."
        )
    return Read(what=what, sizes=around.offers[want].sizes)


def vectors_of(
    feature: str, text: bool | str, around: Surroundings
) -> tuple[VectorSizes, VectorSizes | None]:
    """Return both sides of a head that reads one vector of the teacher on each: its embedding, or its pooled feature.

    Raises:
        ShapeError: the teacher does not say it.
    """
    image, words = read_of(IMAGE, feature, around), text_of(text, feature, around)
    return VectorSizes(read=image), None if words is None else VectorSizes(read=words)


def behind(config: SideOptions, around: Surroundings) -> dict[str, Any]:
    """Return the architecture's fields for embedding and classifier.

    Raises:
        ShapeError: a classifier for data without classes, or a relative embedding.
    """
    if not isinstance(config.embedding, int):
        raise ShapeError(
            f"student.embedding: got {show(config.embedding)}; allowed in a candidate: a whole number. Give that."
        )
    if config.classifier and not around.classes:
        raise ShapeError(
            "student.classifier: got true, and this data has no classes; allowed with it: false. "
            "Change it, or give data with labels."
        )
    classes = around.classes if config.classifier else ()
    return {"embedding": config.embedding, "classes": len(classes), "meaning": meaning_of(classes)}


def divisible(width: int, heads: int) -> None:
    """Accept a number of heads that divides a width.

    Raises:
        ShapeError: it does not.
    """
    if width % heads:
        fitting = [count for count in range(1, width + 1) if width % count == 0]
        raise ShapeError(
            f"student.heads: got {heads}, and the teacher's {TOKENS} tokens are {width} wide; allowed: a divisor of "
            f"that, {listed(map(str, fitting))}. Change it."
        )


def _embedding(value: Any, sizes: Mapping[str, int], notes: list[str]) -> int:
    """Return the embedding, absolute; note what was rounded.

    Raises:
        IllegalCandidate: relative to a teacher that has none, or wider than anybody means.
    """
    factor = relative(value)
    if factor is None:
        return int(value)
    if "embedding" not in sizes:
        raise illegal("embedding", f"got {value}, and this teacher has no embedding. Give a whole number.")
    whole = sizes["embedding"]
    absolute = resolve_count(value, whole)
    if absolute > WIDEST:
        raise illegal(
            "embedding", f"got {value}, which is {absolute}; allowed: at most {WIDEST}. Lower it: {WHY}."
        )
    if factor * whole != absolute:
        notes.append(f"student.embedding {value} of {whole} -> {absolute} (whole number, at least 1)")
    return absolute


def _split(message: str) -> tuple[str, str]:
    """Return the option that a message about `student.NAME` is about, and the rest of the message."""
    name, colon, rest = message.removeprefix("student.").partition(": ")
    return (name, rest) if colon and name.isidentifier() else ("", message.removeprefix("student: "))
