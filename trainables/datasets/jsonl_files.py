"""Where the pictures of a JSONL file are: one name, one file; and why a name leads to none."""

import errno
import os
import re
import stat
import unicodedata
from difflib import get_close_matches
from pathlib import Path

LARGEST = 1 << 30  # bytes of a picture; more is no picture, or none that this machine could decode
REMEDY = "remove its rows, or leave out all that are broken: --set dataset.broken=quarantine"
HINTED = 10  # names for which a remedy is looked for; as many problems are shown
LISTED = 5000  # entries of a folder that are looked at for it
_TAILS = 8  # folders that may stand in front of a path which the root has already
_BASE64 = re.compile(r"[A-Za-z0-9+/_=\r\n-]{200,}")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class NoPicture(Exception):
    """A name that leads to no file that could be a picture; the text says why, and what to do."""


def shown(text: str, most: int = 160) -> str:
    """Return a text as a message can hold it: on one line, without what a terminal would obey, and not too long."""
    if not text.isprintable():
        text = ascii(text) if any("\ud800" <= letter <= "\udfff" for letter in text) else repr(text)
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 4 :]}"


def what_it_is(path: Path) -> str | None:
    """Return why a path is no file to read, or None; nothing is opened, so that a pipe cannot hold us up.

    Raises:
        OSError: it cannot be looked at.
    """
    status = path.stat()
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    return None if kind is None else f"is {kind}, no file"


def wrong_size(size: int) -> str | None:
    """Return why a file of so many bytes is no picture, or None."""
    if not size:
        return "it is empty"
    return f"it has {size:,} bytes, more than {LARGEST:,}" if size > LARGEST else None


class Files:
    """Finds files by the names that rows give."""

    def __init__(self, root: Path, *, any_size: bool = False) -> None:
        """Take the folder.

        Args:
            root: that relative names start from.
            any_size: find empty and huge files, too, which are for whoever reads them to leave out.
        """
        self.root = root
        self._any_size = any_size
        self.real_root = os.path.realpath(root)
        self._folders: dict[str, str] = {}
        self._listings: dict[str, list[str]] = {}
        self._hinted = 0

    def find(self, name: str, caption: str = "") -> tuple[Path, str]:
        """Return the path of a picture and its identity: the resolved file, relative to the resolved root.

        Args:
            name: as a row gives it, relative to the root or absolute.
            caption: of the row, which may stand where the name belongs.

        Raises:
            NoPicture: there is no such file, or none that can be a picture.
        """
        for spelled in dict.fromkeys((name, name.strip())):
            path = self.root / spelled
            try:
                status = path.stat()
            except (OSError, ValueError) as error:  # ValueError: a NUL in the name
                problem: OSError | ValueError = error
                continue
            self._check(path, status)
            return path, os.path.relpath(self._resolved(path), self.real_root)
        raise NoPicture(self._why_not(name, problem, caption))

    def _check(self, path: Path, status: os.stat_result) -> None:
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is not None:
            raise NoPicture(f"{shown(str(path))} is {kind}; allowed: a picture file")
        if not self._any_size and (why := wrong_size(status.st_size)):
            raise NoPicture(f"{shown(str(path))} cannot be read as a picture ({why}); replace it or {REMEDY}")

    def _resolved(self, path: Path) -> str:
        """Return the file that a path leads to; folders are resolved once each."""
        folder, base = os.path.split(path)
        if base in ("", ".", ".."):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        file = os.path.join(self._folders[folder], base)
        return os.path.realpath(file) if os.path.islink(file) else file

    def _why_not(self, name: str, error: OSError | ValueError, caption: str) -> str:
        path = shown(str(self.root / name))
        code = error.errno if isinstance(error, OSError) else None
        if code == errno.ELOOP:
            return (
                f"{path} cannot be read (its symbolic links lead in a circle); mend them or remove its rows"
            )
        if code == errno.ENAMETOOLONG:
            reason = (
                f"{path} does not exist: a name of {len(name.encode()):,} bytes is longer than any file's"
            )
        elif code in (errno.ENOENT, errno.ENOTDIR):
            reason = f"{path} does not exist"
        elif code is None:
            reason = f"{path} does not exist: no file has a NUL character in its name"
        else:
            return f"{path} cannot be read ({os.strerror(code)}); give yourself access or remove its rows"
        self._hinted += 1
        hint = self._hint(name, caption) if self._hinted <= HINTED else ""
        return f"{reason}; {hint or 'check the path or image_root'}"

    def _hint(self, name: str, caption: str) -> str:
        if name.startswith("data:") or _BASE64.fullmatch(name):
            return "pictures inside of rows are not read: write them to files and give their paths"
        if name.startswith("file://"):
            return "give the path without file://"
        if "://" in name:
            return "pictures are not fetched: download them and give their paths"
        if caption and self._is_file(caption):
            return f"the caption {shown(caption, 60)} is a file there: are the two fields swapped?"
        if "\\" in name:
            turned = name.replace("\\", "/")
            return f"write / instead of backslashes{f': {turned} exists' if self._is_file(turned) else ''}"
        if name.startswith("~") and self._is_file(os.path.expanduser(name)):
            return f"`~` is not expanded in rows: write {shown(os.path.expanduser(name))}"
        parts = Path(name).parts
        for count in range(1, min(len(parts), _TAILS)):
            tail = os.path.join(*parts[count:])
            if self._is_file(tail):
                return f"{shown(tail)} exists under {self.root}: write that, or give another image_root"
        return self._near(name)

    def _is_file(self, name: str) -> bool:
        try:
            return os.path.isfile(self.root / name)
        except ValueError:
            return False

    def _near(self, name: str) -> str:
        """Return a remedy from what lies beside the first part of a path that does not exist."""
        folder = Path(self.root)
        for part in Path(name).parts:
            if os.path.lexists(folder / part):
                folder /= part
                continue
            entries = self._listing(str(folder))
            letters = _plain(part)
            for entry in entries:
                if _plain(entry) == letters:
                    return (
                        f"{folder} has {entry!a}, which looks the same but is spelled in another Unicode form than {part!a}: "
                        "write it as the file is named"
                    )
            near = [entry for entry in entries if entry.casefold() == part.casefold()]
            near += [
                entry for entry in entries if Path(entry).stem == part or Path(entry).stem == Path(part).stem
            ]
            near += get_close_matches(part, entries, n=1, cutoff=0.75)
            if near:
                return f"did you mean {shown(str(folder / near[0]))}?"
            return (
                "" if folder / part == self.root / name else f"there is no folder {shown(str(folder / part))}"
            )
        return ""

    def _listing(self, folder: str) -> list[str]:
        if folder not in self._listings:
            found: list[str] = []
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        found.append(entry.name)
                        if len(found) == LISTED:
                            break
            except OSError:
                pass  # it only serves a hint; the file itself is told either way
            self._listings[folder] = sorted(found)
        return self._listings[folder]


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text)
