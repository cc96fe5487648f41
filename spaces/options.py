"""Options of plug-ins against their own Config dataclass, nested ones too, with the messages and marks of a space file.

pydantic reads the stdlib dataclass through TypeAdapter, so that the plug-in's room needs no pydantic. A field may carry a
rule of `spaces.rules` as `metadata={"rule": ...}` where its type says too little: a size that may be relative; and as
`metadata={"beside": ...}` what it serves alone.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from spaces.domains import Domain, Float, Log
from spaces.errors import StudentSearchError
from spaces.leaves import KINDS
from spaces.plugins import listed, meant
from spaces.rules import Beside, Number, Refused, show
from spaces.tree import at, leaves, located

Where = Callable[[str], str]
Told = tuple[str, str]
"""A dotted option, and what is wrong with it."""


def check_options(config_class: type, options: Mapping[str, Any], where: Where) -> list[str]:
    """Return a message for each option that `config_class` does not take; [] when it can be built.

    Args:
        config_class: see `option_problems`.
        options: see there.
        where: dotted option -> how the message begins; `space.option_place("losses.itc")` gives one.
    """
    return [f"{where(path).rstrip('.')}: {text}" for path, text in option_problems(config_class, options)]


def option_problems(config_class: type, options: Mapping[str, Any]) -> list[Told]:
    """Return what is wrong with each option that `config_class` does not take: the dotted option, and the text.

    Args:
        config_class: the frozen dataclass of a plug-in; a field that is a dataclass itself takes a mapping.
        options: name -> literal, domain, or mapping of these. Of a domain all corners are tried.
    """
    known: dict[str, Any] = {}
    lacking: set[str] = set()
    problems = list(_names(config_class, options, above="", known=known, lacking=lacking))
    ruled = dict(_refusals(config_class, known, above="")) or dict(_unused(config_class, known, above=""))
    problems += ruled.items()
    for point in _points(known):
        problems += _values(_adapter(config_class), point, config_class=config_class, told={*lacking, *ruled})
    return list(dict.fromkeys(problems))


@functools.cache
def _adapter(config_class: type) -> TypeAdapter[Any]:
    """Return pydantic's reading of a dataclass; made once, since to make it takes as long as a hundred values."""
    return TypeAdapter(config_class)


def _names(
    config_class: type, options: Mapping[str, Any], *, above: str, known: dict[str, Any], lacking: set[str]
) -> Iterator[Told]:
    """Yield a problem for each unknown and each missing name; put what has a name into `known`, the rest into `lacking`."""
    fields, nested = _fields(config_class), nested_configs(config_class)
    for name in options:
        if name not in fields:
            hint = meant(name, fields, "Delete it.")
            yield above + name, f"got an unknown option; allowed: {listed(fields)}. {hint}"
        elif name in nested and isinstance(options[name], dict):
            inner: dict[str, Any] = {}
            path = f"{above}{name}."
            yield from _names(nested[name], options[name], above=path, known=inner, lacking=lacking)
            known[name] = inner
        else:
            known[name] = options[name]
    for name, needed in fields.items():
        given = options.get(name)
        if needed and name not in options:
            lacking.add(above + name)
            yield above + name, f"is missing; allowed: a value for it. Add `{name}: ...`."
        elif needed and isinstance(given, Domain) and given.when:
            lacking.add(above + name)
            text = "got `when`, but there is no default for where it does not hold; allowed: a value always."
            yield above + name, f"{text} Drop `when`."


