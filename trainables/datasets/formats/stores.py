"""Where the pictures of a listing are, and how they are read."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np

from trainables.datasets.base import Progress
from trainables.datasets.contents import Contents
from trainables.datasets.jsonl_files import LARGEST, shown, wrong_size
from trainables.datasets.pictures import read_square
from trainables.datasets.prepared import broken
from trainables.preprocess import Framing

REMEDY = "remove it, or leave out all that are broken: --set dataset.broken=quarantine"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One picture.

    Attributes:
        name: as messages say it, and only this picture is called so: its path relative to the root, or file and row.
        split: train, val or test.
        label: its class; -1 where it has none.
        captions: of it.
        file, row: of a picture inside of a file: the number of that file, and the row in it; -1 of a picture that is a file.
    """

    name: str
    split: str
    label: int = -1
    captions: tuple[str, ...] = ()
    file: int = -1
    row: int = -1

    def in_split(self, split: str) -> "Entry":
        """Return the same picture in a split."""
        return self if split == self.split else replace(self, split=split)


Source = Path | bytes | None
"""A file, the bytes of one, or nothing where a row names none."""


class Store(ABC):
    """Reads pictures: their bytes for hashes, their pixels once."""

    @abstractmethod
    def hashes(self, entries: Sequence[Entry], progress: Progress) -> list[str | OSError]:
        """Return the hash of the bytes of each picture, or what hinders to read it."""

    @abstractmethod
    def sources(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Source]]:
        """Yield pictures in their order with where their bytes are; bytes are held only as long as the caller holds them.

        Raises:
            DatasetError: a file of many pictures that cannot be read on.
        """

    @abstractmethod
    def is_as_it_was(self, source: Source) -> bool:
        """Return whether nothing has written to a file since it was hashed.

        Raises:
            OSError: it cannot be looked at.
        """

    def decode(self, item: tuple[Entry, Source], framing: Framing) -> np.ndarray | str:
        """Return the pixels (S, S, 3) uint8 of a picture, or what is wrong with it.

        Pillow's readers raise whatever their formats lead them to, so that all is caught here and told with the name.
        """
        entry, source = item
        name = str(source) if isinstance(source, Path) else entry.name
        try:
            if source is None:
                raise OSError(None, "the row has neither bytes nor a path")
            if isinstance(source, Path) and (why := wrong_size(source.stat().st_size)):
                raise OSError(None, why)
            pixels = read_square(BytesIO(source) if isinstance(source, bytes) else source, framing)
            if not self.is_as_it_was(source):
                return f"{shown(name)} was changed while the data was read; start again."
        except Exception as error:
            return broken(name, error, remedy=REMEDY)
        return pixels


class FileStore(Store):
    """Pictures that are files below a root."""

    def __init__(self, kind: str, root: Path) -> None:
        self._root = root
        self._contents = Contents(f"{kind}|{root}", largest=LARGEST)

    def hashes(self, entries: Sequence[Entry], progress: Progress) -> list[str | OSError]:
        """Return the hash of the bytes of each picture, or what hinders to read it."""
        return self._contents.hashes([self._root / entry.name for entry in entries], progress)

    def sources(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Source]]:
        """Yield pictures in their order with their files."""
        for entry in entries:
            yield entry, self._root / entry.name

    def is_as_it_was(self, source: Source) -> bool:
        """Return whether nothing has written to a file since it was hashed."""
        return not isinstance(source, Path) or self._contents.is_as_it_was(source)
