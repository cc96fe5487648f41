"""A space without losses that nothing there can feed: their weights and options are no dimensions any more. Pure Python."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from spaces.conditions import Condition
from spaces.schema import Space
from spaces.start_points import parts
from spaces.tree import leaves, located


def without_losses(space: Space, names: Collection[str]) -> Space:
    """Return the space with weight 0 for some losses: candidates are what they would be without them, ids included.

    A condition of another domain that asks for such a loss is never met, and that domain goes, too; one that asks for its
    absence is always met. Start points and arms keep the rest of what they say.

    Args:
        space: as it was loaded.
        names: of its losses.
    """
    if not names:
        return space
    fields = space.resolved()
    fields["losses"] = {
        name: {"weight": 0} if name in names else section for name, section in fields["losses"].items()
    }
    gone = _settle_conditions(space, names, fields)
    fields["search"]["start"] = [_without(point, gone) for point in space.search.start]
    if space.ablation is not None:
        arms = space.ablation.arms.items()
        fields["ablation"]["arms"] = {name: _without(point, gone) for name, point in arms}
    return space.rewritten(fields)


def start_points_naming(space: Space, names: Collection[str]) -> list[int]:
    """Return the numbers, from 1, of the start points that say something of some losses."""
    heads = tuple(f"losses.{name}." for name in names)
    return [
        number
        for number, point in enumerate(space.search.start, start=1)
        if any(path.startswith(heads) for path, _ in _paths(point))
    ]


def _settle_conditions(space: Space, names: Collection[str], fields: dict[str, Any]) -> dict[str, int | None]:
    """Settle in `fields` what depends on the losses; return the paths that are gone with the value they have now, if any."""
    gone: dict[str, int | None] = {}
    for name in names:
        gone |= {leaf.path: None for leaf in leaves(located(space.losses[name], f"losses.{name}"))}
        gone[f"losses.{name}.weight"] = 0
    left = {path: domain for path, domain in space.domains().items() if domain.when and path not in gone}
    while met := [path for path, domain in left.items() if any(one.path in gone for one in domain.when)]:
        for path in met:
            known = [one for one in left[path].when if one.path in gone]
            rest = tuple(one for one in left[path].when if one.path not in gone)
            section, key = _holder(fields, path)
            if all(_holds(one, gone) for one in known):
                left[path] = replace(left[path], when=rest)
                section[key] = left[path].spec()
            else:
                gone[path] = None
                del left[path]
                if path.startswith("losses.") and key == "weight":
                    section[key] = 0
                else:
                    del section[key]  # what does not count takes its default
    return gone


def _holds(one: Condition, gone: Mapping[str, int | None]) -> bool:
    value = gone[one.path]
    return value is not None and one.holds(value)


def _holder(fields: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Return the mapping that holds what stands at a dotted path, and its key there."""
    *above, key = path.split(".")
    for part in above:
        fields = fields[part]
    return fields, key


def _paths(point: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the dotted paths of a start point with their values."""
    for keys, value in parts(point):
        yield ".".join(map(str, keys)), value


def _without(point: Mapping[str, Any], gone: Collection[str]) -> dict[str, Any]:
    return {path: value for path, value in _paths(point) if path not in gone}
