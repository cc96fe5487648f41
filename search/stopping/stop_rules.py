"""What ends a search before its number of trials: Ctrl-C, time used, a plateau of the hypervolume, failures all alike."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from analysis.table import FAILED
from search.stopping.hypervolume import GROWS, Growth
from search.stopping.time_used import HOUR_S, TimeUsed
from spaces.errors import StudentSearchError
from spaces.sections import StopSection

ALIKE = 5  # first trials of a session that, failing all alike, end it
CHECK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a search ends.

    Attributes:
        ended_by: one word, as in run.json: trials, exhausted, limits, interrupted, wall_clock, device_hours, plateau,
            failures, inputs (teacher, data or code changed under a running search), failed.
        reason: the same as a clause for the user.
        cut: whether running trials end, too; they keep their checkpoints and can be resumed. Else they go on to their end.
        more: flags that let `--resume` go on beyond it, "" where none would.
    """

    ended_by: str
    reason: str
    cut: bool = False
    more: str = ""


INTERRUPTED = Ending(ended_by="interrupted", reason="a signal asked for it", cut=True)


@final
class StopRules:
    """Watches one session of a run; the first rule that is met ends the search.

    A plateau holds as long as it is one, every other ending for good.

    Attributes:
        growth: of the hypervolume over all sessions.
        fault: what nobody can search on after, such as a full disk; None without one.
    """

    def __init__(
        self,
        settings: StopSection,
        *,
        used: TimeUsed,
        growth: Growth,
        interrupted: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what is allowed, and where to look.

        Args:
            settings: `search.stop` of the space.
            used: what the run has used so far.
            growth: of the hypervolume in earlier sessions; `note_end` lets it grow.
            interrupted: whether a signal asked for the end.
            clock: seconds, monotonic.
        """
        self.growth = growth
        self._settings, self._used, self._interrupted, self._clock = settings, used, interrupted, clock
        self.fault: StudentSearchError | None = None
        self._cut: Ending | None = None
        self._checked_at = float("-inf")
        # endings of the first trials; None once one of them was different
        self._first: list[tuple[str, str]] | None = []

    @property
    def ending(self) -> Ending | None:
        """The rule that is met, None while none is. To be asked often: time is looked at once a second only."""
        if self._interrupted():
            return INTERRUPTED
        if self._cut is None and self._clock() - self._checked_at >= CHECK_EVERY_S:
            self._checked_at = self._clock()
            self._cut = self._wall_clock() or self._device_hours()
        return self._cut or self._plateau()

    def over(self) -> bool:
        """Return whether running trials are to end, too."""
        ending = self.ending
        return ending is not None and ending.cut

    def break_off(self, fault: StudentSearchError) -> None:
        """End the search for a fault that is no candidate's; all that train stay unfinished. The first one counts."""
        if self.fault is None:
            self.fault = fault
            self._cut = Ending(ended_by="failed", reason=str(fault), cut=True)

    def conclusion(self, ended: Ending | None, *, unfinished: bool) -> Ending | None:
        """Return what ended a search whose last trial is over, None where nothing did.

        Args:
            ended: why the searcher had no more candidates, None where it was not asked to the end.
            unfinished: whether a candidate is not through. Else no time was short, however late it is by now.
        """
        late = self._interrupted() or (self._cut is not None and self._cut.ended_by != "failures")
        if ended is not None and late and not unfinished:
            return ended
        return self.ending if self.over() else ended

    @property
    def wall_left_s(self) -> float | None:
        """Seconds until the wall clock ends the search, None where it does not."""
        hours = self._settings.wall_hours
        return None if hours is None else max(hours * HOUR_S - self._used.wall_s, 0.0)

    def note_end(self, row: Mapping[str, Any]) -> None:
        """Take note of how a candidate ended in this session; the blind student counts in the time only.

        Args:
            row: of trials.arrow.
        """
        if row["role"] != "search":
            return
        if row["status"] in GROWS:
            self.growth.add(row)
        if self._first is None or row["status"] not in FAILED:
            self._first = None
            return
        self._first.append(likeness(row))
        if len(set(self._first)) > 1:
            self._first = None
        elif len(self._first) == ALIKE and self._cut is None:
            self._cut = self._failures(row)

    def to_dict(self) -> dict[str, Any]:
        """Return what run.json holds of them in the end: time used, and how the hypervolume grew."""
        return {**self._used.to_dict(), "hypervolume": self.growth.to_dict()}

    def so_far(self) -> dict[str, Any]:
        """Return what run.json holds of them while the search goes on: time used, and the hypervolume."""
        return {**self._used.to_dict(), "hypervolume": self.growth.so_far()}

    def __getstate__(self) -> dict[str, Any]:
        """Return next to nothing: Ray pickles what its Tuner holds to a file that is never read."""
        return {}

    def _wall_clock(self) -> Ending | None:
        hours, used = self._settings.wall_hours, self._used.wall_s / HOUR_S
        if hours is None or used < hours:
            return None
        reason = f"{used:.3g} hours of wall clock are over, search.stop.wall_hours is {hours:g}"
        return Ending(
            ended_by="wall_clock", reason=reason, cut=True, more=f"--wall-hours {_more(hours, used)}"
        )

    def _device_hours(self) -> Ending | None:
        hours, used = self._settings.device_hours, self._used.device_s / HOUR_S
        if hours is None or used < hours:
            return None
        reason = f"{used:.3g} {self._used.device}-hours are used, search.stop.device_hours is {hours:g}"
        return Ending(
            ended_by="device_hours", reason=reason, cut=True, more=f"--device-hours {_more(hours, used)}"
        )

    def _plateau(self) -> Ending | None:
        trials, allowed = self._settings.plateau.trials, self._settings.plateau.gain_percent
        found = self.growth.gain(trials) if trials is not None else None
        if found is None:
            return None
        before, now = found
        gain = 100 * (now - before) / before
        if gain > allowed:
            return None
        reason = (
            f"the last {trials} candidates that ended raised the hypervolume by {gain:.2g} %, from {before:.2f} to "
            f"{now:.2f} % of the box (search.stop.plateau.gain_percent is {allowed:g})"
        )
        return Ending(ended_by="plateau", reason=reason, more="--set search.stop.plateau.trials=null")

    def _failures(self, row: Mapping[str, Any]) -> Ending:
        candidate_id = row["candidate_id"]
        told = row["reason"].partition("; see ")[0]
        reason = f"the first {ALIKE} candidates all ended alike, {row['status']}: {told}; see logs/{candidate_id}.log"
        return Ending(ended_by="failures", reason=reason, cut=True)


def described(settings: StopSection) -> list[str]:
    """Return the rules of a space in words, [] where there are none."""
    plateau = settings.plateau
    rules = [
        (settings.wall_hours, f"{settings.wall_hours or 0:g} hours of wall clock"),
        (settings.device_hours, f"{settings.device_hours or 0:g} device-hours of training"),
        (
            plateau.trials,
            f"{plateau.trials} candidates that raise the hypervolume by {plateau.gain_percent:g} % or less",
        ),
    ]
    return [words for value, words in rules if value is not None]


def likeness(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return what is equal for trials that failed for one cause.

    That is the status alone where it names the cause (which loss became nan first is chance); for `crashed` also the
    first four words of the reason, ids and numbers aside.
    """
    if row["status"] != "crashed":
        return row["status"], ""
    told = re.sub(rf"^trial {re.escape(row['candidate_id'])}\W*", "", row["reason"])
    return "crashed", " ".join(re.sub(r"\d+", "#", told).split()[:4])


def _more(hours: float, used: float) -> str:
    """Return the next multiple of the hours, as a flag takes it."""
    return f"{(int(used / hours) + 1) * hours:g}"
