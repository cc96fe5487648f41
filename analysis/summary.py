"""The figures of a run: how many of what, the best small students, what stopping saved, why some ended."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.pareto import best, front_ids
from analysis.run_folder import Run, Trial
from analysis.rungs import Decision
from spaces.objectives import FRONT_COSTS

SHARES = (0.75, 0.5, 0.25, 0.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of the report's head.

    Attributes:
        tried: candidates proposed, rejected ones included.
        by_status: status -> count.
        front_sizes: cost -> members.
        smaller: share of the teacher's params -> the best finished student at or below it.
        epochs_trained: by all trials that started.
        epochs_saved: that the stopped trials did not train, of their full number.
    """

    tried: int
    by_status: dict[str, int]
    front_sizes: dict[str, int]
    smaller: dict[float, Trial]
    epochs_trained: int
    epochs_saved: int

    @property
    def saved_share(self) -> float:
        """Epochs saved as a share of what all started trials would have trained; 0 if none started."""
        whole = self.epochs_trained + self.epochs_saved
        return self.epochs_saved / whole if whole else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Trials that ended alike.

    Attributes:
        example: the reason of the first, word for word.
        trials: in the order of proposals.
    """

    status: str
    example: str
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RungBalance:
    """What happened at one rung.

    Attributes:
        rung: in epochs.
        came: candidates judged there.
        stopped: of these.
        epochs_saved: that the stopped ones did not train, of their full number.
    """

    rung: int
    came: int
    stopped: int
    epochs_saved: int


def summarise(run: Run) -> Summary:
    """Return the figures of the report's head."""
    finished = run.finished
    smaller = {}
    for share in SHARES:
        small = [
            t for t in finished if run.share(t, "params") <= share and math.isfinite(t.value(run.quality))
        ]
        if small:
            small.sort(key=lambda trial: trial.costs["params"])
            smaller[share] = best(small, run.quality, maximise=run.maximise)
    return Summary(
        tried=len(run.candidates),
        by_status=dict(Counter(trial.status for trial in run.candidates)),
        front_sizes={axis: len(front_ids(run, axis)) for axis in FRONT_COSTS},
        smaller=smaller,
        epochs_trained=sum(trial.epochs for trial in run.candidates),
        epochs_saved=sum(full_epochs(run, t) - t.epochs for t in run.candidates if t.status == "stopped"),
    )


def rung_balances(run: Run) -> list[RungBalance]:
    """Return what happened at each rung; those at which nobody was judged are left out."""
    saved = {t.candidate_id: full_epochs(run, t) - t.epochs for t in run.candidates if t.status == "stopped"}
    groups: dict[int, list[Decision]] = {}
    for one in run.rungs.decisions:
        groups.setdefault(one.rung, []).append(one)
    return [
        RungBalance(
            rung=rung,
            came=len(group),
            stopped=sum(one.stopped for one in group),
            epochs_saved=sum(saved.get(one.candidate_id, 0) for one in group if one.stopped),
        )
        for rung, group in sorted(groups.items())
    ]


def full_epochs(run: Run, trial: Trial) -> int:
    """Return the epochs of a trial that is trained to the end."""
    training = trial.config.get("training") or {}
    return int(training.get("epochs") or max(run.facts.get("rungs") or [trial.epochs]))


def causes(trials: Sequence[Trial]) -> list[Cause]:
    """Return trials grouped by status and reason, most frequent first; reasons that differ only in numbers
    are alike.

    Stopped ones are grouped by the rung at which they stopped, too.
    """
    groups: dict[tuple[str, str, int], list[Trial]] = {}
    for trial in trials:
        rung = trial.epochs if trial.status == "stopped" else 0
        groups.setdefault((trial.status, _pattern(trial), rung), []).append(trial)
    found = [
        Cause(status=key[0], example=group[0].reason, trials=tuple(group)) for key, group in groups.items()
    ]
    return sorted(found, key=lambda cause: (-len(cause.trials), cause.status, cause.example))


def _pattern(trial: Trial) -> str:
    """Return a reason without its numbers and its candidate id."""
    return re.sub(r"\d[\d.,]*(e[+-]?\d+)?", "#", trial.reason.replace(trial.candidate_id, "id"))
