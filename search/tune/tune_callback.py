"""Writes what Ray Tune tells: rows into the tables, gauges for the dashboard, the progress line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, final

from ray.tune import Callback

from analysis.table import FAILED
from search.reporting.progress import Progress, Tally
from search.reporting.standing import Standing
from search.run_folder.kept_weights import KeptWeights
from search.run_folder.recorder import Recorder
from search.schedulers.base import RungScheduler
from search.stopping.stop_rules import StopRules
from search.tune.gauges import Gauges
from search.tune.groups import Watchdog
from spaces.errors import InputsChanged, StorageError, StudentSearchError
from spaces.files import is_storage_trouble
from spaces.interruption import shielded
from trainables.trial import HALTED, UNWRITTEN


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What the callback looks at, beside the tables.

    Attributes:
        scheduler: asked why a trial was stopped.
        rules: a trial that ends after they ended the search stays `running`, to be resumed.
        progress: prints the line.
        quality: the quality objective.
        trials: how many candidates the run is to have.
        slots: trials side by side now; others may be prepared.
        waiting: which trials wait for resources, and why; "" for none.
        packed: trials that share a GPU, as far as their memory was measured to allow.
        say: takes a line for the user.
        watchdog: where trials hold placement groups of their own.
        weights: decides whose are kept.
        on_end: called with the row of each candidate that ended, before the line is shown.
    """

    scheduler: RungScheduler
    rules: StopRules
    progress: Progress
    quality: str
    trials: Callable[[], int]
    slots: Callable[[], int]
    watchdog: Watchdog | None
    weights: KeptWeights
    on_end: Callable[[Mapping[str, Any]], None]
    waiting: Callable[[], str] = str
    packed: int = 1
    say: Callable[[str], None] = print


def _kept(hook: Callable[..., None]) -> Callable[..., None]:
    """Return a hook that breaks the search off where the disk takes no more, or trials find other inputs than planned.

    Raised out of a hook, Ray Tune would take the error for the trial's, and candidates would be called crashed. After that
    nothing is recorded: what is not on disk a resumed trial tells again.
    """

    @wraps(hook)
    def call(self: "RunCallback", *args: Any, **kwargs: Any) -> None:
        if self.broken_off:
            return
        try:
            hook(self, *args, **kwargs)
        except (StorageError, InputsChanged) as error:
            self.break_off(error)

    return call


