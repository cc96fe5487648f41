"""The arms of an ablation as they came out: the metric of each seed at the end and along the way, costs, and what failed."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.run_folder import FACTS_FILE, Run, Trial
from analysis.run_json import TEXT, WHOLE, is_number, list_of
from analysis.seeds.cells import curves
from spaces.ablation import KINDS, NAMING
from spaces.commands import command_line
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
        RunError: the run is of no ablation, or what it says of one is damaged.
    """
    facts = run.facts.get("ablation")
    if not isinstance(facts, Mapping):
        raise RunError(
            f"{run.folder}: is no run of an ablation; allowed: one of a space with a section `ablation`, such as "
            f"spaces/dlip_fusion_depth.yaml. Run {command_line('search/run.py', '--space', 'FILE')} first."
        )
    if not _is_sound(facts):
        raise RunError(
            f"{run.folder / FACTS_FILE}, ablation: is not what a search writes: names of arms, arm and seed of each candidate, "
            "and claims on these. Put back a copy of the file as the search wrote it."
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


def _is_sound(facts: Mapping[str, Any]) -> bool:
    """Return whether the arms of a run are named, and candidates and claims are of these."""
    arms, candidates, claims = facts.get("arms"), facts.get("candidates"), facts.get("claims")
    if not isinstance(arms, list) or not isinstance(candidates, dict) or not isinstance(claims, dict):
        return False
    places, told = list(candidates.values()), list(claims.values())
    if not all(isinstance(one, dict) for one in (*places, *told)):
        return False
    lists = [claim[key] for claim in told for key in NAMING if claim.get(key) is not None]
    return (
        list_of(TEXT).holds(arms)
        and all(place.get("arm") in arms and WHOLE.holds(place.get("seed")) for place in places)
        and all(list_of(TEXT).holds(names) and set(names) <= set(arms) for names in lists)
        and all(any(claim.get(key) for key in KINDS) for claim in told)
        and all(
            claim.get(key) is None or is_number(claim[key]) for claim in told for key in ("above", "within")
        )
        and all(claim.get("at") in claim["saturates"] for claim in told if claim.get("saturates"))
    )


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
