"""What all rung schedulers share: when to judge a result row, and the book of rungs."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from analysis.rungs import CONTINUE, STOP, Decision
from search.proposal import measured, to_minimise
from search.run_folder.rung_book import RungBook
from search.schedulers.growing_rank import GrowingRank
from search.schedulers.rung_config import RungConfig
from spaces.errors import StorageError
from spaces.objectives import Objectives, cost_columns

SEARCHED = "search"  # role of what competes; the blind student and baselines do not
FINISHED = "finished"  # status of the last row of a training: too late to stop it


class RungScheduler(FIFOScheduler, ABC):
    """Stop a candidate at a rung unless it ranks among the best 1 / reduction_factor recorded there so far.

    Asynchronous successive halving in its stopping form (Li et al. 2020, arXiv 1810.05934): nobody waits for
    anybody. Of n candidates recorded at a rung, the newcomer included, those with a rank below ceil(n / eta)
    go on (eta = reduction_factor). The rank is at least the number of candidates that dominate the newcomer
    and 0 for one that dominates all, hence for n >= eta:

    - a newcomer that dominates every recorded candidate, or equals the best, is never stopped;
    - one dominated by ceil(n / eta) or more always is, so also one dominated by a share of at least 1 - 1/eta
      of the n, itself counted in n: (1 - 1/eta) n >= n / eta as eta >= 2. (That share of the n - 1 others is not enough
      with eta = 2: one that one of two others dominates may hold place 2 of 3, and two go on.)

    A searcher that learns proposes better and better candidates: ranked among all that came, nearly every one is in the better
    part. Under a quota no more than ceil(n / eta) go on in all; one that nobody dominates is not counted out.

    With fewer than eta candidates nobody is stopped, but one whose objectives are not finite always is. A candidate
    that lacks an objective is left alone: it is not ranked, and fails at its end.

    Attributes:
        fault: why the book could not be written, None while it can.
    """

    name: str  # the plug-in's name, which the book remembers
    Config: type[RungConfig]

    def __init__(self, config: RungConfig, objectives: Objectives, *, folder: Path | None) -> None:
        """Open the rungs of a run folder.

        Args:
            config: rungs and reduction factor.
            objectives: all objectives of the search with their directions.
            folder: the run folder, where `rungs.json` is or will be; None keeps the rungs in memory only.
        """
        super().__init__()
        self.fault: StorageError | None = None
        self._alive: dict[str, Trial] = {}  # not ended when it was looked at last, in their order
        self.reduction_factor, self.quota = config.reduction_factor, config.quota
        self.objectives = self.judged(objectives)
        self.rungs = config.rungs
        self.book = RungBook(folder, scheduler=self.name, rungs=self.rungs)
        ratios = cost_columns(self.objectives)
        self._ranks = {rung: GrowingRank(len(self.objectives), ratios=ratios) for rung in self.rungs}
        self._stopped = Counter(one.rung for one in self.book.decisions if one.stopped)
        for rung, ranks in self._ranks.items():
            for values in self.book.rungs[rung].values():
                ranks.add(to_minimise(values, self.objectives))

    @abstractmethod
    def judged(self, objectives: Objectives) -> Objectives:
        """Return those objectives that enter the rank."""

    @final
    def judge(self, candidate_id: str, row: Mapping[str, Any]) -> Decision | None:
        """Record a result row at its rung and decide, or return None where there is nothing to decide.

        That is so off the rungs, where an objective was not measured, for what does not compete (the blind student, baselines),
        and for the last row of a training. A row that comes again after a restart gets the decision that was taken on the first.
        """
        values = self._values(row)
        if values is None:
            return None
        rung = int(row["epoch"])
        if self.book.holds(rung, candidate_id):
            return self.book.decision(rung, candidate_id)
        self._record(rung, candidate_id, values)
        decision = self._decide(candidate_id, rung, values)
        self.book.decide(decision)
        self._stopped[rung] += decision.stopped
        return decision

    @final
    def refill(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Record rows of ended candidates that the book lacks, unjudged; return how many there were.

        So the rungs are as full as they were, should `rungs.json` have been lost.

        Args:
            rows: epochs with candidate_id, costs and role, see `Recorder.result_rows`.
        """
        added: list[tuple[str, int]] = []
        ends: dict[str, int] = {}
        for row in rows:
            candidate_id, epoch, values = str(row["candidate_id"]), int(row["epoch"]), self._values(row)
            ends[candidate_id] = max(ends.get(candidate_id, 0), epoch)
            if values is not None and not self.book.holds(epoch, candidate_id):
                self._record(epoch, candidate_id, values)
                added.append((candidate_id, epoch))
        for candidate_id, rung in added:
            self._stopped[rung] += ends[candidate_id] == rung  # who goes on has a later row
        if added:
            self.book.save()
        return len(added)

    @final
    def verdict(self, candidate_id: str) -> Decision | None:
        """Return the latest decision on a candidate; its `reason` is for the table."""
        return self.book.last(candidate_id)

    def has_stopped(self, candidate_id: str) -> bool:
        """Return whether a candidate's latest decision was to stop it."""
        decision = self.verdict(candidate_id)
        return decision is not None and decision.stopped

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Put a trial at the end of the queue, where it also goes when its process was lost."""
        self._alive.pop(trial.trial_id, None)
        self._alive[trial.trial_id] = trial

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return the trial that `FIFOScheduler` would, which looks through all that ever were, at each step."""
        self._alive = {name: trial for name, trial in self._alive.items() if not trial.is_finished()}
        for status in (Trial.PENDING, Trial.PAUSED):
            for trial in self._alive.values():
                if trial.status == status:
                    return trial
        return None

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Answer Ray Tune's question whether the trial goes on."""
        candidate_id = trial.config.get("candidate_id") or result["candidate_id"]
        role = result.get("role") or trial.config.get("role")
        try:
            decision = self.judge(candidate_id, {**result, "role": role})
        except StorageError as error:
            self.fault = self.fault or error  # raised here, Ray Tune would call it the trial's
            return str(TrialScheduler.CONTINUE)
        stop = decision is not None and decision.verdict == STOP
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def close(self) -> None:
        """Bring `rungs.json` up to date, at the end of a session.

        Raises:
            StorageError: it cannot be written; what is decided is on disk all the same.
        """
        self.book.close()

    def debug_string(self) -> str:
        """Return one line on the rungs."""
        sizes = ", ".join(f"{rung}: {len(self.book.rungs[rung])}" for rung in self.rungs)
        stopped = sum(one.verdict == STOP for one in self.book.decisions)
        return f"{self.name}: {stopped} stopped; candidates at rung {sizes or 'none'}"

    def __getstate__(self) -> dict[str, Any]:
        """Return next to nothing: Ray pickles its Tuner and never reads it back."""
        return {"name": self.name}

    def _values(self, row: Mapping[str, Any]) -> dict[str, float] | None:
        """Return the judged objectives of a row that belongs on a rung, None for any other row."""
        if (
            (row.get("role") or SEARCHED) != SEARCHED
            or row.get("status") == FINISHED
            or row.get("epoch") not in self.rungs
        ):
            return None
        return measured(row, self.objectives)

    def _record(self, rung: int, candidate_id: str, values: Mapping[str, float]) -> None:
        """Enter a candidate at a rung."""
        self.book.record(rung, candidate_id, values)
        self._ranks[rung].add(to_minimise(values, self.objectives))

    def _decide(self, candidate_id: str, rung: int, values: Mapping[str, float]) -> Decision:
        """Return the decision on a candidate that was just recorded."""
        ranks = self._ranks[rung]
        size = len(ranks)

        def decision(verdict: str, rank: int | None, reason: str) -> Decision:
            return Decision(
                candidate_id=candidate_id,
                epoch=rung,
                rung=rung,
                rank=rank,
                size=size,
                verdict=verdict,
                reason=reason,
            )

        unusable = [name for name, value in values.items() if not math.isfinite(value)]
        if unusable:
            return decision(STOP, None, f"{', '.join(unusable)} is not a finite number at epoch {rung}")
        point = to_minimise(values, self.objectives)
        rank = ranks.rank(point)
        go_on = math.ceil(size / self.reduction_factor)
        if size < self.reduction_factor:
            few = f"only {size} candidate{'s' * (size > 1)} at epoch {rung} yet"
            return decision(CONTINUE, rank, few)
        place = f"place {rank + 1} of {size} at epoch {rung}"
        if rank >= go_on or not self.quota:
            return decision(STOP if rank >= go_on else CONTINUE, rank, f"{place}, the best {go_on} go on")
        gone = size - 1 - self._stopped[rung]
        if gone >= go_on and ranks.is_dominated(point):
            return decision(STOP, rank, f"{place}, where it is dominated and {gone} have gone on")
        return decision(CONTINUE, rank, f"{place}, where {gone} have gone on")
