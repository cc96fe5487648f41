"""What became of the claims of an ablation: holds, does not hold, or undecided, by 95 % intervals over seeds.

"The same within one point" is a test of equivalence: it holds only where the whole interval lies within, never because a
difference could not be seen (Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15).
"""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.seeds.arms import Arm
from analysis.seeds.contrast import Interval, contrast
from spaces.ablation import BETTER, FASTER, NAMING, SAME, SATURATES

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
CHOSEN = ("stopped", "collapsed", "diverged")  # statuses of trials that ended for their values
WITHIN = 1.0  # points, where a claim does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one claim.

    Attributes:
        words: the claim.
        outcome: HOLDS, FAILS or UNDECIDED.
        told: the numbers behind it, in one sentence.
        interval: of what is compared: points of the metric, or a factor of epochs.
    """

    words: str
    outcome: str
    told: str
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Judges claims on arms.

    Attributes:
        arms: name -> arm.
        maximise: whether more of the metric is better.
    """

    arms: Mapping[str, Arm]
    maximise: bool = True

    def verdict(self, words: str, claim: Mapping[str, Any]) -> Verdict:
        """Return what became of a claim as the space has it; exactly one of its kinds is given.

        Where some seeds of an arm ended for their values (a scheduler stopped them, or they came to nothing) the others are a
        choice: nothing follows from them.
        """
        kind = next((one for one in (BETTER, SAME, SATURATES) if claim.get(one)), FASTER)
        judges = {BETTER: self._better, SAME: self._same, SATURATES: self._saturates, FASTER: self._faster}
        found = judges[kind](words, claim)
        named = dict.fromkeys(name for key in NAMING for name in claim.get(key) or ())
        ends = {name: [(one, self.arms[name].ends.get(one, 0)) for one in CHOSEN] for name in named}
        told = ", ".join(
            f"{count} of {name} {end}" for name, all_ends in ends.items() for end, count in all_ends if count
        )
        if not told:
            return found
        why = f"{found.told}; ended early for their values: {told}, so that those left are a choice"
        return replace(found, outcome=UNDECIDED, told=why)

    def knee(self, names: Sequence[str], within: float) -> str | None:
        """Return the first arm from which on, up to the best, that is surely less than `within` points better; None for none."""
        best = self._best(names)
        if not self.arms[best].sample:
            return None
        knee = best
        for name in reversed(names[: names.index(best)]):
            if _below(self._lead(best, name), within) != HOLDS:
                break
            knee = name
        return knee

    def _lead(self, better: str, other: str) -> Interval:
        sign = 1.0 if self.maximise else -1.0
        return contrast([(sign, self.arms[better].sample), (-sign, self.arms[other].sample)])

    def _best(self, names: Sequence[str]) -> str:
        """Return the arm that is best in the mean, the first of equals; one without a value is never best."""
        sign = 1.0 if self.maximise else -1.0

        def mean(name: str) -> float:
            sample = self.arms[name].sample
            return sign * statistics.fmean(sample) if sample else -math.inf

        return max(names, key=mean)

    def _better(self, words: str, claim: Mapping[str, Any]) -> Verdict:
        (one, other), than = claim["better"], claim.get("than")
        if than:
            sign = 1.0 if self.maximise else -1.0
            # an arm that both differences have is the same in both: its chance cancels out, too
            weights: Counter[str] = Counter()
            for name, weight in zip((one, other, *than), (1, -1, -1, 1), strict=True):
                weights[name] += weight
            found = contrast(
                [(sign * weight, self.arms[name].sample) for name, weight in weights.items() if weight]
            )
            bound = 0.0
            told = f"{one} over {other}, less {than[0]} over {than[1]}: {points(found)}"
        else:
            found, bound = self._lead(one, other), float(claim.get("above") or 0.0)
            told = f"{one} over {other}: {points(found)}{f', asked for more than {bound:g}' if bound else ''}"
        return Verdict(words=words, outcome=_above(found, bound), told=told, interval=found)

    def _same(self, words: str, claim: Mapping[str, Any]) -> Verdict:
        (one, other), within = claim["same"], _within(claim)
        found = self._lead(one, other)
        told = f"{one} over {other}: {points(found)}, the same within {within:g}"
        return Verdict(words=words, outcome=_inside(found, within), told=told, interval=found)

    def _saturates(self, words: str, claim: Mapping[str, Any]) -> Verdict:
        names, at, within = list(claim["saturates"]), str(claim["at"]), _within(claim)
        best, knee = self._best(names), self.knee(names, within)
        rival = (
            best if best != at else names[-1]
        )  # where it is the best itself, what comes last shows how surely
        found = self._lead(rival, at)
        where = f"from {knee} on" if knee is not None else "nowhere"
        told = f"{rival} over {at}: {points(found)}; the best, {best}, is surely less than {within:g} points better {where}"
        outcome = _below(found, within)
        behind = names[names.index(at) + 1 : names.index(best)]
        for name in behind:  # one that is worse again is no saturation
            lead = self._lead(best, name)
            if outcome != FAILS and (here := _below(lead, within)) != HOLDS:
                outcome, told = here, f"{told}; {best} over {name}: {points(lead)}"
        if outcome == HOLDS and (unsure := [name for name in names if len(self.arms[name].sample) < 2]):
            outcome = UNDECIDED  # the best of all may be among them
            told += f"; of less than two seeds: {', '.join(unsure)}"
        return Verdict(words=words, outcome=outcome, told=told, interval=found)

    def _faster(self, words: str, claim: Mapping[str, Any]) -> Verdict:
        (one, other), above = claim["faster"], claim.get("above")
        bound = 1.0 if above is None else float(above)
        fast, slow = (self._finished(name) for name in (one, other))
        if not slow or not fast:
            none = Interval(estimate=math.nan, low=-math.inf, high=math.inf)
            told = f"{one if slow else other} was not measured"
            return Verdict(words=words, outcome=UNDECIDED, told=told, interval=none)
        goal = statistics.fmean(self.arms[other].sample)
        whole = max(epoch for curve in slow for epoch in curve)
        factors = [whole / reached for curve in fast if (reached := self.reached(curve, goal))]
        missed = len(fast) - len(factors)
        found = contrast([(1.0, factors)])
        if missed:  # it never came that far: whatever the others did, there is no factor of all seeds
            found = Interval(estimate=found.estimate, low=-math.inf, high=found.high)
        told = (
            f"{one} is as good as {other} ends ({goal:.1f}, {whole} epochs) {_factor(found)}"
            f"{f', with {missed} of {len(fast)} seeds not at all' if missed else ''}"
        )
        none_came = missed == len(fast) > 1
        outcome = FAILS if none_came else UNDECIDED if missed else _above(found, bound)
        return Verdict(words=words, outcome=outcome, told=told, interval=found)

    def _finished(self, name: str) -> list[Mapping[int, float]]:
        """Return the curves of an arm's trainings that are through: one that goes on may come yet to where it is not."""
        arm = self.arms[name]
        return [curve for seed, curve in arm.curves.items() if seed in arm.values]

    def reached(self, curve: Mapping[int, float], goal: float) -> float:
        """Return the epochs after which a curve is as good as `goal`, straight between measurements; 0 for never.

        A curve that is there at its first measurement counts as there just then: nobody saw what was before.
        """
        sign, before = (1.0 if self.maximise else -1.0), None
        for epoch, value in sorted(curve.items()):
            if sign * (value - goal) >= 0:
                if before is None or value == before[1]:
                    return float(epoch)
                return before[0] + (epoch - before[0]) * (goal - before[1]) / (value - before[1])
            before = (epoch, value)
        return 0.0


