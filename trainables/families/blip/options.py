"""What `student:` of a space says about a student of this family, and its absolute sizes. Pure Python.

Rules. A relative width goes to the nearest multiple of the heads where heads are absolute, else of the teacher's head
dimension; a relative head count to the nearest divisor of the width; depths, fusion layers and embedding to the nearest
whole number, at least 1; fusion layers also at most the student's text layers, since no more can hold cross-attention.
Halves go up. Absolute values are never changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from spaces.domains import relative
from spaces.errors import IllegalCandidate, ShapeError
from spaces.paths import is_there, settled
from spaces.rules import Beside, Number, show
from spaces.sizes import resolve_count, resolve_heads, resolve_width
from trainables.configs import YOUNGER, made_config, plain
from trainables.families.base import Resolved

Size = int | str
# Against slips: what is larger than this is no small student, and fills a machine before anybody is told.
WIDEST, DEEPEST, TIMES = 2**16, 1000, 100
_WHY = "students are smaller than their teachers, and no model is that large"
WIDTH = {"rule": Number(whole=True, low=1, high=WIDEST, relative=True, most_times=TIMES, why=_WHY)}
DEPTH = {"rule": Number(whole=True, low=1, high=DEEPEST, relative=True, most_times=TIMES, why=_WHY)}
HEADS = {"rule": Number(whole=True, low=1, high=WIDEST, relative=True, most_times=TIMES, null=True, why=_WHY)}
LAYERS = {"rule": Number(whole=True, low=0, high=DEEPEST, relative=True, most_times=TIMES, why=_WHY)}
RATIO = {"rule": Number(low=0, open_low=True, high=64, why="4 is usual, and no model has more than 8")}

INHERIT, IMPORTANCE, PRETRAINED = "inherit", "importance", "pretrained"
WEIGHTS = {"beside": Beside("init", PRETRAINED), **YOUNGER}
DROPPED = {"rule": Number(low=0, high=1, open_high=True), **YOUNGER}

Problem = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """Image or text side of the student.

    Attributes:
        width: D; a multiple of the heads.
        depth: layers.
        heads: null follows the teacher's head dimension.
        mlp_ratio: width of the feed-forward part over D.
        init: `inherit` starts from the teacher's layers and the leading entries of its weights, `importance` from those entries
            that matter most of its heads, neurons and channels; such a side can be no larger than the teacher's. `pretrained`
            starts from `weights`, and has their width and heads.
        weights: where they lie, for `init: pretrained`. Image: a name or folder of timm, or a file. Text: a folder or hub id of
            the BERT kind, with its tokenizer.
        checkpoint_activations: layers are computed again in the backward pass instead of kept: the same gradients, less memory.
    """

    width: Size = field(metadata=WIDTH)
    depth: Size = field(metadata=DEPTH)
    heads: Size | None = field(default=None, metadata=HEADS)
    mlp_ratio: float = field(default=4.0, metadata=RATIO)
    init: Literal["random", "inherit", "importance", "pretrained"] = "random"
    weights: str | None = field(default=None, metadata=WEIGHTS)
    checkpoint_activations: bool = field(default=False, metadata=YOUNGER)


@dataclass(frozen=True, kw_only=True)
class ImageOptions(EncoderOptions):
    """Image side of the student.

    Attributes:
        drop_path: share of examples that skip the last layer in training, growing from 0 of the first; BLIP 0, and 0.1 in
            fine-tuning for questions and statements.
    """

    drop_path: float = field(default=0.0, metadata=DROPPED)


@dataclass(frozen=True, kw_only=True)
class TextOptions(EncoderOptions):
    """Text side of the student.

    Attributes:
        dropout: of states and attention maps in training, where BERT has it; BLIP 0.1.
    """

    dropout: float = field(default=0.0, metadata=DROPPED)


@dataclass(frozen=True, kw_only=True)
class FusionOptions:
    """Which text layers hold cross-attention.

    Attributes:
        layers: how many; 0 is a dual encoder, which neither answers nor captions.
        placement: the first, the last, or evenly spread.
        two_pictures: statements are read with two pictures, too, which the task `nlvr2` needs.
    """

    layers: Size = field(metadata=LAYERS)
    placement: Literal["last", "first", "even"] = "last"
    two_pictures: bool = False


@dataclass(frozen=True, kw_only=True)
class BlipOptions:
    """A student of this family.

    Attributes:
        image, text: its two sides.
        fusion: where they meet.
        embedding: width E of the joint embedding.
    """

    image: ImageOptions
    text: TextOptions
    fusion: FusionOptions
    embedding: Size = field(default="1x", metadata=WIDTH)


def resolved(options: Mapping[str, Any], sizes: Mapping[str, int]) -> Resolved:
    """Return the options with absolute sizes; see `Family.resolve`.

    Raises:
        IllegalCandidate: parts that do not fit together.
    """
    given = plain(made_config(BlipOptions, options, "student"))
    notes: list[str] = []
    problems: list[Problem] = []
    for side in ("image", "text"):
        given[side] = _encoder(given[side], side, sizes, notes, problems)
    depth = given["text"]["depth"]
    layers = _fusion_layers(given["fusion"]["layers"], depth, sizes, notes)
    if layers > depth:
        problems.append(
            (
                "fusion.layers",
                f"got {layers} with text depth {depth}; allowed: 0..{depth}. "
                "Lower student.fusion.layers or raise student.text.depth.",
            )
        )
    second = given["fusion"]["two_pictures"] and layers > 0
    given["fusion"] = {"layers": layers, "placement": given["fusion"]["placement"] if layers else "last"}
    if second:  # what is switched off does not enter the id of a candidate
        given["fusion"]["two_pictures"] = True
    given["embedding"] = _count(given["embedding"], "embedding", sizes, notes)
    if problems:
        path, text = problems[0]
        raise IllegalCandidate(f"student.{path}: {text}", problems)
    return Resolved(options=given, roundings=notes)


def _encoder(
    fields: dict[str, Any],
    side: str,
    sizes: Mapping[str, int],
    notes: list[str],
    problems: list[Problem],
) -> dict[str, Any]:
    """Return one side with absolute sizes; note what was rounded, and what does not fit."""
    whole, heads = _teacher(f"{side}.width", sizes), fields["heads"]
    whole_heads = _teacher(f"{side}.heads", sizes)
    head_dim = whole // whole_heads
    step = int(heads) if heads is not None and relative(heads) is None else head_dim
    width = resolve_width(fields["width"], whole, step)
    legal = f"multiple of {'head dim' if step == head_dim else 'heads'} {step}"
    _note(notes, f"{side}.width", fields["width"], whole=whole, absolute=width, legal=legal)
    depth = _count(fields["depth"], f"{side}.depth", sizes, notes)
    count = resolve_heads(heads, width, whole, whole_heads)
    _note(notes, f"{side}.heads", heads, whole=whole_heads, absolute=count, legal=f"divisor of width {width}")
    for name, size, largest in (("width", width, WIDEST), ("depth", depth, DEEPEST)):
        if size > largest:
            text = f"got {fields[name]}, which is {size}; allowed: at most {largest}. Lower it: {_WHY}."
            problems.append((f"{side}.{name}", text))
    if width % count:
        problems.append((f"{side}.heads", _indivisible(width, count)))
    most, deepest = whole, _teacher(f"{side}.depth", sizes)
    if fields["init"] in (INHERIT, IMPORTANCE) and (width > most or depth > deepest):
        allowed = f"at most the teacher's width {most} and depth {deepest}"
        problems.append(
            (
                f"{side}.init",
                f"got {fields['init']} with width {width} and depth {depth}; allowed: {allowed}. Lower them, or use random.",
            )
        )
    sized = {**fields, "width": width, "depth": depth, "heads": count}
    return _beginning(sized, side, problems)


def _beginning(fields: dict[str, Any], side: str, problems: list[Problem]) -> dict[str, Any]:
    """Return one side with its weights from the root; without any where it begins otherwise: they do not enter its id."""
    weights = fields.pop("weights", None)
    if fields["init"] != PRETRAINED:
        return fields
    if not weights:
        text = (
            f"got {show(weights)} with init: pretrained; allowed: where the weights lie. Name a file or folder, or a model "
            "that is published."
        )
        problems.append((f"{side}.weights", text))
    elif is_there(weights):
        weights = str(settled(weights))
    return {**fields, "weights": weights}


def _indivisible(width: int, heads: int) -> str:
    below, above = width - width % heads, width - width % heads + heads
    use = f"width {below} or {above}" if below else f"width {above}"
    return (
        f"got {heads} with width {width}; width must be a multiple of heads. Use {use}, or set other heads."
    )


def _teacher(path: str, sizes: Mapping[str, int]) -> int:
    """Return a size of the teacher.

    Raises:
        IllegalCandidate: the teacher has nothing of the kind.
    """
    if path not in sizes:
        text = f"this teacher has no {path}; it has {', '.join(sizes) or 'no sizes'}. Take a teacher of two encoders."
        raise IllegalCandidate(f"student.{path}: {text}", [(path, text)])
    return sizes[path]


def _fusion_layers(value: Any, depth: int, sizes: Mapping[str, int], notes: list[str]) -> int:
    """Return how many text layers hold cross-attention: a relative number goes to the nearest that the text side has."""
    path = "fusion.layers"  # which a teacher without such layers has no number of; an absolute one needs none
    whole = _teacher(path, sizes) if relative(value) is not None else 0
    absolute = resolve_count(value, whole)
    legal = "whole number, at least 1"
    if relative(value) is not None and absolute > depth:
        absolute, legal = depth, f"at most the text depth {depth}"
    _note(notes, path, value, whole=whole, absolute=absolute, legal=legal)
    return absolute


def _count(value: Any, path: str, sizes: Mapping[str, int], notes: list[str]) -> int:
    """Return a depth, number of layers or embedding, absolute."""
    whole = _teacher(path, sizes)
    absolute = resolve_count(value, whole)
    legal = "whole number" if path.endswith("depth") else "whole number, at least 1"
    _note(notes, path, value, whole=whole, absolute=absolute, legal=legal)
    return absolute


def _note(notes: list[str], path: str, raw: Any, *, whole: int, absolute: int, legal: str) -> None:
    """Note a relative value that had to be rounded."""
    factor = relative(raw)
    if factor is not None and factor * whole != absolute:
        notes.append(f"student.{path} {raw} of {whole} -> {absolute} ({legal})")


def absolute(size: Any, path: str) -> int:
    """Return a size of a resolved candidate.

    Raises:
        ShapeError: it is relative, or no number.
    """
    if not isinstance(size, int):
        raise ShapeError(
            f"student.{path}: got {show(size)}; allowed in a candidate: a whole number. Give that."
        )
    return size
