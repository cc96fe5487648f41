"""Options of plug-ins against their own Config dataclass, with the messages and marks of a space file.

pydantic reads the stdlib dataclass through TypeAdapter, so that the plug-in's room needs no pydantic.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from spaces.domains import Domain
from spaces.errors import StudentSearchError
from spaces.plugins import near
from spaces.rules import show


def check_options(config_class: type, options: Mapping[str, Any], where: Callable[[str], str]) -> list[str]:
    """Return a problem for each option that `config_class` does not take; [] when it can be built.

    Args:
        config_class: the frozen dataclass of a plug-in.
        options: name -> literal or domain. Of a domain all corners are tried.
        where: option name -> how the message begins; `space.option_place("losses.itc")` gives one.
    """
    fields = [field for field in dataclasses.fields(config_class) if field.init]
    known = [field.name for field in fields]
    problems = [f"{where(name)}: {_unknown(name, known)}" for name in options if name not in known]
    needed = [
        f.name
        for f in fields
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in needed if name not in options]
    problems += [
        f"{where(name)}: is missing; allowed: a value for it. Add `{name}: ...`." for name in missing
    ]
    given = {name: value for name, value in options.items() if name in known}
    adapter: TypeAdapter[Any] = TypeAdapter(config_class)
    for point in _points(given):
        problems += _validate(adapter, point, missing=set(missing), where=where)
    return list(dict.fromkeys(problems))


def _unknown(name: str, known: list[str]) -> str:
    guess = near(name, known)
    hint = f"Did you mean {guess!r}?" if guess else "Delete it."
    return f"got an unknown option; allowed: {', '.join(known) or 'none'}. {hint}"


def _section(where: Callable[[str], str]) -> str:
    """Return the place of the whole section, for a problem that concerns no single option."""
    return where("").rstrip(".")


def _points(options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield literal options: all domains at their first corner, then each at its other corners."""
    base = {
        name: value.corners()[0] if isinstance(value, Domain) else value for name, value in options.items()
    }
    yield base
    for name, value in options.items():
        if isinstance(value, Domain):
            for corner in value.corners()[1:]:
                yield {**base, name: corner}


def _validate(
    adapter: TypeAdapter[Any], point: Mapping[str, Any], *, missing: set[str], where: Callable[[str], str]
) -> list[str]:
    """Return the problems of literal options; strict JSON reads a list as a tuple, but not "3" as 3."""
    try:
        adapter.validate_json(json.dumps(point), strict=True)
    except ValidationError as error:
        return [
            _message(found["loc"], found["msg"], got=found["input"], where=where)
            for found in error.errors(include_url=False)
            if found["loc"] or not missing
            if not (found["type"].startswith("missing") and str(found["loc"][0]) in missing)
        ]
    except StudentSearchError as error:
        return [f"{_section(where)}: {error}"]
    return []


def _message(loc: tuple[int | str, ...], rule: str, *, got: Any, where: Callable[[str], str]) -> str:
    """Return the message for one finding of pydantic."""
    rule = rule.removeprefix("Value error, ")
    if not loc:
        return f"{_section(where)}: {rule}"
    rule = rule.removeprefix("Input should be ").rstrip(".")
    return f"{where(str(loc[0]))}: got {show(got)}; allowed: {rule}. Change the value."
