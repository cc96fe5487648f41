"""What all rung schedulers share: when to judge a result row, and the book of rungs."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.objectives import Objectives, measured, to_minimise
from search.schedulers.rank import rank_of
from search.schedulers.rungs import CONTINUE, STOP, Decision, RungBook
from spaces.errors import PluginError

BLIND = "blind"  # role of the baseline student
FINISHED = "finished"  # status of the last row of a training: too late to stop it


@dataclass(frozen=True, slots=True, kw_only=True)
class RungConfig:
    """Where candidates are judged and how many go on.

    Attributes:
        rungs: epochs at which metrics are evaluated and candidates judged, rising.
        reduction_factor: the best 1 / reduction_factor of a rung go on.
    """

    rungs: tuple[int, ...] = (1, 3)
    reduction_factor: int = 3

    def __post_init__(self) -> None:
        if any(rung < 1 for rung in self.rungs) or list(self.rungs) != sorted(set(self.rungs)):
            raise PluginError(f"rungs: got {list(self.rungs)}; allowed: rising epochs from 1, e.g. [1, 3].")
        if self.reduction_factor < 2:
            raise PluginError(
                f"reduction_factor: got {self.reduction_factor}; allowed: 2 or more. "
                "To stop nobody, give rungs: []."
            )


class RungScheduler(FIFOScheduler, ABC):
    """Stop a candidate at a rung unless it ranks among the best 1 / reduction_factor recorded there so far.

    Asynchronous successive halving in its stopping form (Li et al. 2020, arXiv 1810.05934): the first
    `reduction_factor` - 1 candidates of a rung always go on, nobody waits for anybody.
    """

    name: str  # the plug-in's name, which the book remembers

    def __init__(self, config: RungConfig, objectives: Objectives, *, folder: Path) -> None:
        """Open the rungs of a run folder.

        Args:
            config: rungs and reduction factor.
            objectives: all objectives of the search with their directions.
            folder: the run folder, where `rungs.json` is or will be.
        """
        super().__init__()
        self.reduction_factor = config.reduction_factor
        self.objectives = self.judged(objectives)
        self.rungs = config.rungs
        self.book = RungBook(folder, scheduler=self.name, rungs=self.rungs)

    @abstractmethod
    def judged(self, objectives: Objectives) -> Objectives:
        """Return those objectives that enter the rank."""

    @final
    def judge(self, candidate_id: str, row: Mapping[str, Any]) -> Decision | None:
        """Record a result row at its rung and decide, or return None where there is nothing to decide.

        That is so off the rungs, where no metrics were evaluated, for the blind student, and for the last row
        of a training. A row that comes again after a restart gets the decision that was taken on the first.

        Raises:
            ValueError: a row with metrics lacks another objective.
        """
        values = self._values(row)
        if values is None:
            return None
        rung = int(row["epoch"])
        if self.book.holds(rung, candidate_id):
            return self.book.decision(rung, candidate_id)
        self.book.record(rung, candidate_id, values)
        decision = self._decide(candidate_id, rung, values)
        self.book.decide(decision)
        return decision

    @final
    def refill(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Record rows of ended candidates that the book lacks, unjudged; return how many there were.

        So the rungs are as full as they were, should `rungs.json` have been lost.

        Args:
            rows: epochs with candidate_id, costs and role, see `Recorder.result_rows`.
        """
        added = 0
        for row in rows:
            values = self._values(row)
            if values is not None and not self.book.holds(int(row["epoch"]), row["candidate_id"]):
                self.book.record(int(row["epoch"]), row["candidate_id"], values)
                added += 1
        if added:
            self.book.save()
        return added

    @final
    def verdict(self, candidate_id: str) -> Decision | None:
        """Return the latest decision on a candidate; its `reason` is for the table."""
        return self.book.last(candidate_id)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Answer Ray Tune's question whether the trial goes on."""
        candidate_id = trial.config.get("candidate_id") or result["candidate_id"]
        role = result.get("role") or trial.config.get("role")
        decision = self.judge(candidate_id, {**result, "role": role})
        stop = decision is not None and decision.verdict == STOP
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

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
        if row.get("epoch") not in self.rungs or row.get("role") == BLIND or row.get("status") == FINISHED:
            return None
        return measured(row, self.objectives)

    def _decide(self, candidate_id: str, rung: int, values: Mapping[str, float]) -> Decision:
        """Return the decision on a candidate that was just recorded."""
        entries = self.book.rungs[rung]
        size = len(entries)

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
        points = [to_minimise(one, self.objectives) for one in entries.values()]
        rank = rank_of(points, list(entries).index(candidate_id))
        go_on = math.ceil(size / self.reduction_factor)
        if size < self.reduction_factor:
            return decision(CONTINUE, rank, f"only {size} candidates at epoch {rung} yet")
        verdict = STOP if rank >= go_on else CONTINUE
        return decision(verdict, rank, f"place {rank + 1} of {size} at epoch {rung}, the best {go_on} go on")