def _refusals(config_class: type, options: Mapping[str, Any], *, above: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted option, what is wrong) for each value that the rule of its field does not allow."""
    nested = nested_configs(config_class)
    for field in dataclasses.fields(config_class):
        value, rule = options.get(field.name), field.metadata.get("rule")
        if field.name in nested and isinstance(value, dict):
            yield from _refusals(nested[field.name], value, above=f"{above}{field.name}.")
        if rule is None or field.name not in options:
            continue
        for one in _corners(value):
            try:
                rule.read(one)
            except Refused as refused:
                yield f"{above}{field.name}", _misspelt_domain(one) or str(refused)
                break
        else:
            if isinstance(value, Float | Log) and isinstance(rule, Number) and rule.whole:
                got = f"got a range of real numbers, {show(value.bounds())}"
                yield f"{above}{field.name}", f"{got}; allowed: {rule.allowed()}. Use int or choice."


def _unused(config_class: type, options: Mapping[str, Any], *, above: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted option, what is wrong) for each that no candidate has a use for, as its other options stand."""
    nested, fields = nested_configs(config_class), {one.name: one for one in dataclasses.fields(config_class)}
    for name, value in options.items():
        if name in nested and isinstance(value, dict):
            yield from _unused(nested[name], value, above=f"{above}{name}.")
        beside: Beside | None = fields[name].metadata.get("beside")
        if beside is None or value == fields[name].default:
            continue
        other = options.get(beside.option, fields[beside.option].default)
        if not any(map(beside.holds, _corners(other))):
            got = f"got {_shown(value)} with {beside.option} {_shown(other)}, which has no use for it"
            yield f"{above}{name}", f"{got}; allowed beside {beside} alone. Change that, or leave {name} out."


def _corners(value: Any) -> list[Any]:
    return list(value.corners()) if isinstance(value, Domain) else [value]


def _shown(value: Any) -> str:
    return " or ".join(map(show, _corners(value)))


def _fields(config_class: type) -> dict[str, bool]:
    """Return field -> whether it has no default."""
    missing = dataclasses.MISSING
    return {
        field.name: field.default is missing and field.default_factory is missing
        for field in dataclasses.fields(config_class)
        if field.init
    }


def nested_configs(config_class: type) -> dict[str, type]:
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
    adapter: TypeAdapter[Any], point: Mapping[str, Any], *, config_class: type, told: set[str]
) -> list[Told]:
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
                own, rule = _own(rule, holder)
                found.setdefault((".".join(filter(None, (path, own))), ""), []).append(rule)
                continue
            if one["type"] == "dataclass_type" and holder:
                rule = f"a mapping with {', '.join(_fields(holder))}"
            if hint := _misspelt_domain(one["input"]):
                found.setdefault((path, ""), []).append(hint)
                continue
            rule = rule.removeprefix("Input should be ").rstrip(".")
            found.setdefault((path, f"got {show(one['input'])}; allowed: "), []).append(rule)
        return [_told(path, got, rules=rules) for (path, got), rules in found.items()]
    except StudentSearchError as error:
        path, rule = _own(str(error), config_class)
        return [_told(path, "", rules=[rule])]
    return []


def _misspelt_domain(value: Any) -> str:
    """Return what is wrong with a mapping that was meant as a domain; "" for anything else."""
    for key in value if isinstance(value, dict) else ():
        if hint := meant(str(key), KINDS, quoted=False):
            return f"got the key {show(key)}; allowed in a domain: exactly one of {', '.join(KINDS)}. {hint}"
    return ""


def _own(said: str, holder: type | None) -> tuple[str, str]:
    """Return the option that a Config's own check names at its beginning, `temperature: got ...`, and the rest; "" for none."""
    name, colon, rest = said.partition(": ")
    return (name, rest) if colon and holder and name in _fields(holder) else ("", said)


def _option(config_class: type, loc: tuple[int | str, ...]) -> tuple[str, type | None]:
    """Return the dotted option that a place of pydantic's belongs to, and the dataclass of its value."""
    parts: list[str] = []
    holder: type | None = config_class
    for part in loc:
        if holder is None or part not in _fields(holder):
            break
        parts.append(str(part))
        holder = nested_configs(holder).get(str(part))
    return ".".join(parts), holder


def _told(path: str, got: str, *, rules: list[str]) -> Told:
    """Return one problem; of a value that may be of several types each said what it wants."""
    text = ", or ".join(dict.fromkeys(rules))
    return path, f"{got}{text}" + (". Change the value." if got else "")
