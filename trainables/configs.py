"""From plain options to a plug-in's frozen `Config`, nested ones too; what pydantic does at the door of a space file."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING
from functools import cache
from typing import Any, TypeVar

from spaces.errors import PluginError
from spaces.rules import Refused, show

T = TypeVar("T")
PLAIN = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}


def made_config(config_class: type[T], options: Mapping[str, Any], place: str = "") -> T:
    """Return the config that options describe, lists as tuples, mappings as the nested configs they stand for.

    Args:
        config_class: a frozen dataclass; its fields may be of such classes, too.
        options: name -> literal.
        place: dotted path of the options, for messages.

    Raises:
        PluginError: an unknown option, a missing one, or a value that the rule or type of its field, or the config, refuses.
    """
    fields = {field.name: field for field in dataclasses.fields(config_class) if field.init}  # type: ignore[arg-type]
    unknown = [name for name in options if name not in fields]
    if unknown:
        raise PluginError(
            f"{_path(place, unknown[0])}: got an unknown option; allowed: {', '.join(fields) or 'none'}. Delete it."
        )
    hints = _hints(typing.cast(Any, config_class))
    needed = [
        name for name, one in fields.items() if one.default is MISSING and one.default_factory is MISSING
    ]
    if missing := [name for name in needed if name not in options]:
        raise PluginError(f"{_path(place, missing[0])}: the option is missing. Give it.")
    values = {}
    for name, value in options.items():
        try:
            values[name] = _ruled(fields[name], _value(hints[name], value, _path(place, name)))
        except Refused as error:
            raise PluginError(f"{_path(place, name)}: {error}") from error
    try:
        return config_class(**values)
    except TypeError as error:  # of a check that compares
        raise PluginError(
            f"{place or config_class.__qualname__}: got a value of the wrong type ({error}). Mend it."
        ) from error
    except PluginError as error:
        raise PluginError(_path(place, str(error))) from error


@cache
def _hints(config_class: Any) -> dict[str, Any]:
    """Return the types of a class's fields: a space of 500 students asks 10,000 times, and each answer takes 0.1 ms to find."""
    return typing.get_type_hints(config_class)


def require_counts(config: Any, *names: str) -> None:
    """Accept fields of a config that count something: integers, 1 or more.

    Raises:
        PluginError: any other value.
    """
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or value < 1:
            raise PluginError(f"{name}: got {show(value)}; allowed: an integer, 1 or more. Change it.")


YOUNGER = {"younger": True}
"""Metadata of a field that came after candidates had their ids: it is told only where it is not at its default, so that whoever
does not use it keeps ids."""


def plain(config: Any) -> dict[str, Any]:
    """Return a config as plain values, tuples as lists: what goes through JSON unchanged; without `YOUNGER` ones at rest."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.metadata.get("younger") and value == field.default:
            continue
        found[field.name] = _plain(value)
    return found


def _value(kind: Any, value: Any, place: str) -> Any:
    if dataclasses.is_dataclass(kind):
        made = typing.cast(type[Any], kind)
        if isinstance(value, Mapping):
            return made_config(made, value, place)
        if not isinstance(value, made):
            options = ", ".join(field.name for field in dataclasses.fields(made))
            raise PluginError(
                f"{place}: got {show(value)}; allowed is a mapping of the options {options}. Give one."
            )
    if typing.get_origin(kind) is typing.Literal and value not in typing.get_args(kind):
        allowed = ", ".join(map(str, typing.get_args(kind)))
        raise PluginError(f"{place}: got {show(value)}; allowed: {allowed}. Use one of those.")
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if all(one in PLAIN for one in kinds) and not any(_is_plain(value, one) for one in kinds):
        allowed = " or ".join(PLAIN[one] for one in kinds)
        raise PluginError(f"{place}: got {show(value)}; allowed: {allowed}. Write that.")
    return tuple(value) if isinstance(value, list) else value


def _is_plain(value: Any, kind: type) -> bool:
    """Return whether a value is of a plain type; a whole number is a number, too, and true is none."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


def _ruled(field: dataclasses.Field[Any], value: Any) -> Any:
    """Return a value as the rule of its field keeps it.

    Raises:
        Refused: the rule does not allow it.
    """
    rule = field.metadata.get("rule")
    return value if rule is None else rule.read(value)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return plain(value)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _path(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
