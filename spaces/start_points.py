"""Start points: points of the space that a file names in part; what is not named takes its default. Pure Python.

start:
  - {student.image.width: 0.25x, losses.itc.weight: 1}     dotted paths
  - student: {image: {width: 0.5x}}                        or nested mappings, or both
  - {}                                                     the point of all defaults
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from spaces.conditions import Conditions, active
from spaces.domains import Domain, Float, Log, Scalar, is_number
from spaces.leaves import Finding, within
from spaces.plugins import listed, meant
from spaces.rules import show

Key = tuple[str | int, ...]


def complete(
    point: Mapping[str, Any],
    domains: Mapping[str, Domain],
    conditions: Conditions,
    literals: Mapping[str, Any],
    *,
    where: Callable[[str], str],
) -> tuple[dict[str, Scalar], list[Finding]]:
    """Return a value for each domain, and what is wrong with the point: the keys that lead there, and the text.

    Args:
        point: as it stands in the file.
        domains: dotted path -> domain.
        conditions: what must hold for a path to count; one that does not needs no value.
        literals: dotted path -> value of what could be searched, but is not.
        where: dotted path -> file and line.
    """
    named: dict[str, Scalar] = {}
    findings: list[Finding] = []
    for keys, value in parts(point):
        path = ".".join(map(str, keys))
        domain = domains.get(path)
        if path in literals:
            findings.append((keys, not_searched(value, literals[path], place=where(path))))
        elif domain is None:
            findings.append((keys, unknown_path(path, domains)))
        elif path in named:
            findings.append((keys, "got this path twice; allowed: each path once. Delete one."))
        elif not domain.contains(value):
            findings.append((keys, f"got {show(value)}; allowed: {within(domain)}. Move it inside."))
        else:
            named[path] = kept(domain, value)
    values, missing = filled(named, domains, conditions=conditions)
    if missing and not findings:  # a path that is named, but wrongly, has its own finding
        findings.append(((), _missing(missing, where)))
    return values, findings


def filled(
    named: Mapping[str, Scalar], domains: Mapping[str, Domain], *, conditions: Conditions
) -> tuple[dict[str, Scalar], list[str]]:
    """Return a value for each domain, the named ones as they are, and the paths that lack one.

    What is not named takes its default; where there is none and the path does not count, any value will do.
    """
    wanted = {path: named.get(path, domain.default) for path, domain in domains.items()}
    known = {path: value for path, value in wanted.items() if value is not None}
    first = {path: domain.corners()[0] for path, domain in domains.items()}
    counted = active({**first, **known}, conditions)
    missing = [path for path in domains if path not in known and path in counted]
    return {path: known.get(path, first[path]) for path in domains if path not in missing}, missing


def kept(domain: Domain, value: Any) -> Scalar:
    """Return a value of the domain as candidates hold it: the option, a whole number, a float to its last digit."""
    if domain.zero and is_number(value) and value == 0:
        return 0
    return float(value) if isinstance(domain, Float | Log) else domain.settle(value)


def parts(point: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield the keys that lead to each value, and the value."""
    for key, value in point.items():
        if isinstance(value, dict):
            yield from parts(value, (*above, key))
        else:
            yield (*above, key), value


def not_searched(value: Any, literal: Any, *, place: str) -> str:
    """Return what is wrong with a value for a path that is a literal, or a domain that never counts."""
    state = "switched off" if isinstance(literal, Domain) else show(literal)
    return (
        f"got {show(value)} for a path that is not searched: it is {state} in {place}; "
        "allowed: searched paths. Drop it here, or write a domain there."
    )


def unknown_path(path: str, domains: Mapping[str, Domain]) -> str:
    """Return what is wrong with a path that the space does not have."""
    hint = meant(path, domains)
    if hint:
        return f"got an unknown path; allowed: searched paths. {hint}"
    return f"got an unknown path; allowed: searched paths ({listed(domains)}). Delete it."


def _missing(paths: list[str], where: Callable[[str], str]) -> str:
    places = listed(f"{path} ({where(path)})" for path in paths)
    return (
        f"got no value for {places}: no default there; allowed: a value for every searched path without a default. "
        "Name it here, or add `default:` there."
    )