def points(interval: Interval) -> str:
    """Return a difference in words: `+1.2 points [0.4, 2.0]`."""
    if math.isnan(interval.estimate):
        return "not measured"
    between = f" [{interval.low:+.2f}, {interval.high:+.2f}]" if interval.known else ", one seed, no interval"
    return f"{interval.estimate:+.2f} points{between}"


def _factor(interval: Interval) -> str:
    if math.isnan(interval.estimate):
        return "never"
    between = f" [{interval.low:.2f}, {interval.high:.2f}]" if interval.known else ""
    return f"in {1 / interval.estimate:.0%} of them, a factor of {interval.estimate:.2f}{between}"


def _within(claim: Mapping[str, Any]) -> float:
    within = claim.get("within")
    return WITHIN if within is None else float(within)


def _above(found: Interval, bound: float) -> str:
    if not found.known:
        return UNDECIDED
    return HOLDS if found.low > bound else FAILS if found.high <= bound else UNDECIDED


def _below(found: Interval, bound: float) -> str:
    if not found.known:
        return UNDECIDED
    return HOLDS if found.high < bound else FAILS if found.low >= bound else UNDECIDED


def _inside(found: Interval, within: float) -> str:
    if not found.known:
        return UNDECIDED
    if -within < found.low and found.high < within:
        return HOLDS
    return FAILS if found.low >= within or found.high <= -within else UNDECIDED
