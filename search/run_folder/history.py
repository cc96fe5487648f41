"""Epochs in `history/`, one part per session, of which a killed driver loses at most the row being written; and in memory."""

import math
import os
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, final

import pyarrow as pa

from analysis.table import HISTORY_FOLDER, history_schema, read_history
from spaces.errors import StorageError
from spaces.files import guarded, make_folder

_TEXT = ("candidate_id", "status")


@final
class HistoryWriter:
    """One Arrow IPC stream, begun with the first row; a batch is on disk when `append` returns."""

    def __init__(self, folder: Path, *, metric_names: Sequence[str], loss_names: Sequence[str]) -> None:
        self._folder = folder / HISTORY_FOLDER
        self._schema = history_schema(metric_names, loss_names)
        self._sink: BinaryIO | None = None
        self._writer: Any = None

    def append(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Write rows as one batch and return them with the columns of the schema, missing numbers NaN.

        Raises:
            StorageError: the disk is full. The part is then given up, because what follows a torn batch is
                unreadable; the next rows go into a new one.
        """
        if not rows:
            return []
        cells = [{name: _cell(name, row) for name in self._schema.names} for row in rows]
        batch = pa.RecordBatch.from_pylist(cells, schema=self._schema)
        try:
            with guarded(self._folder):
                sink = self._open()
                self._writer.write_batch(batch)
                sink.flush()
                os.fsync(sink.fileno())
        except StorageError:
            self._abandon()
            raise
        return cells

    def close(self) -> None:
        """End the part; the next row would begin another."""
        try:
            if self._writer is not None:
                with guarded(self._folder):
                    self._writer.close()
        finally:
            self._abandon()

    def _open(self) -> BinaryIO:
        """Return the file of this session's part, made with the first row."""
        if self._sink is None:
            make_folder(self._folder)
            numbers = [int(part.stem.removeprefix("part-")) for part in self._folder.glob("part-*.arrow")]
            path = self._folder / f"part-{max(numbers, default=0) + 1:04d}.arrow"
            self._sink = path.open("xb")
            self._writer = pa.ipc.new_stream(self._sink, self._schema)
        return self._sink

    def _abandon(self) -> None:
        """Let go of the file without writing to it."""
        sink, self._sink, self._writer = self._sink, None, None
        if sink is not None:
            with suppress(
                OSError
            ):  # what it could not write before it cannot write now, which is told already
                sink.close()


def _cell(name: str, row: Mapping[str, Any]) -> Any:
    """Return the value of one column of a reported row."""
    value = row.get(name)
    if name in _TEXT:
        return value if value is not None else "running"
    if name == "epoch":
        return int(row["epoch"])
    if value is None:
        return time.time() if name == "time" else float("nan")
    return float(value)


@final
class Epochs:
    """The rows of all epochs by candidate: in memory while a candidate trains, read from disk again where it ended."""

    def __init__(self, folder: Path) -> None:
        """Begin with nobody.

        Args:
            folder: the run folder.
        """
        self._folder = folder
        self._known: dict[str, dict[int, dict[str, Any]]] = {}
        self._gone: set[str] = set()  # candidates whose rows are on disk only

    def __iter__(self) -> Iterator[str]:
        """Yield the candidates in the order in which they were added."""
        return iter(list(self._known))

    def add(self, candidate_id: str) -> None:
        """Add a candidate, unless it is known."""
        self._known.setdefault(candidate_id, {})

    def of(self, candidate_id: str) -> dict[int, dict[str, Any]]:
        """Return epoch -> row of a candidate.

        Raises:
            KeyError: it was never added.
        """
        if candidate_id in self._gone:
            self.take_back([candidate_id])
        return self._known[candidate_id]

    def let_go(self, candidate_id: str) -> None:
        """Keep the rows of a candidate on disk alone, until somebody asks."""
        if self._known[candidate_id]:
            self._known[candidate_id] = {}
            self._gone.add(candidate_id)

    def take_back(self, candidates: Iterable[str]) -> None:
        """Read the rows of candidates, where they are on disk alone, all at once."""
        wanted = self._gone.intersection(candidates)
        self._gone -= wanted
        for row in read_history(self._folder).table.to_pylist() if wanted else []:
            if row["candidate_id"] in wanted:
                self._known[row["candidate_id"]][int(row["epoch"])] = row


def of_all_epochs(epochs: Collection[Mapping[str, Any]]) -> dict[str, float]:
    """Return the usual time of an epoch, and the most memory and parts of a batch of any, as far as they were measured."""
    ways: dict[str, Callable[[list[float]], float]] = {
        "epoch_s": statistics.median,
        "peak_mib": max,
        "micro_batches": lambda parts: int(max(parts)),
    }
    told = {name: [row[name] for row in epochs if is_measured(row.get(name))] for name in ways}
    return {name: ways[name](values) for name, values in told.items() if values}


def is_measured(value: Any) -> bool:
    """Return whether a cell holds a number: null and NaN stand for not measured."""
    return value is not None and not math.isnan(value)


@final
class Total:
    """The sum of a number that each candidate has, kept up to date at the same cost however many there are."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._values: dict[str, float] = {}
        self._sum = Fraction()

    def __float__(self) -> float:
        """Return the sum, rounded once: it hangs on no order."""
        return float(self._sum)

    def set(self, candidate_id: str, value: float | None) -> None:
        """Take the value of a candidate, in the place of its last one; what is not finite counts nothing."""
        now = value if value is not None and math.isfinite(value) else 0.0
        before = self._values.get(candidate_id, 0.0)
        if now != before:
            self._sum += Fraction(now) - Fraction(before)
            self._values[candidate_id] = now
