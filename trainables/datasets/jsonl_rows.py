"""Reads the lines of a JSONL data set; every problem of the file is collected before one is told.

Whatever a line holds, it gives a row or a problem with its line: nothing that is raised inside leaves it otherwise.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from spaces.errors import DatasetError
from trainables.datasets.base import SPLITS
from trainables.datasets.jsonl_fields import Fields
from trainables.datasets.jsonl_files import Files, NoPicture, shown

SHOWN = 10
KEPT = 1000  # problems of which the text is kept
LONGEST = 1 << 24  # bytes of a line; a file without line ends would fill the memory


@dataclass(kw_only=True)
class Picture:
    """One picture with all that the file says about it, over all of its rows.

    Attributes:
        path: the file.
        name: as its first row gives it.
        identity: the resolved file, relative to the resolved root: the same however a row spells it.
        line: its first row.
        split: train, val, test; "" where the rows do not say.
        captions, questions, answers: in the order of the file; the last two are parallel.
    """

    path: Path
    name: str
    identity: str
    line: int
    split: str
    captions: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)


class Problems:
    """What is wrong with a file, line by line."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines: list[tuple[int, str]] = []
        self.count = 0

    def add(self, line: int, text: str) -> None:
        """Note one problem."""
        self.count += 1
        if len(self.lines) < KEPT:
            self.lines.append((line, text))

    def raise_any(self) -> None:
        """Raise all problems as one error: the first ten in the order of the file, and how many there are.

        Raises:
            DatasetError: there is a problem.
        """
        if not self.lines:
            return
        told = [f"{self.file}:{line}: {text}" for line, text in sorted(self.lines)[:SHOWN]]
        if self.count > SHOWN:
            told.append(
                f"... and {self.count - SHOWN} more: {self.count} problems in all. Mend or remove these lines."
            )
        raise DatasetError("\n".join(told))


class _RowError(Exception):
    """One thing that is wrong with a row."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    """What one line says."""

    name: str
    split: str
    captions: list[str]
    asked: list[tuple[str, str]]


def read_pictures(file: Path, files: Files, fields: Fields, problems: Problems) -> list[Picture]:
    """Return the pictures of a JSONL file in the order of their first rows, noting what is wrong.

    Args:
        file: one JSON object per line; empty lines are skipped.
        files: finds pictures.
        fields: names of the fields.
        problems: takes what is wrong; rows with a problem give nothing.
    """
    pictures: dict[str, Picture] = {}
    found: dict[str, tuple[Path, str] | None] = {}  # by the name of a row; None: told already
    for line, raw in _lines(file, problems):
        try:
            row = _read(raw, fields)
            if row.name not in found:
                found[row.name] = None
                found[row.name] = files.find(row.name, row.captions[0] if row.captions else "")
        except NoPicture as error:
            problems.add(line, f"{fields.image}: {error}{'' if str(error).endswith('?') else '.'}")
        except _RowError as error:
            problems.add(line, f"{error}{'' if str(error).endswith('?') else '.'}")
        except Exception as error:  # whatever a row can do to us, its line is told
            problems.add(line, f"cannot be used ({type(error).__name__}: {shown(str(error))}).")
        else:
            place = found[row.name]
            if place is not None:
                _join(
                    pictures,
                    row,
                    Picture(path=place[0], name=row.name, identity=place[1], line=line, split=row.split),
                    problems,
                    fields,
                )
    for picture in pictures.values():
        if not picture.captions:
            problems.add(
                picture.line,
                f"{fields.caption}: {shown(picture.name)} has no caption in any of its rows; give it one.",
            )
    return list(pictures.values())


def _join(pictures: dict[str, Picture], row: _Row, seen: Picture, problems: Problems, fields: Fields) -> None:
    """Add what a row says to its picture."""
    picture = pictures.setdefault(seen.identity, seen)
    if picture.split != seen.split:
        other = "" if picture.name == seen.name else f" as {shown(picture.name)}"
        problems.add(
            seen.line,
            f"{fields.split}: {shown(seen.name)} is in {seen.split or 'no split'!r} here and in "
            f"{picture.split or 'no split'!r} at line {picture.line}{other}; allowed: one split per picture, "
            "or the test figures mean nothing.",
        )
    picture.captions += row.captions
    picture.questions += [question for question, _ in row.asked]
    picture.answers += [answer for _, answer in row.asked]


def _lines(file: Path, problems: Problems) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not empty, with their numbers."""
    number = 0
    try:
        with file.open("rb") as source:
            while raw := source.readline(LONGEST):
                number += 1
                if len(raw) == LONGEST and not raw.endswith(b"\n"):
                    problems.add(
                        number, f"has more than {LONGEST:,} bytes; allowed: one JSON object per line."
                    )
                    while raw and not raw.endswith(b"\n"):
                        raw = source.readline(LONGEST)
                elif raw.strip():
                    yield number, raw
    except OSError as error:
        raise DatasetError(
            f"{file}: cannot be read ({error.strerror or error}). Give the JSONL file of the data set."
        ) from error


