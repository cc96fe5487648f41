"""The small columns of Parquet files: labels and captions, with the names of classes that Hugging Face keeps in the schema."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spaces.errors import DatasetError
from spaces.plugins import listed, near
from trainables.datasets.cache_folder import DAMAGED
from trainables.datasets.formats.entries import Problems
from trainables.datasets.formats.tables import LFS
from trainables.datasets.formats.walk import some
from trainables.datasets.jsonl_files import shown

LABEL, CAPTIONS = "label", ("caption", "captions")
UNKNOWN = -1  # what Hugging Face writes where a label is not public


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Names of columns; None for the usual one, if there is one."""

    image: str
    label: str | None
    caption: str | None


@dataclass(kw_only=True)
class Columns:
    """What the files say beside pictures; lists have an item for each file.

    Attributes:
        counts: of rows.
        labels: the class of each row; empty where there are no classes.
        captions: of each row; empty where there are none.
        classes: names in the order of their labels.
        unused: splits whose labels are not public.
        unread: names of columns that nobody reads.
        notes: what the user should know, a line each.
    """

    counts: list[int] = field(default_factory=list)
    labels: list[list[int]] = field(default_factory=list)
    captions: list[list[tuple[str, ...]]] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    unused: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One file."""

    name: str
    split: str
    count: int
    raw: list[Any] | None
    captions: list[tuple[str, ...]]
    names: tuple[str, ...] | None


def read_columns(files: Sequence[Path], splits: Sequence[str], wanted: Wanted, problems: Problems) -> Columns:
    """Return labels and captions of all rows; what is wrong is noted.

    Args:
        files: Parquet.
        splits: of each file.
        wanted: names of the columns.
        problems: takes what is wrong.
    """
    reader = _Reader(wanted, problems)
    parts = [one for file, split in zip(files, splits, strict=True) if (one := reader.part(file, split))]
    found = Columns(unread=reader.unread, notes=reader.notes())
    if problems.count or not parts:
        return found
    found.counts = [part.count for part in parts]
    found.captions = [part.captions for part in parts]
    if not sum(found.counts):
        problems.add("has no row in any of its files. Give files that hold pictures.")
    labelled = [part for part in parts if part.raw is not None]
    if not labelled or problems.count:
        return found
    known = {part.split for part in parts if any(one != UNKNOWN for one in part.raw or [])}
    dark = {part.split for part in parts if part.count} - known
    if "train" in dark or "val" in dark:
        found.notes.append("labels are all -1, which says that they are not known: pictures have no classes")
        return found
    if dark:
        found.unused = frozenset(dark)
        found.notes.append(
            f"WARNING: {', '.join(sorted(dark))} is not used: its labels are all -1, which says that they are not known"
        )
    used = [part for part in labelled if part.split not in dark]
    found.classes = _classes(used, problems)
    codes = {name: label for label, name in enumerate(found.classes)}
    found.labels = [[] if part.split in dark else list(_labels(part, codes, problems)) for part in parts]
    return found


class _Reader:
    """Reads files of one data set."""

    def __init__(self, wanted: Wanted, problems: Problems) -> None:
        self._wanted, self._problems = wanted, problems
        self._label: str | None = None
        self._caption: str | None = None
        self._settled = False
        self._unread: dict[str, None] = {}

    @property
    def unread(self) -> tuple[str, ...]:
        """Names of columns that nobody reads."""
        return tuple(self._unread)

    def notes(self) -> list[str]:
        """Return what is said of columns."""
        found = (
            [f"columns not read: {listed(shown(name, 40) for name in self._unread)}"] if self._unread else []
        )
        none = [what for what, name in (("labels", self._label), ("captions", self._caption)) if name is None]
        return [
            *found,
            *(
                [f"pictures have no {' and no '.join(none)}: what needs some cannot be measured"]
                if none
                else []
            ),
        ]

    def part(self, path: Path, split: str) -> _Part | None:
        """Return what a file says; None where something is wrong."""
        try:
            with path.open("rb") as source:
                if source.read(len(LFS)) == LFS:
                    raise DatasetError("it is a pointer of Git LFS: git lfs pull")
            with pq.ParquetFile(path) as file:
                schema = file.schema_arrow
                if not self._settle(path, schema):
                    return None
                names = [name for name in (self._label, self._caption) if name]
                table = file.read(columns=names) if names else None
                if table is not None:
                    table.validate(full=True)  # that texts are UTF-8, too, which reading does not look at
                count = file.metadata.num_rows
        except (*DAMAGED, DatasetError) as error:
            self._problems.add(
                f"{shown(path.name)} is no whole Parquet file ({shown(str(error))}). Copy it again."
            )
            return None
        return _Part(
            name=path.name,
            split=split,
            count=count,
            raw=table.column(self._label).to_pylist() if table is not None and self._label else None,
            captions=self._captions(path, table.column(self._caption))
            if table is not None and self._caption
            else [],
            names=_class_names(schema, self._label) if self._label else None,
        )

    def _settle(self, path: Path, schema: pa.Schema) -> bool:
        """Return whether a file has the columns, of the right types; the first one settles which are read."""
        w = self._wanted
        if not self._settled:
            self._settled = True
            self._label = w.label or (LABEL if LABEL in schema.names else None)
            self._caption = w.caption or next((name for name in CAPTIONS if name in schema.names), None)
        known = {w.image, self._label, self._caption}
        self._unread |= dict.fromkeys(name for name in schema.names if name not in known)
        checks = (("image", w.image, is_image, "bytes, text, or a struct of both (bytes, path)"),
                  ("label", self._label, _is_label, "integers or text"),
                  ("caption", self._caption, _is_caption, "text, or lists of texts"))  # fmt: skip
        sound = True
        for kind, name, fits, allowed in checks:
            if name is not None and (wrong := _misfit(schema, kind, name, fits=fits, allowed=allowed)):
                self._problems.add(f"{shown(path.name)} {wrong}")
                sound = False
        return sound

    def _captions(self, path: Path, column: pa.ChunkedArray) -> list[tuple[str, ...]]:
        found = []
        for row, value in enumerate(column.to_pylist()):
            texts = [
                one.strip() for one in (value if isinstance(value, list) else [value]) if one is not None
            ]
            if not texts or not all(texts):
                self._problems.add(
                    f"{shown(path.name)} row {row}: got {shown(repr(value), 60)} as caption; allowed: at least one word."
                )
            found.append(tuple(texts))
        return found


def _misfit(
    schema: pa.Schema, kind: str, name: str, *, fits: Callable[[pa.DataType], bool], allowed: str
) -> str:
    """Return what is wrong with a column, "" for nothing."""
    flag = f"--set dataset.{kind}_column=NAME"
    if schema.names.count(name) != 1:
        has = listed(shown(one, 40) for one in schema.names)
        guess = near(name, schema.names)
        hint = f"Did you mean {guess!r} ({flag})?" if guess else f"Name it: {flag}."
        return f"has no column {name!r} of {kind}s; it has {has}. {hint}"
    got = schema.field(name).type
    if fits(got):
        return ""
    return f"has a column {name!r} of {kind}s of type {shown(str(got), 60)}; allowed: {allowed}. Name another: {flag}."


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column holds texts, numbered ones (a category of pandas) too."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(
        pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_string_view(plain)
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def is_image(kind: pa.DataType) -> bool:
    """Return whether a column can hold pictures: bytes, paths, or structs of both, of which one may be empty everywhere."""
    if not pa.types.is_struct(kind):
        return is_text(kind) or _is_bytes(kind)
    inner = {one.name: one.type for one in kind.fields}
    known = {
        name: fits(inner[name])
        for name, fits in (("bytes", _is_bytes), ("path", is_text))
        if name in inner and not pa.types.is_null(inner[name])
    }
    return bool(known) and all(known.values())


def _is_label(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind)) or is_text(kind)


def _is_caption(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return is_text(kind.value_type)
    return is_text(kind)


def _class_names(schema: pa.Schema, column: str) -> tuple[str, ...] | None:
    """Return the names of a ClassLabel, which `datasets` writes into the metadata of the schema; None where it has none."""
    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])
        feature = told["info"]["features"][column]
        names = feature["names"] if feature.get("_type", "ClassLabel") == "ClassLabel" else None
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None


def _classes(parts: Sequence[_Part], problems: Problems) -> tuple[str, ...]:
    """Return the classes of all files, one list for all; what does not agree is noted."""
    named = [part for part in parts if part.names is not None]
    if named and all(isinstance(one, int) for part in parts for one in (part.raw or [])[:1]):
        first = named[0]
        for part in named:
            if part.names != first.names:
                own = set(part.names or ()) ^ set(first.names or ())
                what = f"not in both: {some(sorted(own))}" if own else "the same in another order"
                problems.add(
                    f"{shown(part.name)} and {shown(first.name)} name other classes for the labels ({what}); allowed: one list "
                    "for all. Write the files anew from one table."
                )
        return first.names or ()
    values = {one for part in parts if part.split == "train" for one in part.raw or [] if one is not None}
    if len({isinstance(one, str) for one in values}) > 1:
        problems.add(
            "some files have labels of text, others of integers; allowed: one of them. Write the files anew."
        )
        return ()
    return tuple(str(one) for one in sorted(values))


def _labels(part: _Part, codes: dict[str, int], problems: Problems) -> Iterator[int]:
    """Yield the class of each row of a file; what is none is noted."""
    by_place = part.names is not None
    for row, value in enumerate(part.raw or [None] * part.count):
        label = codes.get(str(value), UNKNOWN) if not by_place or isinstance(value, str) else value
        if value is None or label is None or not 0 <= label < len(codes):
            allowed = f"0 to {len(codes) - 1}" if by_place else f"those of train: {some(codes)}"
            problems.add(
                f"{shown(part.name)} row {row}: got the label {shown(repr(value), 60)}; allowed: {allowed}. "
                "Mend or remove the row."
            )
            label = 0
        yield label
