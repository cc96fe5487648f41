"""Plug-in tables: `name -> "module:Class"`, sorted, imported only when used. Pure Python."""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from spaces.errors import PluginError

Table = Mapping[str, str]


def near(got: str, known: Iterable[str]) -> str | None:
    """Return the known name that `got` most likely means, or None where nothing is close."""
    folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(got.casefold(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def unknown(kind: str, got: str, known: Iterable[str]) -> str:
    """Return the message for an unknown name, with the near miss and the list of known names.

    `kind` is the room in the plural, as in "losses".
    """
    names = sorted(known)
    guess = near(got, names)
    hint = f" Did you mean {guess!r}?" if guess else ""
    return f"{kind}: no plug-in is called {got!r}.{hint} Known: {', '.join(names) or 'none'}."


def resolve(table: Table, name: str, room: str) -> Any:
    """Return the class that `table` holds under `name`, imported now.

    Args:
        table: the plug-in table of a room.
        name: the plug-in's only name.
        room: plural noun for messages, e.g. "losses".

    Raises:
        PluginError: no such name, or the plug-in needs a package that is not installed.
    """
    if name not in table:
        raise PluginError(unknown(room, name, table))
    module_name, _, class_name = table[name].partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == module_name.partition(".")[0]:
            raise
        raise PluginError(
            f"{room}: {name!r} needs the package {missing!r}, which is not installed here. "
            f"Install it, or choose another of: {', '.join(sorted(set(table) - {name}))}."
        ) from error
    return getattr(module, class_name)
