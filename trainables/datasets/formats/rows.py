"""Pictures inside of Parquet files, or named there: read row group by row group, never a whole file at a time."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from spaces.errors import DatasetError
from spaces.files import write_text
from trainables.datasets.base import Progress
from trainables.datasets.cache_folder import DAMAGED, cache_folder
from trainables.datasets.contents import Contents, reason
from trainables.datasets.formats.stores import Entry, Source, Store
from trainables.datasets.jsonl_files import shown, what_it_is

BATCH = 64  # rows with their pictures in memory at a time, beside what the reader holds of a row group
NAMED = "path "  # before what a row names, where others have the hash of their bytes


class RowStore(Store):
    """Pictures of a column that holds their bytes, or their paths, or either."""

    def __init__(self, root: Path, files: Sequence[Path], column: str) -> None:
        """Take the Parquet files and the column of the pictures.

        Args:
            root: where paths in rows may start, beside the folder of the file.
            files: in their order.
            column: a struct of bytes and path, as Hugging Face writes it, or one of the two alone.
        """
        self._root, self._files, self._column = root, files, column
        self._contents = Contents(f"parquet|{root}|{column}")
        self._named = Contents(f"parquet|{root}|{column}|named")  # a collection forgets what it is not asked

    def hashes(self, entries: Sequence[Entry], progress: Progress) -> list[str | OSError]:
        """Return the hash of the bytes of each picture, or what hinders to read it."""
        digests = self._contents.hashes(self._files, progress)
        rows: list[list[str]] = []
        for file, digest in zip(self._files, digests, strict=True):
            if isinstance(digest, OSError):
                raise DatasetError(
                    f"{shown(str(file))}: cannot be read ({reason(digest)}). Give yourself access."
                )
            rows.append(self._row_hashes(len(rows), digest, progress))
        told = [rows[entry.file][entry.row] for entry in entries]
        named = [place for place, one in enumerate(told) if one.startswith(NAMED)]
        found: list[str | OSError] = [
            one or OSError(None, "the row has neither bytes nor a path") for one in told
        ]
        paths: list[tuple[int, Path]] = []
        for place in named:
            path = self._path(entries[place].file, told[place].removeprefix(NAMED))
            try:
                if wrong := what_it_is(path):
                    raise OSError(None, f"{shown(str(path))} {wrong}")
                paths.append((place, path))
            except (OSError, ValueError) as error:  # ValueError: a NUL in the name
                why = "does not exist" if isinstance(error, FileNotFoundError | ValueError) else reason(error)
                found[place] = OSError(
                    None, f"{shown(str(path))}: {why}" if isinstance(error, FileNotFoundError) else why
                )
        read = self._named.hashes([path for _, path in paths], progress)
        for (place, _), digest in zip(paths, read, strict=True):
            found[place] = digest
        return found

    def sources(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Source]]:
        """Yield pictures in their order with their bytes or files; those of a split stand in the order of files and rows."""
        for (_, number), some in groupby(entries, key=lambda entry: (entry.split, entry.file)):
            wanted = {entry.row: entry for entry in some}
            self._check_unchanged(number)
            left = iter(wanted.values())
            for row, value in self._values(number, set(wanted)):
                entry = next(left)
                if row != entry.row:
                    raise AssertionError(f"{entry.name} is asked for, and row {row} comes")
                yield entry, self._source(number, value)
            self._check_unchanged(number)

    def is_as_it_was(self, source: Source) -> bool:
        """Return whether nothing has written to a file that a row names since it was hashed."""
        return not isinstance(source, Path) or self._named.is_as_it_was(source)

    def _check_unchanged(self, number: int) -> None:
        """Refuse a file that was written since it was hashed.

        Raises:
            DatasetError: it was, or is gone.
        """
        try:
            unchanged = self._contents.is_as_it_was(self._files[number])
        except OSError:
            unchanged = False
        if not unchanged:
            raise DatasetError(
                f"{shown(str(self._files[number]))} was changed while the data was read; start again."
            )

    def _path(self, number: int, name: str) -> Path:
        """Return the file that a row names: beside its Parquet file, else below the root."""
        beside = self._files[number].parent / name
        try:
            return beside if beside.exists() or not (self._root / name).exists() else self._root / name
        except (OSError, ValueError):
            return beside

    def _source(self, number: int, value: Any) -> Source:
        content, name = parts(value)
        return content if content else self._path(number, name) if name else None

    def _values(self, number: int, wanted: set[int] | None) -> Iterator[tuple[int, Any]]:
        """Yield row and picture of the wanted rows of a file, all of them for None.

        Raises:
            DatasetError: the file is torn.
        """
        path = self._files[number]
        try:
            with pq.ParquetFile(path) as file:
                first = 0
                for group in range(file.num_row_groups):
                    count = file.metadata.row_group(group).num_rows
                    if wanted is None or any(row in wanted for row in range(first, first + count)):
                        yield from group_values(file, group, self._column, first=first, wanted=wanted)
                    first += count
        except DAMAGED as error:
            raise DatasetError(
                f"{shown(str(path))}: its pictures cannot be read ({shown(str(error))}). Copy it again."
            ) from error

    def _row_hashes(self, number: int, digest: str, progress: Progress) -> list[str]:
        """Return the hash of the bytes of every row of a file, what the row names, or ""; kept for a file of these contents."""
        key = hashlib.sha256(f"1|{digest}|{self._column}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
        kept = cache_folder("contents") / f"rows-{key}.json"
        try:
            found = json.loads(kept.read_text(encoding="utf-8"))
            if isinstance(found, list) and all(isinstance(one, str) for one in found):
                return found
        except (OSError, ValueError, RecursionError):
            pass  # it saves time only
        rows = []
        for _, value in self._values(number, None):
            content, name = parts(value)
            rows.append(
                hashlib.blake2b(content, digest_size=16).hexdigest()
                if content
                else f"{NAMED}{name}"
                if name
                else ""
            )
        write_text(kept, json.dumps(rows))
        if len(self._files) > 1:
            progress(f"parquet: pictures of {number + 1:,} of {len(self._files):,} files read")
        return rows


def parts(value: Any) -> tuple[bytes | None, str | None]:
    """Return bytes and path that a value of the column of pictures holds."""
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path")
    return (value, None) if isinstance(value, bytes) else (None, value)


def group_values(
    file: pq.ParquetFile, group: int, column: str, *, first: int, wanted: set[int] | None
) -> Iterator[tuple[int, Any]]:
    """Yield row and picture of one row group, of the wanted rows of the file; all of them for None."""
    row = first
    for batch in file.iter_batches(BATCH, row_groups=[group], columns=[column]):
        values = batch.column(0)
        for place in range(len(values)):
            if wanted is None or row in wanted:
                yield row, values[place].as_py()
            row += 1
