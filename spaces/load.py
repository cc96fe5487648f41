"""From a space file and --set flags to a checked Space, or all that is wrong with them at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path as FilePath
from typing import Any

from spaces.document import (
    DEEPEST,
    LONGEST,
    Document,
    Mark,
    Problem,
    in_order,
    printed,
    read_document,
    too_deep,
    write_document,
)
from spaces.drafts import Draft, drafted
from spaces.errors import SpaceError
from spaces.paths import shipped
from spaces.rules import show
from spaces.schema import Space

SPACE, RECIPE = "spaces/dlip.yaml", "spaces/recipes/distilled.yaml"


@dataclass(frozen=True)
class Override:
    """One field set from the command line.

    Attributes:
        flag: what the user typed, for messages: `--teacher DIR`.
        path: dotted path of the field.
        value: plain value.
    """

    flag: str
    path: str
    value: Any


def parse_setting(text: str) -> tuple[Override | None, list[Problem]]:
    """Return the override that `--set path=value` means, its value read as YAML, or what is wrong with it."""
    mark = Mark(f"--set {printed(text)}")
    path, equals, value = text.partition("=")
    parts = path.strip().split(".")
    if not equals or not all(parts):
        advice = "allowed: path=value. Write for example --set losses.itc.weight=0.5."
        return None, [Problem(mark, "", f"got {printed(text)!r}; {advice}")]
    if len(parts) > DEEPEST:
        return None, [Problem(mark, "", too_deep())]
    document = read_document(value, mark.source, flag=True)
    return Override(mark.source, ".".join(parts), document.value), document.problems


def _checked(override: Override) -> tuple[Override, list[Problem]]:
    """Return an override, whose value may come from Python, and what a file could not hold of it."""
    mark, keys = Mark(printed(override.flag)), override.path.split(".")
    if len(keys) > DEEPEST:
        return override, [Problem(mark, "", too_deep())]
    if not all(keys):
        return override, [
            Problem(mark, "", "got no dotted path; allowed: keys with dots between. Write a.b.")
        ]
    found = _foreign(override.value, DEEPEST)
    if found:
        text = f"got {found}; allowed: what a file can hold: numbers, texts, true, false, null, lists, mappings of texts."
        return override, [Problem(mark, override.path, f"{text} Convert it.")]
    return replace(override, value=_native(override.value)), []


def _native(value: Any) -> Any:
    """Return a value without types of one's own, such as the numbers and texts of numpy: a file is to hold it."""
    if isinstance(value, dict):
        return {_native(key): _native(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_native(part) for part in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _foreign(value: Any, levels: int) -> str:
    """Return what in a value no file can hold, "" for nothing."""
    if levels < 0:
        return f"more than {DEEPEST} levels"
    if isinstance(value, dict):
        odd = [key for key in value if not isinstance(key, str)]
        inner: Sequence[Any] = list(value.values())
        if odd:
            return f"a key of the type {type(odd[0]).__name__}"
    else:
        inner = value if isinstance(value, list | tuple) else ()
    texts = [one for one in (value, *(value if isinstance(value, dict) else ())) if isinstance(one, str)]
    if any("\ud800" <= char <= "\udfff" for text in texts for char in text):
        return "half of a character"
    if isinstance(value, Integral) and abs(int(value)) >= 10**LONGEST:
        return f"a number of more than {LONGEST} digits"
    if value is not None and not isinstance(value, Real | str | list | tuple | dict):
        return f"a value of the type {type(value).__name__}"
    return next(filter(None, (_foreign(part, levels - 1) for part in inner)), "")


def load_space(path: str | FilePath, overrides: Sequence[str | Override] = ()) -> Space:
    """Return the space in a file, its overrides applied.

    Args:
        path: a YAML 1.2 file.
        overrides: texts `path=value` (the value is YAML), or Override where another flag sets a field.

    Raises:
        SpaceError: all that is wrong with the file and the overrides.
    """
    draft = read_draft(path, overrides)
    if draft.space is None or draft.problems:
        raise SpaceError(list(draft.problems))
    return draft.space


def read_draft(path: str | FilePath, overrides: Sequence[str | Override] = ()) -> Draft:
    """Return what can be read of a space file, and all that is wrong with it; arguments as of `load_space`.

    Raises:
        SpaceError: the file cannot be read, or it says nothing.
    """
    document = _read(FilePath(path))
    problems = list(document.problems)
    broken = document.value is None and bool(problems)
    for override in overrides:
        parsed, more = parse_setting(override) if isinstance(override, str) else _checked(override)
        problems += more
        if parsed is not None and not more:
            document.put(tuple(parsed.path.split(".")), parsed.value, Mark(printed(parsed.flag)))
    space = None
    if not broken:
        space, more = drafted(document)
        problems += more
    return Draft(space=space, problems=in_order(map(str, problems), document.source), value=document.value)


def dump_space(space: Space) -> str:
    """Return the text of a space file that loads to the same Space."""
    return write_document(space.resolved())


def read_recipe(path: FilePath) -> tuple[Override, ...]:
    """Return what a recipe file sets: plain values at dotted paths, each with the place where it stands.

    Raises:
        SpaceError: the file cannot be read, says nothing, or is not of that form.
    """
    document = _read(path, "recipe", RECIPE)
    if document.problems:
        raise SpaceError(in_order(map(str, document.problems), document.source))
    return tuple(
        Override(str(document.mark(place)), ".".join(place), value)
        for place, value in _plain(document.value, ())
    )


def _plain(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and value of everything in nested mappings that is none, or is empty."""
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for key, part in value.items():
        yield from _plain(part, (*path, key))


def _read(path: FilePath, kind: str = "space", sample: str = SPACE) -> Document:
    """Return the document of a file.

    Args:
        path: of the file; a shipped one is found wherever one stands.
        kind: of the file, for messages.
        sample: the shipped one.

    Raises:
        SpaceError: the file cannot be read or says nothing.
    """
    path, sample = shipped(path), str(shipped(FilePath(sample)))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpaceError(
            [
                f"{path}: got no readable file ({error.strerror or error}); allowed: a {kind} file. Check the path; "
                f"{sample} is the shipped one."
            ]
        ) from error
    except UnicodeDecodeError as error:
        raise SpaceError(
            [f"{path}: got bytes that are not UTF-8; allowed: UTF-8 text. Save it as such."]
        ) from error
    document = read_document(text, str(path))
    if document.value is None and not document.problems:
        raise SpaceError([f"{path}: got an empty file; allowed: a {kind}. Start from a copy of {sample}."])
    if document.value is not None and not isinstance(document.value, dict):
        raise SpaceError(
            [
                f"{path}: got {show(document.value)}; allowed: `key: value` lines. "
                f"Start from a copy of {sample}."
            ]
        )
    return document
