"""One quiet line on how a search is doing."""

import math
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TextIO, final

from analysis.table import FAILED

REFRESH_S = 0.5  # on a terminal, where the line is rewritten in place
QUIET_S = 10.0  # elsewhere, where each line stays


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Where a run stands, counted over its table; the blind student counts in the epochs only.

    Attributes:
        trials: candidates that the run is to have.
        epochs: trained by all candidates of all sessions.
        epochs_saved: not trained because candidates were stopped early.
        epochs_left: still to be trained, as far as one can tell from those that are through.
        best: highest quality of a finished candidate (lowest, where that is better), NaN before there is one.
        best_id: its id.
    """

    trials: int
    running: int = 0
    finished: int = 0
    stopped: int = 0
    failed: int = 0
    rejected: int = 0
    epochs: int = 0
    epochs_saved: int = 0
    epochs_left: float = 0.0
    quality: str
    best: float = math.nan
    best_id: str = ""

    @property
    def done(self) -> int:
        """Candidates that are through."""
        return self.finished + self.stopped + self.failed

    @classmethod
    def of(
        cls,
        rows: Iterable[Mapping[str, Any]],
        full_epochs: Mapping[str, int],
        *,
        trials: int,
        quality: str,
        maximise: bool,
    ) -> Self:
        """Count table rows.

        Args:
            rows: as the recorder holds them.
            full_epochs: candidate id -> epochs of its whole training.
            trials: candidates that the run is to have.
            quality: column of the quality objective.
            maximise: its direction.
        """
        table = list(rows)
        searched = [row for row in table if row["role"] == "search"]
        by_status = {
            status: [row for row in searched if row["status"] == status] for status in ("finished", "stopped")
        }
        running = [row for row in table if row["status"] == "running"]
        failed = sum(row["status"] in FAILED for row in searched)
        measured = [
            row
            for row in by_status["finished"]
            if row.get(quality) is not None and row[quality] == row[quality]
        ]
        leader = (max if maximise else min)(measured, key=lambda row: row[quality], default=None)
        through = by_status["finished"] + by_status["stopped"]
        whole = max(full_epochs.values(), default=0)
        typical = sum(row["epochs"] for row in through) / len(through) if through else float(whole)
        num_running = sum(row["role"] == "search" for row in running)
        to_come = max(trials - num_running - len(through) - failed, 0)
        return cls(
            trials=trials,
            running=num_running,
            finished=len(by_status["finished"]),
            stopped=len(by_status["stopped"]),
            failed=failed,
            rejected=sum(row["status"] == "rejected" for row in searched),
            epochs=sum(row["epochs"] for row in table),
            epochs_saved=sum(
                full_epochs[row["candidate_id"]] - row["epochs"] for row in by_status["stopped"]
            ),
            epochs_left=to_come * typical + sum(_left(row, typical, full_epochs) for row in running),
            quality=quality,
            best=leader[quality] if leader else math.nan,
            best_id=leader["candidate_id"] if leader else "",
        )


def _left(row: Mapping[str, Any], typical: float, full_epochs: Mapping[str, int]) -> float:
    """Return the epochs a running candidate likely has before it; past the typical end, all to the last."""
    whole = full_epochs[row["candidate_id"]]
    expected = whole if row["epochs"] >= typical or row["role"] != "search" else typical
    return max(expected - row["epochs"], 0.0)


def spell(seconds: float) -> str:
    """Return a time as one reads it: `42 s`, `3 min 05 s`, `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def describe(tally: Tally, *, elapsed_s: float, left_s: float | None) -> str:
    """Return the line."""
    parts = [
        f"{tally.done}/{tally.trials} done ({tally.stopped} stopped, {tally.failed} failed)",
        f"{tally.running} running",
    ]
    if tally.rejected:
        parts.append(f"{tally.rejected} rejected")
    if tally.best_id:
        parts.append(f"best {tally.quality} {tally.best:.1f} ({tally.best_id})")
    parts.append(f"{tally.epochs} epochs, {tally.epochs_saved} saved by stopping")
    left = "" if left_s is None else f", about {spell(left_s)} left"
    parts.append(f"{spell(elapsed_s)}{left}")
    return " | ".join(parts)


@final
class Progress:
    """Prints the line: in place on a terminal; else every 10 s and whenever a candidate ends."""

    def __init__(
        self,
        stream: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        columns: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
    ) -> None:
        """Start the time.

        Args:
            stream: where to print.
            clock: seconds, monotonic.
            columns: width of the terminal.
        """
        self._stream, self._clock, self._columns = stream, clock, columns
        self._terminal = stream.isatty()
        self._started = clock()
        self._shown_at = -math.inf
        self._shown_done = 0
        self._first_epochs: int | None = None
        self._in_place = False

    @property
    def due(self) -> bool:
        """Whether enough time has passed for a line; saves counting a long table for nothing."""
        return self._clock() - self._shown_at >= (REFRESH_S if self._terminal else QUIET_S)

    def show(self, tally: Tally) -> None:
        """Print the line if it is due or a candidate has ended."""
        if self._first_epochs is None:
            self._first_epochs, self._shown_done = tally.epochs, tally.done
        if not self.due and (self._terminal or tally.done == self._shown_done):
            return
        self._print(tally)

    def close(self, tally: Tally) -> None:
        """Print the last line, which stays."""
        if self._first_epochs is None:
            self._first_epochs = tally.epochs
        self._print(tally)
        if self._in_place:
            self._stream.write("\n")
            self._stream.flush()

    def _print(self, tally: Tally) -> None:
        """Print the line now."""
        self._shown_at, self._shown_done = self._clock(), tally.done
        elapsed = self._shown_at - self._started
        line = describe(tally, elapsed_s=elapsed, left_s=self._left(tally, elapsed))
        if self._terminal:
            # one column is kept free: a full line would scroll on some terminals
            self._stream.write(f"\r\x1b[K{line[: max(self._columns() - 1, 1)]}")
            self._in_place = True
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def _left(self, tally: Tally, elapsed: float) -> float | None:
        """Return the seconds left at this session's speed, None before its first epoch or at the end."""
        epochs = tally.epochs - (self._first_epochs or 0)
        if epochs <= 0 or tally.epochs_left <= 0:
            return None
        return tally.epochs_left * elapsed / epochs
