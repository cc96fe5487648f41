"""What the training loop asks of its surroundings: rank, world size, and where to report."""

import json
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from spaces.files import append

Row = dict[str, Any]


class Control(Protocol):
    """Fifteen lines that hide whether Ray Tune, Ray Train or nobody at all runs the loop."""

    rank: int
    world: int

    def report(self, row: Row) -> None:
        """Take one epoch's row; every worker calls it, rank 0's row counts."""

    def say(self, line: str) -> None:
        """Take a line for whoever follows this training."""


class PlainControl:
    """One worker without Ray: rows go to standard output."""

    rank = 0
    world = 1

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.rows: list[Row] = []
        self._start = time.monotonic()

    def report(self, row: Row) -> None:
        """Keep the row and print it in short."""
        self.rows.append(row)
        if not self.quiet:
            shown = {
                k: round(v, 4) if isinstance(v, float) else v for k, v in row.items() if k not in ("time",)
            }
            print(json.dumps(shown), file=sys.stdout, flush=True)

    def say(self, line: str) -> None:
        """Print the line."""
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)


def append_row(path: Path, row: Row) -> None:
    """Append one row as a JSON line.

    Raises:
        StorageError: it cannot be written (disk full, no permission).
    """
    append(path, json.dumps(row) + "\n")