def _read(raw: bytes, fields: Fields) -> _Row:
    row = _object(raw)
    if slip := fields.slip(row):
        raise _RowError(slip)
    captions, asked = _captions(row, fields.caption), _questions(row)
    one = _Row(
        name=_text(row, fields.image, strip=False),
        split=_split(row, fields.split),
        captions=captions,
        asked=asked,
    )
    if not captions and not asked:
        raise _RowError(
            f"no caption: allowed are fields {fields.caption!r} or '{fields.caption}s', "
            "or a question with its answer"
        )
    return one


def _object(raw: bytes) -> dict[str, Any]:
    allowed = "allowed: one JSON object per line"
    try:
        row = _DECODER.decode(raw.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise _RowError(f"not JSON ({error.msg}, at character {error.pos + 1}); {allowed}") from error
    except UnicodeDecodeError as error:
        kind = next((kind for mark, kind in _MARKS.items() if raw.startswith(mark)), "")
        why = kind or f"byte {error.start + 1} is no UTF-8"
        raise _RowError(f"not JSON ({why}); {allowed}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets in brackets
        why = "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"
        raise _RowError(f"not JSON that can be read ({why}); {allowed}") from error
    if not isinstance(row, dict):
        raise _RowError(f"got a {type(row).__name__}; {allowed}")
    return row


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _RowError(f"{shown(name, 40)}: stands twice in one object; allowed: once")
        found[name] = value
    return found


def _no_number(name: str) -> NoReturn:
    raise _RowError(f"not JSON ({name} is no JSON value); allowed: numbers, or null")


_MARKS = {
    b"\xff\xfe": "the file is UTF-16: save it as UTF-8",
    b"\xfe\xff": "the file is UTF-16: save it as UTF-8",
    b"\x1f\x8b": "the file is compressed: unpack it",
}
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)


def _text(row: Mapping[str, Any], name: str, *, strip: bool = True) -> str:
    if row.get(name) is None:
        has = [f"{shown(key, 40)}{' (null)' if value is None else ''}" for key, value in sorted(row.items())]
        rest = f" and {len(has) - SHOWN} more" if len(has) > SHOWN else ""
        raise _RowError(f"no field {name!r}; the row has {', '.join(has[:SHOWN]) or 'no field'}{rest}")
    return _checked(row[name], name, strip=strip)


def _checked(value: object, name: str, *, strip: bool = True) -> str:
    if not isinstance(value, str):
        raise _RowError(f"{name}: got {type(value).__name__} {shown(repr(value), 40)}; allowed: text")
    if not any(letter.isprintable() and not letter.isspace() for letter in value):
        raise _RowError(f"{name}: is empty; allowed: at least one word")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _RowError(
            f"{name}: {shown(value, 60)} holds half a character (a lone surrogate); allowed: text"
        )
    return value.strip() if strip else value


def _split(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if value not in SPLITS:
        raise _RowError(f"{name}: got {shown(repr(value), 40)}; allowed: {', '.join(SPLITS)}")
    return str(value)


def _captions(row: Mapping[str, Any], name: str) -> list[str]:
    captions: list[str] = []
    for field_name in (name, f"{name}s"):
        value = row.get(field_name)
        if value is None:
            continue
        if isinstance(value, list):
            if not value:
                raise _RowError(f"{field_name}: is empty; allowed: at least one caption")
            captions += [
                _checked(item, f"{field_name}[{index}]")
                for index, item in enumerate(value)
                if item is not None
            ]
        else:
            captions.append(_checked(value, field_name))
    return captions


def _questions(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    asked = _asked(row)
    items = row.get("questions")
    if items is not None and not isinstance(items, list):
        raise _RowError(f"questions: got {type(items).__name__}; allowed: a list of {{question, answer}}")
    for index, item in enumerate(items or []):
        if item is None:
            continue
        if not isinstance(item, dict):
            raise _RowError(f"questions[{index}]: got {type(item).__name__}; allowed: {{question, answer}}")
        if "question" not in item:  # under another name it would be lost; null is none
            _text(item, "question")
        asked += _asked(item)
    return asked


def _asked(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the question and answer of an object, if it has one; null stands for none."""
    if row.get("question") is None and row.get("answer") is None:
        return []
    return [(_text(row, "question"), _text(row, "answer"))]