@final
class RunCallback(Callback):
    """Keeps the run's own record while Tune runs; Ray's is never read."""

    def __init__(self, recorder: Recorder, watched: Watched) -> None:
        """Take the tables, and what else a session knows."""
        self._recorder, self._watched = recorder, watched
        self._last: dict[str, dict[str, Any]] = {}
        self._gauges, self._standing = Gauges(watched.quality), Standing()
        self._waited = False
        self._short = set[str]()  # candidates whose share of a GPU is too small

    def __getstate__(self) -> dict[str, Any]:
        """Return next to nothing: Ray pickles its callbacks to a file that is never read."""
        return {}

    @property
    def broken_off(self) -> bool:
        """Whether the search ends for a fault that is no candidate's."""
        return self._watched.rules.fault is not None

    def break_off(self, fault: StudentSearchError) -> None:
        """End the search for such a fault."""
        self._watched.rules.break_off(fault)

    def tally(self) -> Tally:
        """Return where the run stands."""
        watched, growth = self._watched, self._watched.rules.growth
        for row in self._recorder.take_changed():
            self._standing.note(row, self._recorder.full_epochs[row["candidate_id"]])
        tally = self._standing.tally(watched.trials())
        order = sorted(growth.best, key=lambda name: name != watched.quality)
        return replace(
            tally,
            running=min(tally.running, watched.slots()),
            waiting=watched.waiting(),
            limit_left_s=watched.rules.wall_left_s,
            hypervolume=growth.percent,
            best=[growth.best[name] for name in order],
        )

    @_kept
    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Record an epoch."""
        candidate_id = trial.config["candidate_id"]
        if result.get(UNWRITTEN):
            raise StorageError(result[UNWRITTEN])
        if result.get(HALTED):
            raise InputsChanged(result[HALTED])
        failed = result.get("status") in FAILED
        with shielded():
            if result.get("epoch", 0) or failed:
                self._last[candidate_id] = result
            if result.get("epoch", 0) and not failed:
                self._recorder.record_epoch({**result, "candidate_id": candidate_id})
            self._gauges.show_epoch(candidate_id, trial.config["role"], result)
        if self._watched.packed > 1:
            self._tell_memory(candidate_id, result)

    def _tell_memory(self, candidate_id: str, result: Mapping[str, Any]) -> None:
        """Tell once of each candidate that has too little memory in its share of a GPU."""
        parts, dead = result.get("micro_batches", 1), result.get("status") == "oom"
        if candidate_id in self._short or not (dead or parts > 1):
            return
        self._short.add(candidate_id)
        became = (
            "and ran out of memory (--resume RUN --retry-failed --gpus-per-worker 1 gives it a whole one)"
            if dead
            else f"where a batch does not fit: it is taken in {parts} parts"
        )
        self._watched.say(f"candidate {candidate_id}: has 1/{self._watched.packed} of a GPU, {became}")

    @_kept
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Set the last status of a candidate."""
        candidate_id = trial.config["candidate_id"]
        last = self._last.get(candidate_id, {})
        status = last.get("status", "running")
        if (
            status in FAILED or status == "finished"
        ):  # of a finished one it is told where a metric never moved
            self._end(candidate_id, status, last.get("reason", ""))
        elif not self._watched.rules.over():
            decision = self._watched.scheduler.verdict(candidate_id)
            if decision is not None and decision.stopped:
                self._end(candidate_id, "stopped", decision.reason)
            else:
                self._end(candidate_id, "crashed", _crash(candidate_id, "ended without a last row"))

    @_kept
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record a trial whose process was lost more often than it is restarted."""
        candidate_id = trial.config["candidate_id"]
        if is_storage_trouble(trial.get_error() or Exception()):
            raise StorageError(
                f"trial {candidate_id}: {str(trial.get_error()).strip().splitlines()[-1][:200]}"
            )
        if not self._watched.rules.over():
            self._end(candidate_id, "crashed", _crash(candidate_id, f": {_loss(trial)}"))

    @_kept
    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell of a trial whose process was lost, and which begins anew."""
        again = f"{trial.run_metadata.num_failures} of {trial.max_failures}"
        self._watched.say(
            f"trial {trial.config['candidate_id']}: {_loss(trial)} It goes on from its checkpoint ({again})"
        )

    @_kept
    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Show progress, write what is due, and look after the placement groups and what is waited for."""
        if self._watched.scheduler.fault is not None:
            raise self._watched.scheduler.fault
        with shielded():
            self._recorder.tick()
        if self._watched.progress.due:
            self._show()
        if self._watched.watchdog is not None:
            self._watched.watchdog.check()
        waiting = self._watched.waiting()
        if bool(waiting) != self._waited:
            self._waited = bool(waiting)
            self._watched.say(waiting or "no trial waits for resources any more")

    def _show(self) -> None:
        tally = self.tally()
        self._gauges.show_run(tally)
        self._watched.progress.show(tally)

    def settle(self) -> None:
        """After the last step: end those whose last row had come when the search was ended, before Tune told their end."""
        for candidate_id, last in list(self._last.items()):
            if last.get("status") == "finished" and self._recorder.row(candidate_id)["status"] == "running":
                self._end(candidate_id, "finished", last.get("reason", ""))

    def _end(self, candidate_id: str, status: str, reason: str) -> None:
        with shielded():  # the table, and what counts its rows, change together
            self._last.pop(candidate_id, None)
            row = self._recorder.row(candidate_id)
            changes = self._watched.weights.ended(row, status)
            for change in changes:
                self._recorder.update(change.candidate_id, change.fields)
            self._recorder.finish(candidate_id, status, reason)
            self._watched.weights.carry_out(changes)
            self._watched.on_end(row)
            self._gauges.show_end(candidate_id, row["role"])
        self._show()


def _loss(trial: Any) -> str:
    """Return what Ray says last of a process that was lost, without the causes that it can think of."""
    lines = str(trial.get_error() or "").strip().splitlines() or ["process lost."]
    return lines[-1].partition(" Worker exit type")[0].strip()[:200]


def _crash(candidate_id: str, text: str) -> str:
    """Return the reason of a trial that crashed outside of its own code."""
    blank = "" if text.startswith(":") else " "
    return f"trial {candidate_id}{blank}{text}; see logs/{candidate_id}.log"
