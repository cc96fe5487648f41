"""Rows of a user's tables: rows of one picture are joined, whatever file and line they stand in."""

import ast
import io
import json
import os
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spaces.errors import DatasetError
from spaces.plugins import near
from trainables.datasets.formats.parquet import split_of
from trainables.datasets.formats.walk import is_passed_over, some
from trainables.datasets.jsonl_files import shown
from trainables.datasets.prepare.items import Item, Question
from trainables.datasets.prepare.listing import MOST_PROBED, Asked, Lister

WORDS_OF_SPLITS = {
    "train": "train",
    "training": "train",
    "restval": "train",  # Karpathy and Fei-Fei 2015: what COCO's validation pictures add to training
    "val": "val",
    "validation": "val",
    "valid": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
IMAGE_COLUMNS = ("image", "filepath", "file", "path", "image_path", "file_name", "filename")
CAPTION_COLUMNS = ("caption", "captions", "title", "text")
SPLIT_COLUMNS = ("split",)
QUESTION_FIELDS = ("question", "answer", "answers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What one row says.

    Attributes:
        place: file and line.
        split: as the row or its file names it; "" where neither does.
        image: path of the picture, as the row gives it.
        captions: whatever stands there.
        asked: questions with their answers, whatever they are.
        source: for a picture inside of a Parquet file: that file and the row.
    """

    place: str
    split: str
    image: Any
    captions: Sequence[Any] = ()
    asked: Sequence[tuple[Any, Sequence[Any]]] = ()
    source: tuple[str, int] | None = None


@dataclass(kw_only=True)
class Joined:
    """Pictures by their paths, in the order of their first rows."""

    lister: Lister
    root: Path
    found: dict[str, Item] = field(default_factory=dict)
    unread: dict[str, None] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Take a row; what cannot be used of it is noted."""
        name = self._name(row)
        if name is None:
            return
        item = self.found.get(name)
        if item is None:
            file, number = row.source or (str(self.root / name), -1)
            item = self.found[name] = Item(name=name, split=row.split, place=row.place, file=file, row=number)
        elif item.split != row.split:
            self.lister.problems.add(
                f"{row.place}: {shown(name)} is in {row.split or 'no split'!r} here and in {item.split or 'no split'!r} at "
                f"{item.place}; allowed: one split per picture, or the test figures mean nothing. Mend one of them."
            )
            return
        item.captions += self.lister.captions(row.captions, name, f"{row.place} caption")
        for number, (question, answers) in enumerate(row.asked):
            where = f"{row.place} question[{number}]"
            text = self.lister.text("question", question, name, where)
            told = [self.lister.text("answer", one, name, where) for one in answers]
            given = tuple(one for one in told if one is not None)
            if text is not None and given:
                item.questions.append(Question(id="", text=text, answers=given))
            elif text is not None:
                why = "none of its answers is a text" if answers else "has no answer"
                self.lister.leave_out("question", name, where, why)

    def finish(self, *, needs_text: bool) -> None:
        """Hand all pictures on; note columns that nobody reads, and that there is no text at all.

        Raises:
            DatasetError: the first of them are nowhere.
        """
        items = list(self.found.values())
        probed = [item for item in items if item.row < 0][:MOST_PROBED]
        if probed and not any(map(os.path.isfile, (item.file for item in probed))):
            raise DatasetError(
                f"{self.root}: none of the first {len(probed)} pictures is there, such as {shown(probed[0].name)} "
                f"({probed[0].place}). Say where paths start: --image-root FOLDER."
            )
        for item in items:
            self.lister.take(item, needs_text=needs_text)
        notes = self.lister.found.notes
        if not needs_text:
            notes.append(
                "pictures have no texts: none were found; --caption-column NAME says where they stand"
            )
        if self.unread:
            notes.append(f"columns not read: {some(list(self.unread))}")

    def _name(self, row: Row) -> str | None:
        if row.source is not None:
            return str(row.image)
        why = ""
        if not isinstance(row.image, str) or not row.image.strip():
            why = f"names no picture: {shown(repr(row.image), 60)}"
        elif "://" in row.image:
            why = f"pictures are not fetched: {shown(row.image, 60)}; download them and give their paths"
        elif "\0" in row.image:
            why = "no file has a NUL character in its name"
        if why:
            self.lister.leave_out("picture", str(row.image), row.place, why)
            return None
        return os.path.normpath(row.image.strip())


def joined(lister: Lister) -> Joined:
    """Return a collection whose paths start from `--image-root`, else from the folder of the data."""
    root = lister.asked.root
    return Joined(lister=lister, root=lister.asked.image_root or (root if root.is_dir() else root.parent))


def files_of(asked: Asked, endings: Sequence[str]) -> list[Path]:
    """Return the files of a table: the one that is given, or those of a folder, in the order of their names.

    Raises:
        DatasetError: there is none.
    """
    root = asked.root
    if root.is_file():
        return [root]
    found = sorted(
        one
        for one in root.iterdir()
        if one.suffix.lower() in endings and one.is_file() and not is_passed_over(one.name)
    )
    if not found:
        raise DatasetError(
            f"--root {root}: holds no file that ends in {' or '.join(endings)}. Give the file itself, or its folder."
        )
    return found


def split_word(lister: Lister, value: Any, place: str, file: Path) -> str:
    """Return the split that a row names, else the one in the name of its file, else ""; a wrong word is a problem."""
    if value is None or value == "":
        return split_of(Path(file.name))
    return lister.split_of(value, place, WORDS_OF_SPLITS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Names of the columns that are read; "" for one that is not there."""

    image: str
    caption: str
    split: str


def columns(pictures: Joined, there: Sequence[str], *, file: Path) -> Columns:
    """Return which columns of a table are read, and keep the others, to be told.

    Raises:
        DatasetError: a name stands twice, one that was asked for is not there, or there is none of pictures.
    """
    asked = pictures.lister.asked
    found = Columns(
        image=column(asked.image_column, "image-column", IMAGE_COLUMNS, there, file=file),
        caption=column(asked.caption_column, "caption-column", CAPTION_COLUMNS, there, file=file),
        split=column(asked.split_column, "split-column", SPLIT_COLUMNS, there, file=file),
    )
    if not found.image:
        raise DatasetError(
            f"{file}: no column is called {' or '.join(IMAGE_COLUMNS)}; it has {some(list(there))}. "
            "Name the one of the pictures: --image-column NAME."
        )
    read = (found.image, found.caption, found.split)
    if twice := [name for name, count in Counter(there).items() if count > 1 and name in read and name]:
        raise DatasetError(
            f"{file}: {some(twice)} stands twice among its columns, and one of them would be lost. Rename one."
        )
    pictures.unread |= dict.fromkeys(name for name in there if name and name not in read)
    return found


def column(asked: str | None, flag: str, usual: Sequence[str], there: Iterable[str], *, file: Path) -> str:
    """Return the name of a column that is there; "" where none of the usual ones is.

    Raises:
        DatasetError: the one that was asked for is not there.
    """
    known = list(there)
    if asked is None:
        return next((one for one in usual if one in known), "")
    if asked not in known:
        guess = near(asked, known)
        hint = (
            f"Did you mean {guess!r}?" if guess else f"It has {', '.join(shown(one, 40) for one in known)}."
        )
        raise DatasetError(f"--{flag}: {file.name} has no column {asked!r}. {hint}")
    return asked


def asked_of(row: Mapping[str, Any]) -> list[tuple[Any, Sequence[Any]]]:
    """Return the questions of an object: `question` with `answer` or `answers`, and a list `questions` of such objects.

    What stands in that list and is none comes out as it is, to be told.
    """
    own = [row] if any(row.get(key) is not None for key in QUESTION_FIELDS) else []
    rows = [*own, *many(row.get("questions"))]
    return [
        (one.get("question"), many(one.get("answers")) or many(one.get("answer")))
        if isinstance(one, Mapping)
        else (one, ())
        for one in rows
    ]


def lines_of(text: str) -> list[str]:
    """Return the lines of a text that are not empty, parted as files are, and not at marks that are blanks in a line."""
    return [line for line in re.split(r"\r\n|\r|\n", text) if line.strip()]


def in_cell(text: str) -> list[str]:
    """Return the captions in a cell of a table: the text, or those of a list, written as JSON or as Python prints one."""
    if not (text.startswith("[") and text.endswith("]")):
        return [text]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = _printed(text)
    texts = isinstance(found, list) and found and all(isinstance(one, str) for one in found)
    return found if texts else [text]


def _printed(text: str) -> list[str]:
    """Return the texts of a list as Python or NumPy prints it, where commas may be missing; [] for anything else."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        quoted = [one.string for one in tokens if one.type == tokenize.STRING]
        others = {one.string.strip() for one in tokens if one.type != tokenize.STRING}
        found = [ast.literal_eval(one) for one in quoted]
    except (tokenize.TokenError, SyntaxError, ValueError, MemoryError, RecursionError):
        return []
    return found if others <= {"[", "]", ",", ""} else []


def many(value: Any) -> list[Any]:
    """Return a value as a list; None as an empty one."""
    return [] if value is None else value if isinstance(value, list) else [value]
