"""From plain options to a plug-in's frozen `Config`, nested ones too; what pydantic does at the door of a space file."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from spaces.errors import PluginError

T = TypeVar("T")


def made_config(config_class: type[T], options: Mapping[str, Any], place: str = "") -> T:
    """Return the config that options describe, lists as tuples, mappings as the nested configs they stand for.

    Args:
        config_class: a frozen dataclass; its fields may be of such classes, too.
        options: name -> literal.
        place: dotted path of the options, for messages.

    Raises:
        PluginError: an unknown option, a missing one, or a value that the config refuses.
    """
    fields = {field.name: field for field in dataclasses.fields(config_class) if field.init}  # type: ignore[arg-type]
    unknown = [name for name in options if name not in fields]
    if unknown:
        raise PluginError(
            f"{_path(place, unknown[0])}: got an unknown option; allowed: {', '.join(fields) or 'none'}. Delete it."
        )
    types = typing.get_type_hints(config_class)
    values = {name: _value(types[name], value, _path(place, name)) for name, value in options.items()}
    try:
        return config_class(**values)
    except TypeError as error:
        raise PluginError(
            f"{place or config_class.__qualname__}: {error}. Give the missing option."
        ) from error


def plain(config: Any) -> dict[str, Any]:
    """Return a config as plain values, tuples as lists: what goes through JSON unchanged."""
    return {name: _plain(value) for name, value in dataclasses.asdict(config).items()}


def _value(kind: Any, value: Any, place: str) -> Any:
    if dataclasses.is_dataclass(kind):
        made = typing.cast(type[Any], kind)
        if isinstance(value, Mapping):
            return made_config(made, value, place)
        if not isinstance(value, made):
            options = ", ".join(field.name for field in dataclasses.fields(made))
            raise PluginError(
                f"{place}: got {value!r}; allowed is a mapping of the options {options}. Give one."
            )
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _path(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
