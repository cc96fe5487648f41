"""What distillation gained: each candidate of the control run, with and without its teacher, over seeds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.run_folder import Run

CLEAR = 2.0  # a gain counts as clear beyond this many spreads; the report states the rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """One candidate, one transfer set, one metric; percent points.

    Attributes:
        data: "noisy" or "clean".
        distilled: mean over seeds with distillation, NaN if not run on this transfer set.
        plain: mean over seeds without.
        gain: distilled - plain; for a quality that is minimised, plain - distilled.
        spread: standard deviation of the gain over seeds, NaN with fewer than two seeds.
        seeds: number of seeds behind the gain.
    """

    candidate_id: str
    data: str
    metric: str
    distilled: float
    plain: float
    gain: float
    spread: float
    seeds: int

    @property
    def verdict(self) -> str:
        """`clear gain`, `clear loss`, `not clear of the spread`, `one seed, no spread` or `not compared`."""
        if math.isnan(self.gain):
            return "not compared"
        if math.isnan(self.spread):
            return "one seed, no spread"
        if abs(self.gain) <= CLEAR * self.spread:
            return "not clear of the spread"
        return "clear gain" if self.gain > 0 else "clear loss"


def control_metrics(run: Run) -> tuple[str, ...]:
    """Return the metrics that the control run measured, the quality objective first."""
    rows = (run.control or {}).get("rows", [])
    measured = [name for name in run.metric_names if any(row.get(name) is not None for row in rows)]
    return tuple(sorted(measured, key=lambda name: name != run.quality))


def gains(run: Run, metric: str) -> list[Gain]:
    """Return the gain of each candidate and transfer set of `control.json`, in the order of its rows."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in (run.control or {}).get("rows", []):
        groups.setdefault((row["candidate_id"], row["data"]), []).append(row)
    sign = -1.0 if metric == run.quality and not run.maximise else 1.0
    return [_gain(rows, metric, sign) for rows in groups.values()]


def _gain(rows: Sequence[Mapping[str, Any]], metric: str, sign: float) -> Gain:
    """Return the gain of one group of rows; paired by seed where two seeds have both sides."""
    sides: dict[bool, dict[int, float]] = {True: {}, False: {}}
    for row in rows:
        if row.get(metric) is not None and math.isfinite(row[metric]):
            sides[bool(row["distilled"])][int(row["seed"])] = float(row[metric])
    distilled, plain = sides[True], sides[False]
    paired = [sign * (distilled[seed] - plain[seed]) for seed in sorted(distilled.keys() & plain.keys())]
    gain = sign * (_mean(list(distilled.values())) - _mean(list(plain.values())))
    if len(paired) >= 2:
        gain, spread, seeds = _mean(paired), statistics.stdev(paired), len(paired)
    else:
        # Unpaired: the variance of a difference is the sum of the variances; a side of one seed adds none.
        deviations = [statistics.stdev(side.values()) for side in sides.values() if len(side) >= 2]
        spread = math.hypot(*deviations) if deviations else math.nan
        seeds = min(len(distilled), len(plain))
    return Gain(
        candidate_id=rows[0]["candidate_id"],
        data=rows[0]["data"],
        metric=metric,
        distilled=_mean(list(distilled.values())),
        plain=_mean(list(plain.values())),
        gain=gain,
        spread=spread,
        seeds=seeds,
    )


def _mean(values: Sequence[float]) -> float:
    """Return the mean, NaN of nothing."""
    return statistics.fmean(values) if values else math.nan
