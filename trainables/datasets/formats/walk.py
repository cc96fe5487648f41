"""Which pictures, and which other files, lie below a folder: by their endings, links followed, hidden files passed over.

torchvision's `ImageFolder` lists the same files in the same order; it takes hidden folders for classes, and walks a circle
of links until the system stops it, which is why its walk is not used here.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from spaces.errors import DatasetError
from spaces.paths import user_path
from spaces.plugins import near
from trainables.datasets.contents import reason
from trainables.datasets.jsonl_files import shown

ENDINGS = (
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
LEFT_BY_SYSTEMS = frozenset({"thumbs.db", "desktop.ini", "icon\r"})
FOLDERS_OF_SYSTEMS = frozenset({"__macosx", "@eadir", "lost+found", "$recycle.bin"})
LISTED = 5  # names in one sentence


@dataclass(kw_only=True)
class Found:
    """What lies below a folder.

    Attributes:
        pictures: paths relative to the root, folder by folder, in the order of their names.
        others: how many files of each ending were passed over.
    """

    pictures: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def is_passed_over(name: str) -> bool:
    """Return whether a folder or file is nobody's data: hidden, or left by a system."""
    return name.startswith(".") or name.casefold() in LEFT_BY_SYSTEMS | FOLDERS_OF_SYSTEMS


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, links to some among them, in their order.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name for entry in entries if not is_passed_over(entry.name) and entry.is_dir()
            )
    except OSError as error:
        raise DatasetError(
            f"{shown(str(folder))}: cannot be read ({reason(error)}). Give yourself access."
        ) from error


def pictures_below(root: Path, folder: str, problem: Callable[[str], None], *, deep: bool = True) -> Found:
    """Return the pictures below a folder.

    Args:
        root: what their names are relative to.
        folder: relative to it; "" for itself.
        problem: takes what is wrong: circles of links, links to nowhere, what is no file.
        deep: whether folders in it are entered.
    """
    found = Found()
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while pending:
        here, above = pending.pop()
        try:
            status = (root / here).stat()
            with os.scandir(root / here) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            problem(f"{shown(here)} cannot be read ({reason(error)}). Give yourself access, or remove it.")
            continue
        mark = (status.st_dev, status.st_ino)
        if mark in above:
            problem(
                f"{shown(here)} leads back to a folder that it lies in: a circle of links. Remove the link."
            )
            continue
        for entry in listed:
            name = os.path.join(here, entry.name)
            if is_passed_over(entry.name):
                continue
            if entry.is_dir():
                pending += [(name, above | {mark})] if deep else []
            else:
                _note(entry, name, found, problem)
    found.pictures.sort(key=os.path.split)
    return found


def files_below(root: Path) -> list[Path]:
    """Return the files below a folder in the order of their names, hidden ones and those of systems passed over.

    Links are followed. A folder that several links lead to, a circle too, is read once, under its own name if that is below
    the root: else its rows would be there twice.

    Raises:
        DatasetError: a folder that cannot be read, or a link that leads nowhere: what it stands for may be a split.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    own, linked = [root], list[Path]()
    while own or linked:
        here = own.pop() if own else linked.pop(0)
        try:
            status = here.stat()
            if (mark := (status.st_dev, status.st_ino)) in seen:
                continue
            seen.add(mark)
            with os.scandir(here) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise DatasetError(
                f"{shown(str(here))}: cannot be read ({reason(error)}). Give yourself access, or remove it."
            ) from error
        for entry in listed:
            if is_passed_over(entry.name):
                continue
            if entry.is_dir():
                (linked if entry.is_symlink() else own).append(here / entry.name)
            elif entry.is_file():
                found.append(here / entry.name)
            elif entry.is_symlink() and not os.path.exists(entry.path):
                raise DatasetError(f"{shown(entry.path)} is a link that leads nowhere. Mend or remove it.")
    return sorted(found)


def _note(entry: os.DirEntry[str], name: str, found: Found, problem: Callable[[str], None]) -> None:
    """Take a file, or say why it is none."""
    if not name.lower().endswith(ENDINGS):
        found.others[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1
    elif entry.is_file():
        found.pictures.append(name)
    elif entry.is_symlink() and not os.path.exists(entry.path):
        problem(f"{shown(name)} is a link that leads nowhere. Mend or remove it.")
    else:
        problem(f"{shown(name)} is neither file nor folder (a pipe, socket or device). Remove it.")


def told_others(others: Counter[str]) -> list[str]:
    """Return what is said of files that were passed over, a line; [] where there were none."""
    if not others:
        return []
    kinds = ", ".join(f"{shown(ending, 20)} ({count:,})" for ending, count in others.most_common(LISTED))
    more = f" and {len(others) - LISTED} endings more" if len(others) > LISTED else ""
    return [
        f"{others.total():,} {'files are' if others.total() > 1 else 'file is'} not read, being no picture by the ending: "
        f"{kinds}{more}"
    ]


def alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of names that differ in case or Unicode form only: on other machines they are one."""
    first: dict[str, str] = {}
    found = []
    for name in names:
        other = first.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            found.append((other, name))
    return found


def some(names: Iterable[str]) -> str:
    """Return the first of some names, and how many more there are."""
    known = list(names)
    more = f" and {len(known) - LISTED:,} more" if len(known) > LISTED else ""
    return ", ".join(shown(name, 60) for name in known[:LISTED]) + more


def folder_of(kind: str, text: str) -> Path:
    """Return the folder of a data set, from the root.

    Raises:
        DatasetError: it is none, told with what it may be.
    """
    path = user_path(text).absolute()
    give = f"Give the folder: --dataset {kind}:FOLDER."
    if not text.strip():  # else it would be whatever folder the command is given in
        raise DatasetError(f"dataset.root: got {text!r}; allowed: a folder. {give}")
    try:
        if path.is_dir():
            return path
        if path.is_file():
            advice = (
                "Unpack it, and give its folder"
                if path.name.lower().endswith(ARCHIVES)
                else "Give its folder"
            )
            raise DatasetError(
                f"dataset.root: {shown(str(path))} is a file; allowed: a folder. {advice}: --dataset {kind}:FOLDER."
            )
        beside = [entry.name for entry in os.scandir(path.parent)] if path.parent.is_dir() else []
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = reason(error) if isinstance(error, OSError) else "no folder has such a name"
        raise DatasetError(f"dataset.root: {shown(str(path))} cannot be read ({why}). {give}") from error
    guess = near(path.name, beside) if path.name else None
    hint = f"Did you mean {shown(str(path.parent / guess))}?" if guess else give
    raise DatasetError(f"dataset.root: {shown(str(path))} does not exist. {hint}")
