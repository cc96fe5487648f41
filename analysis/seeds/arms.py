"""The arms of an ablation as they came out: the metric of each seed at the end and along the way, costs, and what failed."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.run_folder import Run, Trial
from analysis.seeds.cells import curves
from spaces.errors import RunError
from spaces.objectives import COSTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm.

    Attributes:
        name: as the space calls it.
        values: seed -> the metric at the last epoch, of trainings that finished.
        curves: seed -> epoch -> the metric.
        costs: params, flops, latency_ms, size_mib; NaN where no training has them.
        ends: status -> seeds, of trainings that have not finished.
    """

    name: str
    values: Mapping[int, float]
    curves: Mapping[int, Mapping[int, float]]
    costs: Mapping[str, float]
    ends: Mapping[str, int]

    @property
    def sample(self) -> list[float]:
        """The metric of all seeds that have one."""
        return list(self.values.values())


def arms_of(run: Run, metric: str) -> dict[str, Arm]:
    """Return name -> arm, in the order of the space.

    Raises:
        RunError: the run is of no ablation.
    """
    facts = run.facts.get("ablation")
    if not isinstance(facts, Mapping):
        raise RunError(
            f"{run.folder}: is no run of an ablation; allowed: one of a space with a section `ablation`, such as "
            "spaces/dlip_fusion_depth.yaml. Run python search/run.py --space FILE first."
        )
    known, along = {trial.candidate_id: trial for trial in run.trials}, curves(run, metric)
    made: dict[str, list[tuple[int, Trial | None, Mapping[int, float]]]] = {
        name: [] for name in facts["arms"]
    }
    for candidate_id, place in facts["candidates"].items():
        curve = along.get(candidate_id, {})
        made[place["arm"]].append((int(place["seed"]), known.get(candidate_id), curve))
    return {name: _arm(name, found, metric) for name, found in made.items()}


def claims_of(run: Run) -> dict[str, dict[str, Any]]:
    """Return words -> what the claim says of which arms, as the space has it."""
    return {
        words: {key: value for key, value in claim.items() if value is not None}
        for words, claim in (run.facts.get("ablation") or {}).get("claims", {}).items()
    }


def _arm(name: str, found: list[tuple[int, Trial | None, Mapping[int, float]]], metric: str) -> Arm:
    trials = [trial for _, trial, _ in found if trial is not None]
    ends: dict[str, int] = {}
    for _, trial, _ in found:
        if trial is None or not trial.finished:
            end = trial.status if trial is not None else "not begun"
            ends[end] = ends.get(end, 0) + 1
    values = {
        seed: trial.value(metric)
        for seed, trial, _ in found
        if trial is not None and trial.finished and math.isfinite(trial.value(metric))
    }
    return Arm(
        name=name,
        values=values,
        curves={seed: dict(sorted(curve.items())) for seed, _, curve in found if curve},
        costs={cost: _mean([trial.costs[cost] for trial in trials]) for cost in COSTS},
        ends=dict(sorted(ends.items())),
    )


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return statistics.fmean(known) if known else math.nan
