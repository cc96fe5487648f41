"""From a space file and --set flags to a checked Space, or all that is wrong with them at once."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from spaces.document import DEEPEST, Document, Mark, Problem, dotted, read_document, too_deep, write_document
from spaces.domains import Domain
from spaces.errors import SpaceError
from spaces.leaves import DOTTED, PROBLEMS
from spaces.objectives import COSTS
from spaces.plugins import near
from spaces.rules import show
from spaces.schema import Space

_NAME = re.compile(r"[A-Za-z0-9]+([._-]+[A-Za-z0-9]+)*")


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


def _parse(text: str) -> tuple[Override | None, list[Problem]]:
    """Return the override that `--set path=value` means, its value read as YAML, or what is wrong with it."""
    mark = Mark(f"--set {text}")
    path, equals, value = text.partition("=")
    parts = path.strip().split(".")
    if not equals or not all(parts):
        advice = "allowed: path=value. Write for example --set losses.itc.weight=0.5."
        return None, [Problem(mark, "", f"got {text!r}; {advice}")]
    if len(parts) > DEEPEST:
        return None, [Problem(mark, "", too_deep())]
    document = read_document(value, mark.source, flag=True)
    return Override(mark.source, ".".join(parts), document.value), document.problems


def load_space(path: str | FilePath, overrides: Sequence[str | Override] = ()) -> Space:
    """Return the space in a file, its overrides applied.

    Args:
        path: a YAML 1.2 file.
        overrides: texts `path=value` (the value is YAML), or Override where another flag sets a field.

    Raises:
        SpaceError: all that is wrong with the file and the overrides.
    """
    document = _read(FilePath(path))
    problems = list(document.problems)
    broken = document.value is None and bool(problems)
    for override in overrides:
        parsed, more = _parse(override) if isinstance(override, str) else (override, [])
        problems += more
        if parsed is not None and not more:
            document.put(tuple(parsed.path.split(".")), parsed.value, Mark(parsed.flag))
    space = None
    if not broken:
        space, more = _validate(document)
        problems += more
    if space is None or problems:
        ordered = sorted(problems, key=lambda problem: problem.mark.line or float("inf"))
        raise SpaceError([str(problem) for problem in ordered])
    return space


def dump_space(space: Space) -> str:
    """Return the text of a space file that loads to the same Space."""
    return write_document(space.resolved())


def _read(path: FilePath) -> Document:
    """Return the document of a file.

    Raises:
        SpaceError: the file cannot be read or says nothing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpaceError(
            [
                f"{path}: got no readable file ({error.strerror}); allowed: a space file. Check the path; "
                "spaces/dlip.yaml is the shipped one."
            ]
        ) from error
    except UnicodeDecodeError as error:
        raise SpaceError(
            [f"{path}: got bytes that are not UTF-8; allowed: UTF-8 text. Save it as such."]
        ) from error
    document = read_document(text, str(path))
    if document.value is None and not document.problems:
        raise SpaceError(
            [f"{path}: got an empty file; allowed: a space. Start from a copy of spaces/dlip.yaml."]
        )
    if document.value is not None and not isinstance(document.value, dict):
        raise SpaceError(
            [
                f"{path}: got {show(document.value)}; allowed: `key: value` lines. "
                "Start from a copy of spaces/dlip.yaml."
            ]
        )
    return document


def _validate(document: Document) -> tuple[Space | None, list[Problem]]:
    """Return the space, or what is wrong with the document."""
    try:
        space = Space.loaded(document.value, document.marks, document.source)
    except ValidationError as error:
        return None, list(_translate(error, document))
    return space, list(_whole(space, document))


def _translate(error: ValidationError, document: Document) -> Iterable[Problem]:
    """Yield the problems of a validation error with their marks."""
    for found in error.errors(include_url=False):
        loc = tuple(found["loc"])
        if found["type"] == PROBLEMS:
            for part, text in found["ctx"]["findings"]:
                at = (*loc, *part)
                yield Problem(document.mark(at), dotted(at), text)
        elif found["type"] == "extra_forbidden":
            yield Problem(document.mark(loc), dotted(loc), _unknown_key(loc))
        elif found["type"] == "missing":
            yield Problem(document.mark(loc[:-1]), dotted(loc), _missing_key(loc, found["input"]))
        else:
            keys = ", ".join(_keys(loc)) or "`name: value` lines"
            text = (
                f"got {show(found['input'])}; allowed: a mapping with {keys}. Write them indented below it."
            )
            yield Problem(document.mark(loc), dotted(loc), text)


def _keys(loc: Sequence[str | int]) -> list[str]:
    """Return the known keys of the section at `loc`, [] where any name may stand."""
    model: Any = Space
    for part in loc:
        if get_origin(model) is dict:
            model = get_args(model)[1]
            continue
        named = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
        model = named.get(str(part))
        if model is None:
            return []
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _unknown_key(loc: Sequence[str | int]) -> str:
    known = _keys(loc[:-1])
    guess = near(str(loc[-1]), known)
    hint = f"Did you mean {guess!r}?" if guess else "Delete it."
    return f"got an unknown key; allowed: {', '.join(known)}. {hint}"


def _missing_key(loc: Sequence[str | int], section: Any) -> str:
    """Return the message for a key that must be there; a misspelt option of the same section is named."""
    key = str(loc[-1])
    others = [name for name in section if name not in _keys(loc[:-1])] if isinstance(section, dict) else []
    guess = near(key, others)
    hint = f"Did you misspell it as {guess!r}?" if guess else f"Add `{key}: ...`."
    return f"got nothing; allowed: this key is needed. {hint}"


def _whole(space: Space, document: Document) -> Iterable[Problem]:
    """Yield what is wrong between sections that are right one by one."""
    weights = [loss.weight for loss in space.losses.values()]
    if not any(isinstance(weight, Domain) or weight > 0 for weight in weights):
        got = "weight 0 for every loss" if weights else "no loss"
        text = f"got {got}; allowed: at least one loss that can be above 0. Raise a weight."
        yield Problem(space.mark("losses"), "losses", text)
    if not any(name not in COSTS for name in space.objectives):
        got = ", ".join(space.objectives) or "no objective"
        text = f"got {got}; allowed: at least one metric of quality. Add `retention: max`."
        yield Problem(space.mark("objectives"), "objectives", text)
    if not _NAME.fullmatch(space.name):
        text = (
            f"got {space.name!r}; allowed: letters, digits, - _ and dots inside. Rename: runs are called so."
        )
        yield Problem(space.mark("name"), "name", text)
    options: dict[tuple[str, ...], Any] = {("student",): space.student.options}
    options |= {("losses", name): loss.options for name, loss in space.losses.items()}
    for keys, found in options.items():
        for name in found:
            if "." in name:
                at = (*keys, name)
                yield Problem(document.mark(at), dotted(at), DOTTED)
    for kind in space.student.kinds:
        own = space.student.options.get(kind, {})
        if not isinstance(own, dict):
            got = "a domain" if isinstance(own, Domain) else show(own)
            allowed = "a mapping with the options of this kind alone"
            text = f"got {got}; allowed: {allowed}. Write them indented below it."
            yield Problem(space.mark(f"student.{kind}"), f"student.{kind}", text)
    yield from space.when_problems()
    yield from space.start_problems()
