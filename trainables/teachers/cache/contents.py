"""What a cache folder says of itself: `meta.json`, with the parts of its key and its sets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spaces.errors import TeacherError
from spaces.files import write_text
from trainables.datasets.cache_folder import unusable
from trainables.signals import Want, Wants
from trainables.teachers.cache.layout import META, Parts, from_json, part_path, to_json

AGAIN = "it is computed again"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantSet:
    """Wants that were filled together.

    Attributes:
        name: eight hex digits, the beginning of its files' names.
        wants: in the order of their names.
        count: number of its parts.
        complete: whether all of them were written.
    """

    name: str
    wants: tuple[Want, ...]
    count: int
    complete: bool = False

    def paths(self, folder: Path) -> list[Path]:
        """Return its files."""
        return [part_path(folder, self.name, number, self.count) for number in range(self.count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What `meta.json` says.

    Attributes:
        parts: of the key.
        told: for people: name of the teacher, kind of data, ...
        sets: in the order in which they were begun.
    """

    parts: Parts = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    sets: tuple[WantSet, ...] = ()

    @property
    def wants(self) -> Wants:
        """What is there whole."""
        return frozenset(want for one in self.sets if one.complete for want in one.wants)

    def with_set(self, new: WantSet) -> "Contents":
        """Return them with a set in the place of that of its name, or behind all others."""
        if any(one.name == new.name for one in self.sets):
            return replace(self, sets=tuple(new if one.name == new.name else one for one in self.sets))
        return replace(self, sets=(*self.sets, new))

    def write(self, folder: Path) -> None:
        """Write `meta.json`.

        Raises:
            StorageError: it cannot be written.
        """
        fields = {
            "key": dict(self.parts),
            "of": dict(self.told),
            "sets": {
                one.name: {
                    "wants": [to_json(want) for want in one.wants],
                    "parts": one.count,
                    "complete": one.complete,
                }
                for one in self.sets
            },
        }
        write_text(folder / META, json.dumps(fields, indent=1) + "\n")


def read_contents(folder: Path) -> Contents:
    """Return what a cache folder says of itself.

    Raises:
        TeacherError: it cannot be read, or is no cache.
    """
    try:
        fields = json.loads((folder / META).read_text(encoding="utf-8"))
        if isinstance(fields, dict) and "key" not in fields and isinstance(fields.get("teacher"), str):
            raise TeacherError(
                f"teacher cache {folder}: an earlier version of this code made it, which this one does not read. Resume the run, "
                "or start it again: the cache is made anew, in another folder."
            )
        return Contents(
            parts=_texts(fields["key"]),
            told=_texts(fields["of"]),
            sets=tuple(_set(name, one) for name, one in fields["sets"].items()),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TeacherError(f"teacher cache {unusable(folder / META, error, AGAIN)}") from error


def known_contents(folder: Path, parts: Parts, told: Mapping[str, str]) -> Contents:
    """Return what a folder says of itself that is to be filled; nothing of one that says nothing, or something damaged.

    Raises:
        TeacherError: it is another cache: says which parts of the key differ.
    """
    try:
        found = read_contents(folder)
    except TeacherError:
        return Contents(parts=parts, told=told)
    check_parts(folder, found.parts, parts)
    return replace(found, parts={**found.parts, **parts}, told={**found.told, **told})


def check_parts(folder: Path, found: Parts, asked: Parts) -> None:
    """Refuse a cache of something else.

    Args:
        folder: of the cache.
        found: what it says it is of.
        asked: what it is to be of; parts with "" are not known, and not compared.

    Raises:
        TeacherError: names each part that differs, and what stands there.
    """
    other = [name for name, value in asked.items() if value and found.get(name) != value]
    if other:
        told = "; ".join(
            f"another {name} (got {found.get(name, 'none')[:60]}, wanted {asked[name][:60]})"
            for name in other
        )
        raise TeacherError(
            f"teacher cache {folder}: is of {told}. Delete it, and {AGAIN}; or give what it was made of."
        )


def _texts(fields: Any) -> dict[str, str]:
    found = dict(fields.items())
    if not all(isinstance(one, str) for one in (*found, *found.values())):
        raise TypeError("no texts")
    return found


def _set(name: str, fields: Any) -> WantSet:
    count, complete = fields["parts"], fields["complete"]
    if type(count) is not int or count < 1 or type(complete) is not bool:
        raise TypeError(f"parts: {str(count)[:40]}, complete: {str(complete)[:40]}")
    wants = tuple(from_json(one) for one in fields["wants"])
    return WantSet(name=name, wants=wants, count=count, complete=complete)
