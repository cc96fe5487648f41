"""Writes what Ray Tune tells: rows into the tables, gauges for the dashboard, the progress line, the watchdog."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import ray
from ray.tune import Callback
from ray.util.metrics import Gauge

from analysis.table import FAILED
from search.reporting.progress import Progress, Tally
from search.run_folder.recorder import Recorder
from search.schedulers.base import RungScheduler
from search.stopping.stop_rules import StopRules
from spaces.errors import ResourceError
from spaces.objectives import Objectives, quality_objective

LEAK_PATIENCE_S = 120.0
LEAK_CHECK_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Session:
    """What the callback has to know of one session.

    Attributes:
        progress: prints the line.
        objectives: of the search.
        trials: how many candidates the run is to have.
        slots: trials side by side; one more may be inputs and waiting.
        nested: trials hold placement groups of their own, which the watchdog counts.
        rules: a trial that ends after they ended the search stays `running`, to be resumed.
        on_end: called with the row of each candidate that ended, before the line is shown.
    """

    progress: Progress
    objectives: Objectives
    trials: Callable[[], int]
    slots: int
    nested: bool
    rules: StopRules
    on_end: Callable[[Mapping[str, Any]], None]


@final
class RunCallback(Callback):
    """Keeps the run's own record while Tune runs; Ray's is never read."""

    def __init__(self, recorder: Recorder, scheduler: RungScheduler, *, session: Session) -> None:
        """Take the parts of a run.

        Args:
            recorder: the tables.
            scheduler: asked why a trial was stopped.
            session: the rest of what a session knows.
        """
        self._recorder, self._scheduler, self._session = recorder, scheduler, session
        self._progress, self._objectives = session.progress, session.objectives
        self._last: dict[str, dict[str, Any]] = {}
        self._epochs_told: set[tuple[str, int]] = set()
        self._leak_since: float | None = None
        self._leak_checked = time.monotonic()
        tags = ("candidate", "role")
        self._gauges = {
            name: Gauge(f"student_search_{name}", description=text, tag_keys=tags)
            for name, text in {
                "quality": "quality objective, at the last rung",
                "loss": "weighted training loss of the last epoch",
                "epoch": "epochs trained",
                "status": "0 running, 1 finished, 2 stopped early, 3 failed",
            }.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        """Return next to nothing: Ray pickles its callbacks to a file that is never read."""
        return {}

    def tally(self) -> Tally:
        """Return where the run stands."""
        session, growth = self._session, self._session.rules.growth
        tally = Tally.of(self._recorder.rows, self._recorder.full_epochs, trials=session.trials())
        quality = quality_objective(self._objectives)
        order = sorted(growth.best, key=lambda name: name != quality)
        return replace(
            tally,
            running=min(tally.running, session.slots),
            limit_left_s=session.rules.wall_left_s,
            hypervolume=growth.percent,
            best=[growth.best[name] for name in order],
        )

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Record an epoch."""
        candidate_id = trial.config["candidate_id"]
        if result.get("epoch", 0) or result.get("status") in FAILED:
            self._last[candidate_id] = result
        if result.get("epoch", 0) and result["status"] not in FAILED:
            self._recorder.record_epoch({**result, "candidate_id": candidate_id})
        self._gauge(candidate_id, trial.config["role"], result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Set the last status of a candidate."""
        candidate_id = trial.config["candidate_id"]
        last = self._last.get(candidate_id, {})
        status = last.get("status", "running")
        if status in FAILED:
            self._end(candidate_id, status, last.get("reason", ""))
        elif status == "finished":
            self._end(candidate_id, "finished", "")
        elif not self._session.rules.over():
            decision = self._scheduler.verdict(candidate_id)
            if decision is not None and decision.verdict == "stop":
                self._end(candidate_id, "stopped", decision.reason)
            else:
                self._end(
                    candidate_id,
                    "crashed",
                    f"trial {candidate_id} ended without a last row; see logs/{candidate_id}.log",
                )

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record a trial whose process was lost more often than it is restarted."""
        candidate_id = trial.config["candidate_id"]
        if not self._session.rules.over():
            text = (trial.get_error() and str(trial.get_error()).strip().splitlines()[-1]) or "process lost"
            self._end(
                candidate_id, "crashed", f"trial {candidate_id}: {text[:200]}; see logs/{candidate_id}.log"
            )

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Show progress, write what is due, and compare placement groups with live trials."""
        self._recorder.tick()
        if self._progress.due:
            self._progress.show(self.tally())
        if self._session.nested and time.monotonic() - self._leak_checked > LEAK_CHECK_S:
            self._leak_checked = time.monotonic()
            self._watch(sum(trial.status == "RUNNING" for trial in trials))

    def settle(self) -> None:
        """After the last step: end those whose last row had come when the search was ended, before Tune told their end."""
        for candidate_id, last in list(self._last.items()):
            if last.get("status") == "finished" and self._recorder.row(candidate_id)["status"] == "running":
                self._end(candidate_id, "finished", "")

    def _end(self, candidate_id: str, status: str, reason: str) -> None:
        self._last.pop(candidate_id, None)
        self._recorder.finish(candidate_id, status, reason)
        if status in ("finished", "stopped"):
            self._recorder.update(candidate_id, {"checkpoint": f"checkpoints/{candidate_id}"})
        row = self._recorder.row(candidate_id)
        self._session.on_end(row)
        code = {"finished": 1, "stopped": 2}.get(status, 3)
        self._gauges["status"].set(code, tags={"candidate": candidate_id, "role": row["role"]})
        self._progress.show(self.tally())

    def _gauge(self, candidate_id: str, role: str, result: dict[str, Any]) -> None:
        tags = {"candidate": candidate_id, "role": role}
        quality = quality_objective(self._objectives)
        for name, value in (
            ("quality", result.get(quality)),
            ("loss", result.get("loss")),
            ("epoch", result.get("epoch")),
        ):
            if value is not None:
                self._gauges[name].set(float(value), tags=tags)
        if result.get("status") == "running":
            self._gauges["status"].set(0, tags=tags)

    def _watch(self, running: int) -> None:
        """End the search when worker groups outlive their trials: the next trial would wait for ever.

        Raises:
            ResourceError: more groups than running trials for two minutes.
        """
        groups = [
            group
            for group in ray.util.placement_group_table().values()
            if group["state"] != "REMOVED"  # a pending one may be waiting for the place of one that leaked
            and any("CPU" in bundle or "GPU" in bundle for bundle in group["bundles"].values())
        ]
        if len(groups) <= running:
            self._leak_since = None
            return
        self._leak_since = self._leak_since or time.monotonic()
        if time.monotonic() - self._leak_since > LEAK_PATIENCE_S:
            raise ResourceError(
                f"{len(groups)} worker groups are reserved for {running} running trials since {LEAK_PATIENCE_S:.0f} s: Ray did "
                "not free the groups of stopped trials. Results are kept; restart Ray and --resume."
            )
