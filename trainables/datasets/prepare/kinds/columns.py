"""Parquet files of pictures, or of their paths, with captions: as Hugging Face publishes and `img2dataset` writes them."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from spaces.errors import DatasetError
from trainables.datasets.cache_folder import DAMAGED
from trainables.datasets.formats.columns import is_image, is_text
from trainables.datasets.formats.parquet import ENDING, check_shards, files_of, split_of
from trainables.datasets.formats.walk import files_below
from trainables.datasets.jsonl_files import shown
from trainables.datasets.prepare.kinds.rows import WORDS_OF_SPLITS, Row, columns, joined
from trainables.datasets.prepare.listing import Asked, Listed, Lister

BATCH = 10_000


def parquet(asked: Asked) -> Listed:
    """List the rows of Parquet files.

    Raises:
        DatasetError: a file that is none, or lacks a column; nothing to train on.
    """
    there = [asked.root] if asked.root.is_file() else files_below(asked.root)
    if not any(one.suffix.lower() == ENDING for one in there):
        raise DatasetError(
            f"--root {asked.root}: is or holds no {ENDING} file. Give one, or the folder that holds some."
        )
    files, root = files_of(str(asked.root))
    lister = Lister(asked)
    if asked.root.is_dir():  # who names one file means that part alone
        check_shards(files, lister.problems)
        lister.problems.raise_any()
    pictures = joined(lister)
    captioned = False
    for file in files:
        lister.found.files.append(file)
        relative = file.relative_to(root)
        try:
            with pq.ParquetFile(file) as source:
                names = source.schema_arrow.names
                folders = _partition(relative, names, asked.split_column)
                read = columns(pictures, [*names, *folders], file=file)
                image, caption, split = read.image, read.caption, read.split
                _check_image(source.schema_arrow, image, file=file, before=lister.found.image_column)
                lister.found.image_column = image
                captioned = captioned or bool(caption)
                inside = not is_text(source.schema_arrow.field(image).type)
                wanted = [
                    one for one in (caption, split, "" if inside else image) if one and one not in folders
                ]
                for number, told in _rows(source, wanted):
                    place = f"{relative} row {number}"
                    said = told.get(split, folders.get(split))
                    pictures.add(
                        Row(
                            place=place,
                            split=lister.split_of(said, place, WORDS_OF_SPLITS)
                            if said is not None
                            else split_of(relative),
                            image=place if inside else told[image],
                            captions=_many(told[caption]) if caption else (),
                            source=(str(file), number) if inside else None,
                        )
                    )
        except DAMAGED as error:
            raise DatasetError(
                f"{file}: is no whole Parquet file ({shown(str(error), 100)}). Copy it again."
            ) from error
    pictures.finish(needs_text=captioned)
    return lister.done()


def _partition(relative: Path, names: Collection[str], split: str | None) -> dict[str, str]:
    """Return the column of splits that was asked for, with its value, where it is no column but folders (`split=train`)."""
    values = [
        value for part in relative.parent.parts for name, _, value in [part.partition("=")] if name == split
    ]
    return {split: unquote(values[-1])} if split and values and split not in names else {}


def _rows(source: pq.ParquetFile, names: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and columns of each row, pictures that lie in rows left aside."""
    if not names:
        yield from ((number, {}) for number in range(source.metadata.num_rows))
        return
    number = 0
    for batch in source.iter_batches(BATCH, columns=names):
        for row in batch.to_pylist():
            yield number, row
            number += 1


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_image(schema: pa.Schema, name: str, *, file: Path, before: str) -> None:
    """Refuse a column of pictures of another type, or of another name than that of the file before."""
    if before and name != before:
        raise DatasetError(
            f"{file}: its pictures are in the column {name!r}, those of files before in {before!r}; it has "
            f"{', '.join(shown(one, 40) for one in schema.names)}. Name the one of the pictures: --image-column NAME."
        )
    kind = schema.field(name).type
    if not is_image(kind):
        raise DatasetError(
            f"{file}: column {name!r} holds {kind}; allowed: bytes, paths, or structs of both. Name another: --image-column NAME."
        )
