"""Small files beside pictures: tables of text, and JSON; read whole, and told where they are torn."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spaces.errors import DatasetError
from spaces.plugins import near
from trainables.datasets.contents import reason
from trainables.datasets.jsonl_files import shown, what_it_is

LFS = b"version https://git-lfs"


def read_bytes(file: Path, what: str) -> bytes:
    """Return what a file holds.

    Args:
        file: of the data set.
        what: it is, for the message.

    Raises:
        DatasetError: it is not there, cannot be read, or is the pointer that Git LFS leaves in its place.
    """
    try:
        wrong = what_it_is(file)
        content = b"" if wrong else file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        wrong = "does not exist" + _beside(file)
    except OSError as error:
        wrong = f"cannot be read ({reason(error)})"
    if not wrong and content.startswith(LFS):
        wrong = "is a pointer of Git LFS and not the file itself (git lfs pull)"
    if wrong:
        raise DatasetError(f"{shown(str(file))} {wrong}. It is {what}. Put it there, whole.")
    return content


def _beside(file: Path) -> str:
    """Return a hint at a file that is called nearly so."""
    try:
        guess = near(file.name, os.listdir(file.parent))
    except OSError:
        return f" (there is no folder {shown(str(file.parent))})"
    return f" (there is {shown(guess)})" if guess else ""


def lines(file: Path, what: str) -> Iterator[tuple[int, list[str]]]:
    """Yield number and columns, divided by tabs, of the lines that are not empty.

    Raises:
        DatasetError: see `read_bytes`; or it is no UTF-8.
    """
    try:
        text = read_bytes(file, what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{shown(str(file))}: byte {error.start + 1} is no UTF-8. It is {what}; save it so."
        ) from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, [part.strip() for part in line.split("\t")]


def read_json(file: Path, what: str) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        DatasetError: see `read_any_json`; or it is no object.
    """
    found = read_any_json(file, what)
    if not isinstance(found, dict):
        raise DatasetError(
            f"{shown(str(file))} holds a {type(found).__name__}; allowed: an object. It is {what}."
        )
    return found


def read_any_json(file: Path, what: str) -> Any:
    """Return what a JSON file holds.

    Raises:
        DatasetError: see `read_bytes`; or it is no JSON.
    """
    content = read_bytes(file, what)
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        torn = error.pos >= len(error.doc.rstrip()) - 1 or error.msg.startswith("Unterminated")
        why = (
            f"is torn: it ends at byte {len(content):,} in the middle"
            if torn
            else (f"is no JSON ({error.msg}, line {error.lineno}, character {error.colno})")
        )
        raise DatasetError(f"{shown(str(file))} {why}. It is {what}. Copy it again.") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"{shown(str(file))} is no JSON that can be read ({type(error).__name__}). It is {what}."
        ) from error
