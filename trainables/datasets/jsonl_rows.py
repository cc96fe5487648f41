"""Reads the lines of a JSONL data set; every problem of the file is collected before one is told."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spaces.errors import DatasetError
from trainables.datasets.base import SPLITS

SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Names of the fields of a row; captions may also stand under `<caption>s`, as a list or as one text."""

    image: str
    caption: str
    split: str


@dataclass(kw_only=True)
class Picture:
    """One picture with all that the file says about it, over all of its rows.

    Attributes:
        path: the file.
        name: as the rows give it.
        line: its first row.
        split: train, val, test; "" where the rows do not say.
        captions, questions, answers: in the order of the file; the last two are parallel.
    """

    path: Path
    name: str
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

    def add(self, line: int, text: str) -> None:
        """Note one problem."""
        self.lines.append((line, text))

    def raise_any(self) -> None:
        """Raise all problems as one error: the first ten in the order of the file, and how many there are.

        Raises:
            DatasetError: there is a problem.
        """
        if not self.lines:
            return
        shown = [f"{self.file}:{line}: {text}" for line, text in sorted(self.lines)[:SHOWN]]
        count = len(self.lines)
        if count > SHOWN:
            shown.append(
                f"... and {count - SHOWN} more: {count} problems in all. Mend or remove these lines."
            )
        raise DatasetError("\n".join(shown))


class _RowError(Exception):
    """One thing that is wrong with a row."""


def read_pictures(file: Path, root: Path, fields: Fields, problems: Problems) -> list[Picture]:
    """Return the pictures of a JSONL file in the order of their first rows, noting what is wrong.

    Args:
        file: one JSON object per line; empty lines are skipped.
        root: the folder that relative image paths start from.
        fields: names of the fields.
        problems: takes what is wrong; rows with a problem give nothing.
    """
    pictures: dict[str, Picture] = {}
    for line, row in _rows(file, problems):
        try:
            name = os.path.normpath(_text(row, fields.image))
            split = _split(row, fields.split)
            captions, asked = _captions(row, fields.caption), _questions(row)
            if not captions and not asked:
                raise _RowError(
                    f"no caption: allowed are fields {fields.caption!r} or '{fields.caption}s', "
                    "or a question with its answer"
                )
        except _RowError as error:
            problems.add(line, f"{error}.")
            continue
        picture = pictures.get(name)
        if picture is None:
            picture = pictures[name] = Picture(path=root / name, name=name, line=line, split=split)
            if not picture.path.is_file():
                problems.add(
                    line, f"{fields.image}: {picture.path} does not exist; check the path or image_root."
                )
        elif picture.split != split:
            problems.add(
                line,
                f"{fields.split}: {name} is in {split or 'no split'!r} here and in "
                f"{picture.split or 'no split'!r} at line {picture.line}; allowed: one split per picture, "
                "or the test figures mean nothing.",
            )
        picture.captions += captions
        picture.questions += [question for question, _ in asked]
        picture.answers += [answer for _, answer in asked]
    for picture in pictures.values():
        if not picture.captions:
            problems.add(
                picture.line,
                f"{fields.caption}: {picture.name} has no caption in any of its rows; give it one.",
            )
    return list(pictures.values())


def _rows(file: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with file.open("rb") as lines:
            for number, raw in enumerate(lines, start=1):
                if not raw.strip():
                    continue
                try:
                    row = json.loads(raw.decode("utf-8-sig"))
                except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
                    problems.add(number, f"not JSON ({error}); allowed: one JSON object per line.")
                    continue
                if isinstance(row, dict):
                    yield number, row
                else:
                    problems.add(number, f"got a {type(row).__name__}; allowed: one JSON object per line.")
    except OSError as error:
        raise DatasetError(
            f"{file}: cannot be read ({error.strerror or error}). Give the JSONL file of the data set."
        ) from error


def _text(row: Mapping[str, Any], name: str) -> str:
    if name not in row:
        raise _RowError(f"no field {name!r}; the row has {', '.join(sorted(row)) or 'no field'}")
    return _checked(row[name], name)


def _checked(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _RowError(f"{name}: got {type(value).__name__} {value!r:.40}; allowed: text")
    if not value.strip():
        raise _RowError(f"{name}: is empty; allowed: at least one word")
    return value.strip()


def _split(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if value not in SPLITS:
        raise _RowError(f"{name}: got {value!r}; allowed: {', '.join(SPLITS)}")
    return str(value)


def _captions(row: Mapping[str, Any], name: str) -> list[str]:
    captions: list[str] = []
    for field_name in (name, f"{name}s"):
        if field_name not in row:
            continue
        value = row[field_name]
        if isinstance(value, list):
            if not value:
                raise _RowError(f"{field_name}: is empty; allowed: at least one caption")
            captions += [_checked(item, f"{field_name}[{index}]") for index, item in enumerate(value)]
        else:
            captions.append(_checked(value, field_name))
    return captions


def _questions(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    asked: list[tuple[str, str]] = []
    if "question" in row or "answer" in row:
        asked.append((_text(row, "question"), _text(row, "answer")))
    items = row.get("questions", [])
    if not isinstance(items, list):
        raise _RowError(f"questions: got {type(items).__name__}; allowed: a list of {{question, answer}}")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise _RowError(f"questions[{index}]: got {type(item).__name__}; allowed: {{question, answer}}")
        asked.append((_text(item, "question"), _text(item, "answer")))
    return asked
