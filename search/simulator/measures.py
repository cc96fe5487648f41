"""What one simulated search reached: hypervolume over compute, the share of the exact front, and what it cost."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from analysis.figures.anytime import LEVELS, quantile
from search.simulator.trace import Trace
from search.simulator.volume import Volume

TOLERANCE = 1e-9  # of a share: rounding in the last digits is no missing share


@final
class Anytime:
    """The share of the exact hypervolume that a search has reached at any compute.

    It only changes where a candidate is trained to its end, and never falls, so each question is answered by a search
    among the ends; what was asked before is kept.
    """

    def __init__(self, trace: Trace, volume: Volume) -> None:
        """Take the candidates that the search trained to their end."""
        self._volume = volume
        self._ids = [event.candidate_id for event in trace.finished]
        self._compute = [event.compute for event in trace.finished]
        self._known: dict[int, float] = {0: 0.0}

    @property
    def first(self) -> float:
        """The compute at which the first candidate was finished, infinite if none was."""
        return self._compute[0] if self._compute else math.inf

    def at(self, compute: float) -> float:
        """Return the share that is reached when so much is spent."""
        return self.after(bisect.bisect_right(self._compute, compute))

    def after(self, finished: int) -> float:
        """Return the share that the first so many finished candidates reach."""
        if finished not in self._known:
            self._known[finished] = self._volume.share(self._ids[:finished])
        return self._known[finished]

    def compute_to(self, share: float) -> float:
        """Return the compute at which a share is reached, infinite where it never is."""
        counts = range(len(self._ids) + 1)
        found = bisect.bisect_left(counts, share - TOLERANCE, key=self.after)
        return self._compute[found - 1] if 0 < found < len(counts) else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """One search in numbers.

    Attributes:
        hypervolume: of the candidates trained to their end.
        share: the same as a share of the exact one.
        front_found: share of the exact front's points that were found and trained to their end.
        compute: spent in ended epochs.
        clock: virtual time that the search took.
        compute_to: share of the exact hypervolume -> compute at which it was reached, infinite if never.
        trials: candidates handed out; some of them may still have been training at the end.
        duplicates: proposals refused because their candidate was known.
        proposal_ms: median real time of a proposal; proposal_ms_late: of the last tenth of them.
        ended_by: trials, exhausted or compute.
    """

    seed: int
    hypervolume: float
    share: float
    front_found: float
    compute: float
    clock: float
    compute_to: dict[float, float]
    trials: int
    finished: int
    stopped: int
    duplicates: int
    proposal_ms: float
    proposal_ms_late: float
    ended_by: str


def measure(trace: Trace, volume: Volume, *, seed: int, anytime: Anytime) -> Measures:
    """Return the numbers of one search."""
    ids = [event.candidate_id for event in trace.finished]
    share = anytime.after(len(ids))
    late = trace.proposal_s[-max(len(trace.proposal_s) // 10, 1) :]
    return Measures(
        seed=seed,
        hypervolume=share * volume.exact,
        share=share,
        front_found=volume.front_share(ids),
        compute=trace.compute,
        clock=trace.clock,
        compute_to={level: anytime.compute_to(level) for level in LEVELS},
        trials=len(trace.starts),
        finished=len(ids),
        stopped=len(trace.stopped),
        duplicates=trace.duplicates,
        proposal_ms=_median_ms(trace.proposal_s),
        proposal_ms_late=_median_ms(late),
        ended_by=trace.ended_by,
    )


def _median_ms(seconds: Sequence[float]) -> float:
    """Return the median in ms."""
    return 1000 * quantile(seconds, 0.5) if seconds else math.nan
