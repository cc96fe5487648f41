"""Schedulers of other tools as plug-ins of the simulator: their own classes decide, on the same clock."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, final

import numpy as np

from analysis.rungs import CONTINUE, STOP, Decision
from search.proposal import to_minimise
from search.schedulers import SCHEDULERS
from spaces.objectives import Objectives, quality_objective


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConfig:
    """Options of a peer's scheduler.

    Attributes:
        rungs: epochs at which the simulator asks: all that are measured. The peer's own milestones are the grace period
            times powers of the reduction factor; it judges at the first measured epoch from each of them on.
        reduction_factor: the best 1 / reduction_factor go on.
        grace_epochs: the first milestone.
        max_epochs: of a whole training.
    """

    rungs: tuple[int, ...]
    reduction_factor: int = 3
    grace_epochs: int = 1
    max_epochs: int = 9


class PeerScheduler(ABC):
    """Answers the simulator as `RungScheduler.judge` does."""

    Config = PeerConfig

    def __init__(self, config: PeerConfig, objectives: Objectives, *, folder: None) -> None:
        """Create the peer's scheduler; `folder` is what schedulers of ours keep their rungs in."""
        self._objectives, self._asked = dict(objectives), dict.fromkeys(config.rungs, 0)
        np.random.seed(0)  # both draw brackets from the global generator
        self.create(config)

    @abstractmethod
    def create(self, config: PeerConfig) -> None:
        """Create the peer's scheduler."""

    @abstractmethod
    def stops(self, candidate_id: str, epoch: int, row: Mapping[str, float]) -> bool:
        """Return whether the peer stops the candidate; `row` holds the objectives."""

    @final
    def judge(self, candidate_id: str, row: Mapping[str, Any]) -> Decision:
        """Return the peer's decision."""
        epoch = int(row["epoch"])
        self._asked[epoch] += 1
        stopped = self.stops(candidate_id, epoch, {name: row[name] for name in self._objectives})
        return Decision(
            candidate_id=candidate_id,
            epoch=epoch,
            rung=epoch,
            rank=None,
            size=self._asked[epoch],
            verdict=STOP if stopped else CONTINUE,
            reason="",
        )


@final
class RayAsha(PeerScheduler):
    """Ray's AsyncHyperBandScheduler on the quality alone: it takes one metric."""

    def create(self, config: PeerConfig) -> None:
        """Create the scheduler with one bracket, its default."""
        from ray.tune.schedulers import AsyncHyperBandScheduler

        quality = quality_objective(self._objectives)
        self._known: set[str] = set()
        self._scheduler = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric=quality,
            mode=self._objectives[quality],
            max_t=config.max_epochs,
            grace_period=config.grace_epochs,
            reduction_factor=config.reduction_factor,
        )

    def stops(self, candidate_id: str, epoch: int, row: Mapping[str, float]) -> bool:
        """Ask with a stand-in for the trial, of which only the id is read."""
        trial: Any = SimpleNamespace(trial_id=candidate_id)
        controller: Any = None
        if candidate_id not in self._known:
            self._known.add(candidate_id)
            self._scheduler.on_trial_add(controller, trial)
        return self._scheduler.on_trial_result(controller, trial, {**row, "epoch": epoch}) == "STOP"


@final
class SyneTuneMoasha(PeerScheduler):
    """Syne Tune's MOASHA with its default priority, over all objectives."""

    def create(self, config: PeerConfig) -> None:
        """Create the scheduler with one bracket, its default."""
        from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

        self._trials: dict[str, Any] = {}
        self._scheduler = MOASHA(
            config_space={},
            metrics=list(self._objectives),
            time_attr="epoch",
            max_t=config.max_epochs,
            grace_period=config.grace_epochs,
            reduction_factor=config.reduction_factor,
        )

    def stops(self, candidate_id: str, epoch: int, row: Mapping[str, float]) -> bool:
        """Ask with all objectives to be minimised: it has one direction for all."""
        from datetime import datetime

        from syne_tune.backend.trial_status import Trial

        if candidate_id not in self._trials:
            trial = Trial(trial_id=len(self._trials), config={}, creation_time=datetime.min)
            self._trials[candidate_id] = trial
            self._scheduler.on_trial_add(trial)
        point = dict(zip(self._objectives, to_minimise(row, self._objectives), strict=True))
        decision = self._scheduler.on_trial_result(self._trials[candidate_id], {**point, "epoch": epoch})
        return bool(decision == "STOP")


PEER_SCHEDULERS = {
    "ray_asha": "engines.peer_schedulers:RayAsha",
    "syne_tune_moasha": "engines.peer_schedulers:SyneTuneMoasha",
}


def register() -> None:
    """Add the peers to the table of schedulers, for this process only."""
    SCHEDULERS._own.update(PEER_SCHEDULERS)
