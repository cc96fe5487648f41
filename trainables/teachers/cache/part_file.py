"""One file of the cache: what is kept about a range of pictures and their texts, each row with its checksum.

The format is safetensors, so any reader of it shows what is inside. Beside a tensor for each want, a row after the other,
lie `rows.KIND`, the numbers of the rows in the split in the order of the file, and `crc.WANT`, a CRC-32 of each row. The
header and these two are covered by a checksum of their own, `check` in the metadata.
"""

import json
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from spaces.files import reserve

TYPES = {"F16": "<f2", "F32": "<f4", "U16": "<u2", "U32": "<u4", "I32": "<i4", "I64": "<i8"}
NAMES = {np.dtype(told).name: name for name, told in TYPES.items()}
ROWS, CRC = "rows.", "crc."
CHECK, UNCHECKED = "check", "0" * 8
METADATA = "__metadata__"
LONGEST_HEADER = 1 << 24


@dataclass(frozen=True, slots=True)
class Form:
    """A tensor of a file: numpy's name of its type, and its shape, rows first."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """How much room it takes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def file_bytes(forms: Mapping[str, Form]) -> int:
    """Return the size of a file with such tensors, less its header of some kilobytes."""
    return sum(form.num_bytes for form in forms.values())


class PartWriter:
    """Writes one file, rows of its tensors in order; nothing is mapped, so a full disk is an error of the system."""

    def __init__(self, draft: Path, forms: Mapping[str, Form], metadata: Mapping[str, str]) -> None:
        """Take the room of the whole file.

        Args:
            draft: the file, which takes its place once it is closed.
            forms: of the tensors of wants and of `rows.KIND`; checksums are added.
            metadata: texts for the header.

        Raises:
            StorageError: the disk has no room.
        """
        checks = {
            f"{CRC}{name}": Form("uint32", form.shape[:1])
            for name, form in forms.items()
            if not name.startswith(ROWS)
        }
        # large entries first: then each tensor begins at a multiple of its own
        self._forms = dict(
            sorted({**forms, **checks}.items(), key=lambda one: -np.dtype(one[1].dtype).itemsize)
        )
        self._crcs = {name: np.zeros(form.shape, dtype=np.uint32) for name, form in checks.items()}
        self._rows = {
            name: np.zeros(form.shape, dtype=np.int64)
            for name, form in forms.items()
            if name.startswith(ROWS)
        }
        self._metadata = dict(metadata)
        header = self._header(UNCHECKED)
        self._places, place = dict[str, int](), len(header)
        for name, form in self._forms.items():
            self._places[name] = place
            place += form.num_bytes
        reserve(draft, place)
        self._handle = os.open(draft, os.O_WRONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._close()
        finally:
            os.close(self._handle)

    def number(self, kind: str, first: int, rows: np.ndarray) -> None:
        """Say which rows of the split stand from row `first` on."""
        self._rows[f"{ROWS}{kind}"][first : first + len(rows)] = rows

    def write(self, name: str, first: int, block: np.ndarray) -> None:
        """Write some rows of a tensor, from row `first` on; text axes may be shorter, zeros are behind them."""
        form = self._forms[name]
        if block.shape[1:] != form.shape[1:] or block.dtype != form.dtype:
            whole = np.zeros((len(block), *form.shape[1:]), dtype=form.dtype)
            whole[tuple(slice(0, size) for size in block.shape)] = block
            block = whole
        block = np.ascontiguousarray(block)
        for place, row in enumerate(block, start=first):
            self._crcs[f"{CRC}{name}"][place] = zlib.crc32(row)
        stride = form.num_bytes // max(form.shape[0], 1)
        self._put(block, self._places[name] + first * stride)

    def _put(self, array: np.ndarray, place: int) -> None:
        left = array.data.cast("B") if array.size else memoryview(b"")
        while left:  # one call writes at most 2 GiB
            done = os.pwrite(self._handle, left, place)
            left, place = left[done:], place + done

    def _close(self) -> None:
        """Write checksums and header."""
        index: dict[str, np.ndarray] = {**self._rows, **self._crcs}
        for name, array in index.items():
            self._put(array, self._places[name])
        check = _check(self._header(UNCHECKED), {name: index[name] for name in self._forms if name in index})
        header = np.frombuffer(self._header(check), dtype=np.uint8)
        self._put(header, 0)

    def _header(self, check: str) -> bytes:
        return _header(self._forms, {**self._metadata, CHECK: check})


def _header(forms: Mapping[str, Form], metadata: Mapping[str, str]) -> bytes:
    """Return the beginning of a file: eight bytes that say how long the JSON behind them is."""
    fields: dict[str, Any] = {METADATA: dict(metadata)}
    place = 0
    for name, form in forms.items():
        ends = [place, place + form.num_bytes]
        fields[name] = {"dtype": NAMES[form.dtype], "shape": list(form.shape), "data_offsets": ends}
        place = ends[1]
    told = json.dumps(fields, separators=(",", ":")).encode()
    told += b" " * (-len(told) % 8)
    return len(told).to_bytes(8, "little") + told


def _check(header: bytes, index: Mapping[str, np.ndarray]) -> str:
    """Return the checksum of a header, whose own is blank, and of row numbers and checksums."""
    found = zlib.crc32(header)
    for array in index.values():
        found = zlib.crc32(np.ascontiguousarray(array).data, found)
    return f"{found:08x}"


def head_of(path: Path) -> bytes:
    """Return the header of a file, whose checksum stands for all of it.

    Raises:
        OSError: the system refuses it.
    """
    with path.open("rb") as source:
        length = source.read(8)
        return length + source.read(min(int.from_bytes(length, "little"), LONGEST_HEADER))


class PartFile:
    """An open file: its tensors are mapped, and each row is checked by whoever reads it.

    Attributes:
        metadata: texts of the header.
        arrays: tensors of wants, read only.
        rows: kind -> numbers of the rows in the split, in the order of the file.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            OSError: the system refuses it.
            ValueError: it is damaged: says how.
        """
        data = np.memmap(path, dtype=np.uint8, mode="r")  # of an empty file: a ValueError
        length = int.from_bytes(data[:8].tobytes(), "little")
        if not 2 <= length <= min(LONGEST_HEADER, len(data) - 8):
            raise ValueError(f"a header of {length:,} bytes in a file of {len(data):,}")
        try:
            self.metadata, tensors = _read(data, 8 + length)
        except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise ValueError("its header cannot be read") from error
        self.arrays = {name: one for name, one in tensors.items() if not name.startswith((ROWS, CRC))}
        self.rows = {name.removeprefix(ROWS): one for name, one in tensors.items() if name.startswith(ROWS)}
        self._crcs = {name: tensors.get(f"{CRC}{name}", np.zeros(0, np.uint32)) for name in self.arrays}
        if any(len(one) != len(self._crcs[name]) for name, one in self.arrays.items()):
            raise ValueError("it lacks checksums")

    def is_sound(self, name: str, row: int) -> bool:
        """Return whether a row is as it was written."""
        return zlib.crc32(self.arrays[name][row]) == int(self._crcs[name][row])

    def check(self) -> None:
        """Check every row.

        Raises:
            ValueError: one is not as it was written.
        """
        for name, array in self.arrays.items():
            for row in range(len(array)):
                if not self.is_sound(name, row):
                    raise ValueError(f"the checksum of row {row} of {name} is wrong")


def _read(data: np.ndarray, ends: int) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Return metadata and tensors of a file whose header ends at a byte; their rows are not looked at.

    Raises:
        ValueError: the header is damaged, or the file is too short or too long.
    """
    header = data[:ends].tobytes()
    fields = json.loads(header[8:])
    metadata: dict[str, str] = dict(fields.pop(METADATA))
    forms = {
        name: Form(np.dtype(TYPES[one["dtype"]]).name, tuple(one["shape"])) for name, one in fields.items()
    }
    if _header(forms, metadata) != header:
        raise ValueError("its header is damaged")
    if len(data) != ends + file_bytes(forms):
        raise ValueError(f"it has {len(data):,} bytes of {ends + file_bytes(forms):,}")
    tensors, place = dict[str, np.ndarray](), ends
    for name, form in forms.items():
        part = np.asarray(data[place : place + form.num_bytes])
        tensors[name] = part.view(form.dtype).reshape(form.shape)
        place += form.num_bytes
    index = {name: one for name, one in tensors.items() if name.startswith((ROWS, CRC))}
    if _check(_header(forms, {**metadata, CHECK: UNCHECKED}), index) != metadata[CHECK]:
        raise ValueError("the checksum of its header is wrong")
    return metadata, tensors
