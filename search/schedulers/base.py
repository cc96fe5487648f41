"""What all rung schedulers share: when to judge a result row, and the book of rungs."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.objectives import Objectives, cost_columns, measured, to_minimise
from search.schedulers.brackets import BracketDraw
from search.schedulers.growing_rank import GrowingRank
from search.run_folder.rung_book import CONTINUE, STOP, Decision, RungBook
from spaces.errors import PluginError

BLIND = "blind"  # role of the baseline student
FINISHED = "finished"  # status of the last row of a training: too late to stop it


@dataclass(frozen=True, slots=True, kw_only=True)
class RungConfig:
    """Where candidates are judged and how many go on.

    Attributes:
        rungs: epochs at which metrics are evaluated and candidates judged, rising.
        reduction_factor: the best 1 / reduction_factor of a rung go on.
        brackets: of bracket b, the first b rungs are passed unjudged; 1 judges everybody at every rung.
    """

    rungs: tuple[int, ...] = (1, 3)
    reduction_factor: int = 3
    brackets: int = 1

    def __post_init__(self) -> None:
        if any(rung < 1 for rung in self.rungs) or list(self.rungs) != sorted(set(self.rungs)):
            raise PluginError(f"rungs: got {list(self.rungs)}; allowed: rising epochs from 1, e.g. [1, 3].")
        if self.reduction_factor < 2:
            raise PluginError(
                f"reduction_factor: got {self.reduction_factor}; allowed: 2 or more. "
                "To stop nobody, give rungs: []."
            )
        if not 1 <= self.brackets <= len(self.rungs) + 1:
            raise PluginError(
                f"brackets: got {self.brackets} with rungs {list(self.rungs)}; allowed: 1 to {len(self.rungs) + 1}, "
                "of which the last is judged nowhere. Lower it, or add a rung."
            )

    def below(self, epochs: int) -> "RungConfig":
        """Return the rungs below full fidelity, and no more brackets than these have."""
        rungs = tuple(rung for rung in self.rungs if rung < epochs)
        return replace(self, rungs=rungs, brackets=min(self.brackets, len(rungs) + 1))


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

    With fewer than eta candidates nobody is stopped, but one whose objectives are not finite always is. Each
    bracket has rungs of its own: all this holds among the candidates of one bracket.
    """

    name: str  # the plug-in's name, which the book remembers
    Config: type[RungConfig]

    def __init__(
        self, config: RungConfig, objectives: Objectives, *, folder: Path | None, seed: int = 0
    ) -> None:
        """Open the rungs of a run folder.

        Args:
            config: rungs and reduction factor.
            objectives: all objectives of the search with their directions.
            folder: the run folder, where `rungs.json` is or will be; None keeps the rungs in memory only.
            seed: of the search, from which brackets are drawn.
        """
        super().__init__()
        self.reduction_factor = config.reduction_factor
        self.objectives = self.judged(objectives)
        self.rungs = config.rungs
        self._draw = BracketDraw(
            config.brackets, num_rungs=len(self.rungs), reduction_factor=self.reduction_factor, seed=seed
        )
        self.book = RungBook(folder, scheduler=self.name, rungs=self.rungs, brackets=config.brackets)
        self._ranks: dict[tuple[int, int], GrowingRank] = {}  # by (bracket, rung)
        for rung in self.rungs:
            for candidate_id, values in self.book.rungs[rung].items():
                self._ranking(candidate_id, rung).add(to_minimise(values, self.objectives))

    @abstractmethod
    def judged(self, objectives: Objectives) -> Objectives:
        """Return those objectives that enter the rank."""

    @final
    def judge(self, candidate_id: str, row: Mapping[str, Any]) -> Decision | None:
        """Record a result row at its rung and decide, or return None where there is nothing to decide.

        That is so off the rungs and at those that its bracket passes, where no metrics were evaluated, for the
        blind student, and for the last row of a training. A row that comes again after a restart gets the
        decision that was taken on the first.

        Raises:
            ValueError: a row with metrics lacks another objective.
        """
        values = self._values(candidate_id, row)
        if values is None:
            return None
        rung = int(row["epoch"])
        if self.book.holds(rung, candidate_id):
            return self.book.decision(rung, candidate_id)
        self._record(rung, candidate_id, values)
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
            values = self._values(row["candidate_id"], row)
            if values is not None and not self.book.holds(int(row["epoch"]), row["candidate_id"]):
                self._record(int(row["epoch"]), row["candidate_id"], values)
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

    def _values(self, candidate_id: str, row: Mapping[str, Any]) -> dict[str, float] | None:
        """Return the judged objectives of a row that belongs on a rung of its bracket, None for any other row."""
        if row.get("role") == BLIND or row.get("status") == FINISHED:
            return None
        if row.get("epoch") not in self.rungs[self._draw.bracket(candidate_id) :]:
            return None
        return measured(row, self.objectives)

    def _ranking(self, candidate_id: str, rung: int) -> GrowingRank:
        """Return the ranks among which a candidate stands at a rung."""
        key = (self._draw.bracket(candidate_id), rung)
        if key not in self._ranks:
            ratios = cost_columns(self.objectives)
            self._ranks[key] = GrowingRank(len(self.objectives), ratios=ratios)
        return self._ranks[key]

    def _record(self, rung: int, candidate_id: str, values: Mapping[str, float]) -> None:
        """Enter a candidate at a rung."""
        self.book.record(rung, candidate_id, values)
        self._ranking(candidate_id, rung).add(to_minimise(values, self.objectives))

    def _decide(self, candidate_id: str, rung: int, values: Mapping[str, float]) -> Decision:
        """Return the decision on a candidate that was just recorded."""
        ranking = self._ranking(candidate_id, rung)
        size, bracket = len(ranking), self._draw.bracket(candidate_id)
        where = f"at epoch {rung}" + (f" in bracket {bracket}" if self.book.brackets > 1 else "")

        def decision(verdict: str, rank: int | None, reason: str) -> Decision:
            return Decision(
                candidate_id=candidate_id,
                epoch=rung,
                rung=rung,
                rank=rank,
                size=size,
                verdict=verdict,
                reason=reason,
                bracket=bracket,
            )

        unusable = [name for name, value in values.items() if not math.isfinite(value)]
        if unusable:
            return decision(STOP, None, f"{', '.join(unusable)} is not a finite number at epoch {rung}")
        rank = ranking.rank(to_minimise(values, self.objectives))
        go_on = math.ceil(size / self.reduction_factor)
        if size < self.reduction_factor:
            few = f"only {size} candidate{'s' * (size > 1)} {where} yet"
            return decision(CONTINUE, rank, few)
        verdict = STOP if rank >= go_on else CONTINUE
        return decision(verdict, rank, f"place {rank + 1} of {size} {where}, the best {go_on} go on")
