"""Sections and mappings of a space as trees: their leaves with dotted paths, plain values, one laid over another."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from spaces.domains import Domain, Scalar

OFF: Any = object()  # a domain that has no value at a point


class Leaf(NamedTuple):
    """A literal or a domain, and the dotted path at which it stands in the file."""

    path: str
    value: Any


def located(value: Any, path: str = "") -> Any:
    """Return nested dicts with a `Leaf` for everything under `value`."""
    parts = _children(value)
    if parts is None:
        return Leaf(path, value)
    return {key: located(part, f"{path}.{key}" if path else key) for key, part in parts}


def leaves(tree: Any) -> Iterator[Leaf]:
    """Yield the leaves of a located tree, in their order."""
    if isinstance(tree, Leaf):
        yield tree
        return
    for part in tree.values():
        yield from leaves(part)


def corner_values(section: Any) -> Iterator[Any]:
    """Yield every literal of a section and the corners of its domains."""
    for _, leaf in leaves(located(section)):
        yield from leaf.corners() if isinstance(leaf, Domain) else [leaf]


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two nested dicts as one; where both have a leaf, that of `above` stays."""
    joined = dict(below)
    for key, part in above.items():
        both = isinstance(part, dict) and isinstance(joined.get(key), dict)
        joined[key] = overlaid(joined[key], part) if both else part
    return joined


def unlocated(tree: Any) -> Any:
    """Return a located tree without paths; domains stay domains."""
    return tree.value if isinstance(tree, Leaf) else {key: unlocated(part) for key, part in tree.items()}


def at(tree: Any, values: Mapping[str, Scalar]) -> Any:
    """Return the plain values of a located tree at a point; domains without a value there are left out."""
    if isinstance(tree, Leaf):
        return values.get(tree.path, OFF) if isinstance(tree.value, Domain) else tree.value
    found = {key: at(part, values) for key, part in tree.items()}
    return {key: part for key, part in found.items() if part is not OFF}


def plain(value: Any) -> Any:
    """Return plain values, domains as they stand in a file."""
    if isinstance(value, Domain):
        return value.spec()
    parts = _children(value)
    return value if parts is None else {key: plain(part) for key, part in parts}


def depth(tree: Any, keys: Iterable[str]) -> int:
    """Return how many of the keys, one below the other, a nested dict has."""
    found = 0
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            break
        tree, found = tree[key], found + 1
    return found


def _children(value: Any) -> Iterable[tuple[str, Any]] | None:
    """Return the parts of a section or mapping, or None for a leaf."""
    if isinstance(value, BaseModel):
        fields = [
            (field.alias or name, getattr(value, name)) for name, field in type(value).model_fields.items()
        ]
        return fields + list((value.__pydantic_extra__ or {}).items())
    return list(value.items()) if isinstance(value, dict) else None
