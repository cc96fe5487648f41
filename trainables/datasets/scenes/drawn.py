"""Pictures that are drawn once into an Arrow file of the cache folder, and read from there."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from spaces.errors import DatasetError
from spaces.files import atomic_path
from spaces.turns import in_turn
from trainables.datasets.base import Progress
from trainables.datasets.cache_folder import unusable

BATCH_ROWS = 500
TOLD_EVERY = 5000


def drawn_table(
    path: Path,
    rows: Callable[[], Iterator[dict[str, Any]]],
    *,
    schema: pa.Schema,
    count: int,
    noun: str,
    progress: Progress,
) -> pa.Table:
    """Return the rows of a file, mapped into memory; they are drawn where it is not there, by one process.

    Args:
        path: of the file.
        rows: draws them.
        schema: of a row.
        count: how many there will be.
        noun: what is drawn, in the plural.
        progress: is told of long work.

    Raises:
        DatasetError: a damaged file.
        StorageError, ResourceError: it cannot be written.
    """
    if not path.exists():
        with in_turn(path, noun, say=progress):
            if not path.exists():  # another process may have drawn it meanwhile
                _write(
                    path, rows(), schema=schema, count=count, told=lambda text: progress(f"{noun}: {text}")
                )
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(unusable(path, error, "it is drawn again")) from error


def _write(
    path: Path, drawn: Iterator[dict[str, Any]], *, schema: pa.Schema, count: int, told: Progress
) -> None:
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        rows: list[dict[str, Any]] = []
        for number, row in enumerate(drawn, start=1):
            rows.append(row)
            if len(rows) == BATCH_ROWS or number == count:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
                rows.clear()
                if number % TOLD_EVERY == 0 or number == count:
                    told(f"{number:,} of {count:,} drawn")


def pixels_of(table: pa.Table, side: int) -> np.ndarray:
    """Return the column `image` as (N, S, S, 3) uint8; one chunk is a view of the mapped file, several are joined."""
    views = []
    width = side * side * 3
    for chunk in table.column("image").chunks:
        flat = np.frombuffer(chunk.buffers()[1], dtype=np.uint8)
        views.append(flat[chunk.offset * width : (chunk.offset + len(chunk)) * width])
    return np.concatenate(views).reshape(-1, side, side, 3)


def passed_on(chosen: np.ndarray, count: int) -> np.ndarray:
    """Return for each of `count` rows the one whose texts it gets: the chosen pass theirs on in a ring, all others keep them.

    So every one of them really gets another's.
    """
    told = np.arange(count)
    told[chosen] = np.roll(chosen, 1) if len(chosen) > 1 else (chosen + 1) % count
    return told
