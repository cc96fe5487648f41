"""One quiet line on how a search is doing."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TextIO, final

from analysis import wording
from search.reporting.status_line import StatusLine
from search.stopping.hypervolume import Best
from spaces.candidate import EARLIER_DIGITS
from spaces.objectives import COSTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Where a run stands, counted over its table; the blind student counts in the epochs only.

    Attributes:
        trials: candidates that the run is to have.
        epochs: trained by all candidates of all sessions.
        epochs_saved: not trained because candidates were stopped early.
        epochs_left: still to be trained, as far as one can tell from those that are through.
        limit_left_s: seconds until the wall clock ends the search, None where no stop rule says so.
        hypervolume: in per cent of the box, None before a candidate is finished.
        best: of every objective, over finished candidates; the quality objective first.
        waiting: which trials wait for resources, and why; "" for none.
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
    limit_left_s: float | None = None
    hypervolume: float | None = None
    best: Sequence[Best] = ()
    waiting: str = ""

    @property
    def done(self) -> int:
        """Candidates that are through."""
        return self.finished + self.stopped + self.failed


def describe(tally: Tally, *, elapsed_s: float, left_s: float | None) -> str:
    """Return the line; what a narrow terminal cuts off is told last."""
    left = "" if left_s is None else f", about {wording.duration(left_s)} left"
    parts = [
        f"{tally.done}/{tally.trials} done ({tally.stopped} stopped, {tally.failed} failed)",
        f"{tally.running} running",
        *([tally.waiting] if tally.waiting else []),
        f"{wording.duration(elapsed_s)}{left}",
    ]
    if tally.hypervolume is not None:
        parts.append(f"hypervolume {tally.hypervolume:.1f} %")
    if tally.best:
        parts.append(
            f"best of each: {', '.join(_shown(best, named=not i) for i, best in enumerate(tally.best))}"
        )
    if tally.rejected:
        parts.append(f"{tally.rejected} rejected")
    parts.append(f"{tally.epochs} epochs, {tally.epochs_saved} saved by stopping")
    return " | ".join(parts)


def _shown(best: Best, *, named: bool) -> str:
    """Return a best value, short, with its candidate if it is `named`: `retention 88.6 (5934149f)`, `params 110 k`."""
    value = wording.cost(best.name, best.value) if best.name in COSTS else f"{best.value:.1f}"
    name = best.name.removesuffix("_ms").removesuffix("_mib")
    owner = f" ({best.candidate_id[:EARLIER_DIGITS]})" if named else ""
    return f"{name} {wording.on_terminal(value)}{owner}"


@final
class Progress:
    """Prints the line: in place on a terminal; else every 10 s and whenever a candidate ends."""

    def __init__(
        self,
        stream: TextIO | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        columns: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
        tell: Callable[[Tally, float, float | None], None] | None = None,
    ) -> None:
        """Start the time; see `StatusLine`. `tell` is called with whatever is printed, seconds so far and left."""
        self._line = StatusLine(stream, clock=clock, columns=columns)
        self._tell = tell
        self._shown_done = 0
        self._first_epochs: int | None = None

    @property
    def due(self) -> bool:
        """Whether enough time has passed for a line; saves counting a long table for nothing."""
        return self._line.due

    def show(self, tally: Tally) -> None:
        """Print the line if it is due or a candidate has ended."""
        if self._first_epochs is None:
            self._first_epochs, self._shown_done = tally.epochs, tally.done
        if not self.due and (self._line.terminal or tally.done == self._shown_done):
            return
        self._print(tally)

    def close(self, tally: Tally) -> None:
        """Print the last line, which stays."""
        if self._first_epochs is None:
            self._first_epochs = tally.epochs
        self._print(replace(tally, epochs_left=0.0))  # the search is over, whatever is left
        self._line.close(keep=True)

    def _print(self, tally: Tally) -> None:
        """Print the line now."""
        self._shown_done = tally.done
        elapsed = self._line.elapsed_s
        left = self._left(tally, elapsed)
        self._line.show(describe(tally, elapsed_s=elapsed, left_s=left))
        if self._tell is not None:
            self._tell(tally, elapsed, left)

    def _left(self, tally: Tally, elapsed: float) -> float | None:
        """Return the seconds left at this session's speed, or until the wall clock ends it if that is sooner.

        None before the session's first epoch, and at the end.
        """
        epochs = tally.epochs - (self._first_epochs or 0)
        if epochs <= 0 or tally.epochs_left <= 0:
            return None
        left = tally.epochs_left * elapsed / epochs
        return left if tally.limit_left_s is None else min(left, tally.limit_left_s)
