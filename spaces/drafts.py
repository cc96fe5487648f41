"""A space file as far as it makes sense: what is wrong with it, and the rest of it with stand-ins in the wrong places.

So one mistake does not hide the others: what is checked later (plug-ins, teacher, data) looks at all but the doubtful places.
"""

import copy
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from spaces.ablation import ablation_problems
from spaces.document import MOST, Document, Path, Problem, dotted
from spaces.domains import Domain
from spaces.leaves import DOTTED, PROBLEMS, is_domain
from spaces.objectives import COSTS
from spaces.plugins import listed, meant, near
from spaces.rules import show
from spaces.schema import Space

_NAME = re.compile(r"[A-Za-z0-9]+([._-]+[A-Za-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A space file as it was read.

    Attributes:
        space: the space, its `doubtful` places with stand-ins; None where nothing can be made of the file.
        problems: all that is wrong with it, in the order of the file; () for a sound space.
        value: the plain values of the file, overrides included.
    """

    space: Space | None
    problems: tuple[str, ...]
    value: Any


_ONE = {"kind": "none"}
_TRAINING = {"epochs": 1, "pairs_per_epoch": 1, "batch_size": 2, "lr": 1.0}
_SEARCH: dict[str, Any] = {"searcher": _ONE, "scheduler": _ONE, "trials": 1}
# What stands in for a needed key that is missing or wrong; nobody looks at it.
_STAND_INS: dict[str, Any] = {
    "name": "space",
    "teacher": "none",
    "dataset": _ONE,
    "student": _ONE,
    "losses": {},
    "training": _TRAINING,
    "objectives": {},
    "search": _SEARCH,
    "kind": "none",
    "weight": 1,
    **_TRAINING,
    **_SEARCH,
}
_ROUNDS = 6  # dropping a wrong value can leave a needed key missing, and that one's section in turn


def drafted(document: Document) -> tuple[Space | None, list[Problem]]:
    """Return the space that a document describes, stand-ins in its wrong places, and what is wrong with it."""
    problems: list[Problem] = []
    doubtful: set[Path] = set()
    value = document.value
    for number in range(_ROUNDS):
        try:
            space = Space.loaded(value, document.marks, document.source, doubtful=doubtful)
        except ValidationError as error:
            problems += [] if number else _translate(error, document)
            if len(problems) > MOST or any(not found["loc"] for found in error.errors(include_url=False)):
                break  # it is no space at all
            value = _mended(value, error, doubtful)
        else:
            return space, [*problems, *(one for one in _whole(space, document) if not _follows(one, space))]
    return None, problems


def _mended(value: Any, error: ValidationError, doubtful: set[Path]) -> Any:
    """Return plain values without what is wrong with them; note the places in `doubtful`."""
    kept = copy.deepcopy(value)
    for found in error.errors(include_url=False):
        for loc in _wrong_places(kept, found):
            # options belong to a kind: without it nothing can be said of them
            doubtful.add(loc[:-1] if loc[-1:] == ("kind",) else loc)
            here = kept
            for part in loc[:-1]:
                here = here.get(part) if isinstance(here, dict) else None
            if isinstance(here, dict) and found["type"] == "missing" and loc == found["loc"]:
                here[loc[-1]] = copy.deepcopy(_STAND_INS.get(str(loc[-1])))
            elif isinstance(here, dict):
                here.pop(loc[-1], None)
    return kept


def _wrong_places(value: Any, found: Any) -> set[Path]:
    """Return the paths that one of pydantic's errors is about: the wrong domains and values among nested options."""
    loc: Path = tuple(found["loc"])
    if found["type"] == "missing":
        return {loc, _misspelt(loc, found["input"]) or loc}
    if found["type"] != PROBLEMS:
        return {loc}
    for part in loc:
        value = value.get(part) if isinstance(value, dict) else None
    places = set()
    for inner, _ in found["ctx"]["findings"]:
        here, path = value, loc
        for part in inner:
            if not isinstance(here, dict) or is_domain(here) or part not in here:
                break
            here, path = here[part], (*path, part)
        places.add(path)
    return places


def _follows(problem: Problem, space: Space) -> bool:
    """Return whether a problem may only follow from what stands in for a wrong value."""
    parts = problem.field.split(".")
    if problem.field.startswith(("search.start.", "ablation.arms.")):
        return space.is_doubtful(".".join(parts[2:] if parts[0] == "search" else parts[3:]))
    if "when" in parts:
        place = parts.index("when")
        return any(space.is_doubtful(".".join(some)) for some in (parts[:place], parts[place + 1 :]) if some)
    return space.is_doubtful(problem.field)


def _translate(error: ValidationError, document: Document) -> Iterable[Problem]:
    """Yield the problems of a validation error with their marks."""
    errors = error.errors(include_url=False)
    unknown = {tuple(found["loc"]) for found in errors if found["type"] == "extra_forbidden"}
    for found in errors:
        loc = tuple(found["loc"])
        if found["type"] == "missing" and _misspelt(loc, found["input"]) in unknown:
            continue  # told there, with this key as what was meant
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
        model = _present(model)
        if get_origin(model) is dict:
            model = get_args(model)[1]
            continue
        named = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
        model = named.get(str(part))
        if model is None:
            return []
    model = _present(model)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _present(model: Any) -> Any:
    """Return the model of a section that may be absent, any other one as it is."""
    return (
        next(one for one in get_args(model) if one is not NoneType) if isinstance(model, UnionType) else model
    )


def _unknown_key(loc: Sequence[str | int]) -> str:
    known = _keys(loc[:-1])
    return f"got an unknown key; allowed: {', '.join(known)}. {meant(str(loc[-1]), known, 'Delete it.')}"


def _misspelt(loc: Path, section: Any) -> Path | None:
    """Return the path of an unknown key of the same section that a missing key may be written as."""
    others = [name for name in section if name not in _keys(loc[:-1])] if isinstance(section, dict) else []
    guess = near(str(loc[-1]), others)
    return None if guess is None else (*loc[:-1], guess)


def _missing_key(loc: Path, section: Any) -> str:
    """Return the message for a key that must be there; a misspelt option of the same section is named."""
    wrong = _misspelt(loc, section)
    hint = f"Did you misspell it as {wrong[-1]!r}?" if wrong else f"Add `{loc[-1]}: ...`."
    return f"got nothing; allowed: this key is needed. {hint}"


def _whole(space: Space, document: Document) -> Iterable[Problem]:
    """Yield what is wrong between sections that are right one by one."""
    weights = [loss.weight for loss in space.losses.values()]
    if not space.is_doubtful("losses", inside=True) and not any(
        isinstance(weight, Domain) or weight > 0 for weight in weights
    ):
        got = "weight 0 for every loss" if weights else "no loss"
        text = f"got {got}; allowed: at least one loss that can be above 0. Raise a weight."
        yield Problem(space.mark("losses"), "losses", text)
    if not space.is_doubtful("objectives", inside=True) and not any(
        name not in COSTS for name in space.objectives
    ):
        got = listed(space.objectives, none="no objective")
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
    yield from ablation_problems(space)
