"""Where a run stands, counted as its rows change: a look at it costs the same whatever the length of the table."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from analysis.table import FAILED
from search.reporting.progress import Tally

THROUGH = ("finished", "stopped")


@dataclass(frozen=True, slots=True)
class _Share:
    """What one candidate adds to the counts."""

    searched: bool
    status: str
    epochs: int
    whole: int


@final
class Standing:
    """Counts of candidates and epochs; one that does not compete counts in the epochs only."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._shares: dict[str, _Share] = {}
        self._running: dict[str, _Share] = {}
        self._searched: Counter[str] = Counter()  # by status
        self._epochs: Counter[str] = Counter()  # of those, by status
        self._all_epochs = self._saved = self._whole = 0

    def note(self, row: Mapping[str, Any], full_epochs: int) -> None:
        """Take in a candidate, or what has become of one.

        Args:
            row: as the recorder holds it.
            full_epochs: of its whole training.
        """
        one = row["candidate_id"]
        before = self._shares.get(one)
        if before is not None:
            self._count(before, -1)
        share = _Share(row["role"] == "search", row["status"], row["epochs"], full_epochs)
        self._shares[one] = share
        self._count(share, 1)
        self._whole = max(self._whole, full_epochs)
        self._running.pop(one, None)
        if share.status == "running":
            self._running[one] = share

    def tally(self, trials: int) -> Tally:
        """Return the counts.

        Args:
            trials: candidates that the run is to have.
        """
        counts = self._searched
        through = sum(counts[status] for status in THROUGH)
        failed = sum(counts[status] for status in FAILED)
        trained = sum(self._epochs[status] for status in THROUGH)
        typical = trained / through if through else float(self._whole)
        to_come = max(trials - counts["running"] - through - failed, 0)
        return Tally(
            trials=trials,
            running=counts["running"],
            finished=counts["finished"],
            stopped=counts["stopped"],
            failed=failed,
            rejected=counts["rejected"],
            epochs=self._all_epochs,
            epochs_saved=self._saved,
            epochs_left=to_come * typical + sum(_left(share, typical) for share in self._running.values()),
        )

    def _count(self, share: _Share, sign: int) -> None:
        self._all_epochs += sign * share.epochs
        if share.searched:
            self._searched[share.status] += sign
            self._epochs[share.status] += sign * share.epochs
            if share.status == "stopped":
                self._saved += sign * (share.whole - share.epochs)


def _left(share: _Share, typical: float) -> float:
    """Return the epochs a running candidate likely has before it; past the typical end, all to the last."""
    expected = share.whole if share.epochs >= typical or not share.searched else typical
    return max(expected - share.epochs, 0.0)
