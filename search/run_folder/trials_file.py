"""`trials.arrow` while a search runs: rows that changed are added to a ledger beside it, and the table follows now and then."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import pyarrow as pa

from analysis.table import TRIALS_CHANGES, TRIALS_FILE, write_trials
from analysis.tables.rows import GENERATION
from spaces.files import append, guarded, write_text
from spaces.ledger import Pace, as_lines

Row = Mapping[str, Any]


@final
class TrialsFile:
    """The table of a run folder, which its owner alone writes.

    A table and its changes bear one number. A kill between writing the next table and removing the changes of the last
    one leaves changes of an earlier number, which nobody reads.
    """

    def __init__(
        self,
        folder: Path,
        *,
        metric_names: Sequence[str],
        others: Sequence[pa.Field] = (),
        generation: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what the table holds; nothing is written yet.

        Args:
            folder: the run folder.
            metric_names: see `write_trials`.
            others: see `write_trials`.
            generation: of the table that lies there.
            clock: seconds, monotonic.
        """
        self._path, self._ledger = folder / TRIALS_FILE, folder / TRIALS_CHANGES
        self._metric_names, self._others = metric_names, others
        self._generation = generation
        self._pace = Pace(clock=clock)
        self._written = self._added = 0  # rows of the table, and lines beside it

    @property
    def due(self) -> bool:
        """Whether the whole table is to be written; at first it is, since nobody knows what lies there."""
        return self._pace.due(self._added, self._written)

    def write(self, rows: Collection[Row]) -> None:
        """Replace the table by all rows.

        Raises:
            StorageError: it cannot be written; the old one is left, with its changes.
        """
        with self._pace.timed():
            write_trials(
                self._path,
                rows,
                self._metric_names,
                others=self._others,
                generation=self._generation + 1,
            )
            self._generation, self._written, self._added = self._generation + 1, len(rows), 0
            with guarded(self._ledger):
                self._ledger.unlink(missing_ok=True)

    def add(self, rows: Collection[Row]) -> None:
        """Add rows that changed, whole; they are on disk when this returns. To be called once the table was written.

        Raises:
            StorageError: they cannot be written; the ledger holds what it held.
        """
        lines = as_lines(rows)
        if self._added:
            append(self._ledger, lines)
        else:
            write_text(self._ledger, as_lines([{GENERATION: self._generation}]) + lines)
        self._added += len(rows)
