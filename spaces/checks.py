"""The student section against a teacher: contradictions, roundings, absolute limits."""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from spaces.candidate import TeacherFacts
from spaces.domains import Domain, relative
from spaces.sizes import (
    Misfit,
    Side,
    fusion_misfit,
    inherit_misfit,
    resolve_count,
    resolve_heads,
    resolve_width,
    side,
    width_misfit,
    width_step,
)

Leaves = Mapping[str, Any]


def options(leaf: Any) -> list[Any]:
    """Return every value that a literal or a countable domain can take."""
    return list(leaf.values()) if isinstance(leaf, Domain) else [leaf]


def _unless_any(misfits: Iterable[Misfit | None]) -> list[Misfit]:
    """Return [] when one of the combinations fits, else what the first one lacks."""
    first: list[Misfit] = []
    for misfit in misfits:
        if misfit is None:
            return []
        first = first or [misfit]
    return first


def _encoder(leaves: Leaves, teacher: Side) -> list[Misfit]:
    """Return what no candidate's encoder can satisfy."""
    path = f"student.{teacher.name}"
    shapes = {
        (width, resolve_heads(heads, width, teacher))
        for raw, heads in product(options(leaves[f"{path}.width"]), options(leaves[f"{path}.heads"]))
        for width in [resolve_width(raw, heads, teacher)]
    }
    found = _unless_any(width_misfit(width, heads, teacher=teacher) for width, heads in sorted(shapes))
    if found:
        return found
    widths = sorted(width for width, heads in shapes if width % heads == 0)
    depths = sorted({resolve_count(raw, teacher.depth) for raw in options(leaves[f"{path}.depth"])})
    inits = options(leaves[f"{path}.init"])
    return _unless_any(
        inherit_misfit(w, d, init=init, teacher=teacher) for w, d, init in product(widths, depths, inits)
    )


def contradictions(leaves: Leaves, facts: TeacherFacts) -> list[Misfit]:
    """Return (path, problem) for each thing that no candidate can satisfy.

    Args:
        leaves: dotted path -> literal or domain of the student section.
        facts: the teacher.
    """
    layers = min(resolve_count(raw, facts.fusion_layers) for raw in options(leaves["student.fusion.layers"]))
    deepest = max(resolve_count(raw, facts.text_depth) for raw in options(leaves["student.text.depth"]))
    return [
        *_encoder(leaves, side("image", facts)),
        *_encoder(leaves, side("text", facts)),
        *_unless_any([fusion_misfit(layers, deepest)]),
    ]


def _sentence(path: str, raw: Any, *, whole: int, absolute: int, legal: str) -> str | None:
    """Return the sentence for one relative value, or None where nothing was rounded."""
    factor = relative(raw)
    if factor is None or factor * whole == absolute:
        return None
    return f"{path} {raw} of {whole} -> {absolute} ({legal})"


def rounding_sentences(leaves: Leaves, facts: TeacherFacts) -> list[str]:
    """Return a sentence for each relative size that was rounded, in the order of the file's sections."""
    found: list[str | None] = []
    for name in ("image", "text"):
        teacher = side(name, facts)
        path = f"student.{name}"
        for raw, heads in product(options(leaves[f"{path}.width"]), options(leaves[f"{path}.heads"])):
            step = width_step(heads, teacher)
            legal = f"multiple of {'head dim' if step == teacher.head_dim else 'heads'} {step}"
            width = resolve_width(raw, heads, teacher)
            found.append(_sentence(f"{path}.width", raw, whole=teacher.width, absolute=width, legal=legal))
            count = resolve_heads(heads, width, teacher)
            found.append(
                _sentence(
                    f"{path}.heads",
                    heads,
                    whole=teacher.heads,
                    absolute=count,
                    legal=f"divisor of width {width}",
                )
            )
        for raw in options(leaves[f"{path}.depth"]):
            absolute = resolve_count(raw, teacher.depth)
            found.append(
                _sentence(f"{path}.depth", raw, whole=teacher.depth, absolute=absolute, legal="whole number")
            )
    for path, whole in (
        ("student.fusion.layers", facts.fusion_layers),
        ("student.embedding", facts.embedding),
    ):
        for raw in options(leaves[path]):
            found.append(
                _sentence(
                    path,
                    raw,
                    whole=whole,
                    absolute=resolve_count(raw, whole),
                    legal="whole number, at least 1",
                )
            )
    return list(dict.fromkeys(sentence for sentence in found if sentence))


def limit_ranges(
    limits: Mapping[str, Any], facts: TeacherFacts
) -> dict[str, tuple[float | None, float | None]]:
    """Return cost -> (min, max), absolute, for each cost with a limit."""

    def absolute(raw: Any, whole: float) -> float | None:
        factor = relative(raw)
        return raw if factor is None else float(factor) * whole

    ranges = {}
    for name, bound in limits.items():
        whole = float(getattr(facts, name))
        pair = (absolute(bound["min"], whole), absolute(bound["max"], whole))
        if pair != (None, None):
            ranges[name] = pair
    return ranges
