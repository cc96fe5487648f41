"""Options of plug-ins against their own Config dataclass, nested ones too, with the messages and marks of a space file.

pydantic reads the stdlib dataclass through TypeAdapter, so that the plug-in's room needs no pydantic. A field may carry a
rule of `spaces.rules` as `metadata={"rule": ...}` where its type says too little: a size that may be relative.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from spaces.domains import Domain
from spaces.errors import StudentSearchError
from spaces.plugins import near
from spaces.rules import Refused, show
from spaces.tree import at, leaves, located

Where = Callable[[str], str]


def check_options(config_class: type, options: Mapping[str, Any], where: Where) -> list[str]:
    """Return a problem for each option that `config_class` does not take; [] when it can be built.

    Args:
        config_class: the frozen dataclass of a plug-in; a field that is a dataclass itself takes a mapping.
        options: name -> literal, domain, or mapping of these. Of a domain all corners are tried.
        where: dotted option -> how the message begins; `space.option_place("losses.itc")` gives one.
    """
    known: dict[str, Any] = {}
    lacking: set[str] = set()
    problems = list(_names(config_class, options, above="", where=where, known=known, lacking=lacking))
    ruled = dict(_refusals(config_class, known, above=""))
    problems += [f"{where(path)}: {text}" for path, text in ruled.items()]
    adapter: TypeAdapter[Any] = TypeAdapter(config_class)
    for point in _points(known):
        problems += _values(adapter, point, config_class=config_class, told={*lacking, *ruled}, where=where)
    return list(dict.fromkeys(problems))


def _names(
    config_class: type,
    options: Mapping[str, Any],
    *,
    above: str,
    where: Where,
    known: dict[str, Any],
    lacking: set[str],
) -> Iterator[str]:
    """Yield a problem for each unknown and each missing name; put what has a name into `known`, the rest into `lacking`."""
    fields, nested = _fields(config_class), _nested(config_class)
    for name in options:
        if name not in fields:
            guess = near(name, fields)
            hint = f"Did you mean {guess!r}?" if guess else "Delete it."
            allowed = ", ".join(fields) or "none"
            yield f"{where(above + name)}: got an unknown option; allowed: {allowed}. {hint}"
        elif name in nested and isinstance(options[name], dict):
            inner: dict[str, Any] = {}
            path = f"{above}{name}."
            yield from _names(
                nested[name], options[name], above=path, where=where, known=inner, lacking=lacking
            )
            known[name] = inner
        else:
            known[name] = options[name]
    for name, needed in fields.items():
        given = options.get(name)
        if needed and name not in options:
            lacking.add(above + name)
            yield f"{where(above + name)}: is missing; allowed: a value for it. Add `{name}: ...`."
        elif needed and isinstance(given, Domain) and given.when:
            lacking.add(above + name)
            text = "got `when`, but there is no default for where it does not hold; allowed: a value always."
            yield f"{where(above + name)}: {text} Drop `when`."


def _refusals(config_class: type, options: Mapping[str, Any], *, above: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted option, what is wrong) for each value that the rule of its field does not allow."""
    nested = _nested(config_class)
    for field in dataclasses.fields(config_class):
        value, rule = options.get(field.name), field.metadata.get("rule")
        if field.name in nested and isinstance(value, dict):
            yield from _refusals(nested[field.name], value, above=f"{above}{field.name}.")
        if rule is None or field.name not in options:
            continue
        for one in value.corners() if isinstance(value, Domain) else [value]:
            try:
                rule.read(one)
            except Refused as refused:
                yield f"{above}{field.name}", str(refused)
                break


def _fields(config_class: type) -> dict[str, bool]:
    """Return field -> whether it has no default."""
    missing = dataclasses.MISSING
    return {
        field.name: field.default is missing and field.default_factory is missing
        for field in dataclasses.fields(config_class)
        if field.init
    }


def _nested(config_class: type) -> dict[str, type]:
    """Return field -> dataclass, of fields that hold one (or null)."""
    hints = get_type_hints(config_class, localns=vars(config_class))
    found = {}
    for name, hint in hints.items():
        for kind in (hint, *get_args(hint)):
            if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                found[name] = kind
                break
    return found


def _points(options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield literal options: all domains at their first corner, then each at its other ones, or left out by its `when`."""
    tree = located(options)
    domains = {path: leaf for path, leaf in leaves(tree) if isinstance(leaf, Domain)}
    base = {path: domain.corners()[0] for path, domain in domains.items()}
    yield at(tree, base)
    for path, domain in domains.items():
        for corner in domain.corners()[1:]:
            yield at(tree, {**base, path: corner})
        if domain.when:
            yield at(tree, {other: value for other, value in base.items() if other != path})


def _values(
    adapter: TypeAdapter[Any],
    point: Mapping[str, Any],
    *,
    config_class: type,
    told: set[str],
    where: Where,
) -> list[str]:
    """Return the problems of literal options; strict JSON reads a list as a tuple, but not "3" as 3."""
    try:
        adapter.validate_json(json.dumps(point), strict=True)
    except ValidationError as error:
        found: dict[tuple[str, str], list[str]] = {}
        for one in error.errors(include_url=False):
            loc, rule = one["loc"], one["msg"].removeprefix("Value error, ")
            path, holder = _option(config_class, loc)
            if path in told or (one["type"].startswith("missing") and ".".join(map(str, loc)) in told):
                continue  # has its own message
            if one["type"] == "value_error":  # of the Config's own check, with its own words
                found.setdefault((path, ""), []).append(rule)
                continue
            if one["type"] == "dataclass_type" and holder:
                rule = f"a mapping with {', '.join(_fields(holder))}"
            rule = rule.removeprefix("Input should be ").rstrip(".")
            found.setdefault((path, f"got {show(one['input'])}; allowed: "), []).append(rule)
        return [_message(where(path), got, rules=rules) for (path, got), rules in found.items()]
    except StudentSearchError as error:
        return [_message(where(""), "", rules=[str(error)])]
    return []


def _option(config_class: type, loc: tuple[int | str, ...]) -> tuple[str, type | None]:
    """Return the dotted option that a place of pydantic's belongs to, and the dataclass of its value."""
    parts: list[str] = []
    holder: type | None = config_class
    for part in loc:
        if holder is None or part not in _fields(holder):
            break
        parts.append(str(part))
        holder = _nested(holder).get(str(part))
    return ".".join(parts), holder


def _message(place: str, got: str, *, rules: list[str]) -> str:
    """Return one message; of a value that may be of several types each said what it wants."""
    text = ", or ".join(dict.fromkeys(rules))
    return f"{place.rstrip('.')}: {got}{text}" + (". Change the value." if got else "")
