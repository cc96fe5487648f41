"""Plug-in tables: `name -> "module:Class"`, sorted, imported only when used; installed packages add rows. Pure Python."""

import difflib
import importlib
import traceback
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, final

from spaces.errors import PluginError

GROUP = "student_search"


@final
class Table(Mapping[str, str]):
    """The plug-ins of one room: our own rows, and those of installed packages.

    A package adds a row by an entry point of the group `student_search.ROOM`, ROOM being one of `families`, `tasks`,
    `losses`, `teachers`, `datasets`, `searchers`, `schedulers`:

        [project.entry-points."student_search.losses"]
        my_loss = "my_package.my_loss:MyLoss"

    Installed packages are looked through once, and only when the table is listed or a name is not our own.
    """

    def __init__(self, room: str, rows: Mapping[str, str]) -> None:
        """Take our own rows.

        Args:
            room: plural noun, e.g. "losses": the end of the group's name, and the first word of messages.
            rows: name -> "module:Class".
        """
        self.room = room
        self._own = dict(sorted(rows.items()))
        self._installed: dict[str, tuple[str, str]] | None = None

    def __getitem__(self, name: str) -> str:
        return self._own[name] if name in self._own else self._others()[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._own, *self._others()}))

    def __len__(self) -> int:
        return len(self._own) + len(self._others())

    def __repr__(self) -> str:
        return f"Table({self.room!r}, {self._own!r})"

    def origin(self, name: str) -> str | None:
        """Return the installed distribution that added a row, as `toy 1.0`; None for our own."""
        return None if name in self._own else self._others()[name][1]

    def _others(self) -> dict[str, tuple[str, str]]:
        """Return name -> (place, distribution) of what installed packages add.

        Raises:
            PluginError: a row that is no place, or under a name that is taken.
        """
        if self._installed is None:
            from importlib.metadata import entry_points  # 20 ms that most runs need not wait for

            found: dict[str, tuple[str, str]] = {}
            for entry in entry_points(group=f"{GROUP}.{self.room}"):
                origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "of no name"
                place = entry.value.partition("[")[0].strip()
                self._accept(entry.name, place, origin=origin, taken=found)
                found[entry.name] = (place, origin)
            self._installed = found
        return self._installed

    def _accept(self, name: str, place: str, *, origin: str, taken: Mapping[str, tuple[str, str]]) -> None:
        """Refuse a row that is no place, or whose name is taken."""
        where = f"{self.room}: the installed package {origin}"
        if name in self._own or name in taken:
            holder = taken[name][1] if name in taken else "built in"
            raise PluginError(
                f"{where} brings a plug-in {name!r}, but that name is taken ({holder}); allowed: a name of its own. "
                "Uninstall the package, or have its entry point renamed."
            )
        module, _, attribute = place.partition(":")
        if not (module and attribute):
            raise PluginError(
                f"{where} brings {name!r} as {place!r}; allowed: 'module:Class'. "
                "Uninstall the package, or have its entry point mended."
            )


# Letters of other alphabets that look like ours; Unicode's own compatibility forms are folded before.
_LOOK_ALIKES = str.maketrans(
    "абеніорсԁухкӏѕјԛԝνοατυρικεηı" + "‐‑‒–—−",
    "abehiopcdyxklsjqwvoatupikeni" + "------",
)
SHOWN = 30  # names in one message


def folded(name: str) -> str:
    """Return a name without what the eye does not tell apart: case, accents' form, foreign letters, `-` and `_`."""
    plain = unicodedata.normalize("NFKC", name).casefold().translate(_LOOK_ALIKES)
    return "".join("_" if char in "- " else char for char in plain if unicodedata.category(char) != "Cf")


def near(got: str, known: Iterable[str]) -> str | None:
    """Return the known name that `got` most likely means, or None where nothing is close."""
    names = {folded(name): name for name in known}
    close = difflib.get_close_matches(folded(got[:200]), names, n=1, cutoff=0.6)
    return names[close[0]] if close else None


def meant(got: str, known: Iterable[str], otherwise: str = "", *, quoted: bool = True) -> str:
    """Return the sentence that names what `got` most likely means; `otherwise` where nothing is close.

    Args:
        got: what was written.
        known: what could have been.
        otherwise: what to do where nothing is close.
        quoted: whether the name stands in quotes.
    """
    guess = near(got, known)
    if guess is None:
        return otherwise
    alike = got != guess and not got.isascii() and folded(got) == folded(guess)
    why = ", in plain letters (some of those here only look like them)" if alike else ""
    return f"Did you mean {repr(guess) if quoted else guess}{why}?"


def listed(names: Iterable[str], none: str = "none") -> str:
    """Return names for `allowed: ...`: the first ones, and how many more there are."""
    known = list(names)
    more = f", ... and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ", ".join(known[:SHOWN]) + more if known else none


def unknown(kind: str, got: str, known: Iterable[str]) -> str:
    """Return the message for an unknown name, with the near miss and the list of known names.

    `kind` is the room in the plural, as in "losses".
    """
    names = sorted(known)
    hint = meant(got, names)
    hint = f" {hint}" if hint else ""
    return f"{kind}: no plug-in is called {got[:100]!r}.{hint} Known: {listed(names)}."


def resolve(table: Mapping[str, str], name: str, room: str = "") -> Any:
    """Return the class that `table` holds under `name`, imported now.

    Args:
        table: the plug-in table of a room.
        name: the plug-in's only name.
        room: plural noun for messages, e.g. "losses"; a `Table` knows its own.

    Raises:
        PluginError: no such name, a plug-in that needs a package that is not installed, or an installed one that
            cannot be imported.
    """
    room = room or (table.room if isinstance(table, Table) else "plug-ins")
    if name not in table:
        raise PluginError(unknown(room, name, table))
    module_name, _, class_name = table[name].partition(":")
    origin = table.origin(name) if isinstance(table, Table) else None
    try:
        return getattr(importlib.import_module(module_name), class_name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == module_name.partition(".")[0]:
            if origin is None:
                raise
            raise PluginError(_broken(room, name, origin=origin, error=error)) from error
        raise PluginError(
            f"{room}: {name!r} needs the package {missing!r}, which is not installed here. "
            f"Install it, or choose another of: {', '.join(sorted(set(table) - {name}))}."
        ) from error
    except Exception as error:  # the code of a package does anything when it is imported
        if origin is None:
            raise
        raise PluginError(_broken(room, name, origin=origin, error=error)) from error


def resolve_config(table: Mapping[str, str], name: str, room: str = "") -> type:
    """Return the nested `Config` of the class that `table` holds under `name`: the dataclass of its options.

    Raises:
        PluginError: as `resolve`; or the class of an installed package has none.
    """
    made = resolve(table, name, room)
    origin = table.origin(name) if isinstance(table, Table) else None
    config: type = made.Config if origin is None else getattr(made, "Config", object)
    if origin is not None and not is_dataclass(config):
        raise PluginError(
            f"{room}: {name!r} of the installed package {origin} is {table[name]}, which has no options of its own; allowed: a "
            "class with a dataclass `Config` in it. Mend or uninstall the package, or choose another plug-in."
        )
    return config


def _broken(room: str, name: str, *, origin: str, error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    inside = not isinstance(error, ImportError | SyntaxError | AttributeError) and frames
    where = f", {frames[-1].filename}:{frames[-1].lineno}" if inside else ""
    return (
        f"{room}: {name!r} of the installed package {origin} cannot be imported ({type(error).__name__}: {error}{where}). "
        "Mend or uninstall the package, or choose another plug-in."
    )
