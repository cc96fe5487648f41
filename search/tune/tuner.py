"""How Ray Tune is set up for a search: what it is asked for, when, and how the user's callbacks are called."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, final

import ray
from ray import tune
from ray.exceptions import RayActorError
from ray.tune import Callback
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper
from ray.tune.utils.object_cache import _ObjectCache

from search.candidates.candidate_searcher import CandidateSearcher
from search.schedulers.base import RungScheduler
from search.tune.groups import DEVICES
from trainables.trial import Launch, run_trial

KNOWN_RAY = "2.60.0"  # as in constraints.txt
OWN_METHODS = (
    "_trial_task_failure",
    "_update_trial_queue",
    "_cleanup_cached_actors",
)  # of Ray Tune's controller
NEVER_S = "1e9"  # between two copies of Tune's state, all trials in one file, which nobody reads
KEPT_S = 5.0  # that the process of an ended trial is kept for the next one
PAUSE_S = 0.1
BURST_S = 0.5  # of candidates in a row; then Tune starts those that it has


def make_tuner(
    searcher: CandidateSearcher,
    scheduler: RungScheduler,
    *,
    callbacks: Sequence[Callback],
    launch: Launch,
    room: Callable[[], int],
    over: Callable[[], bool],
) -> tune.Tuner:
    """Return a tuner that is ready to fit; Ray's own files lie in `launch.storage`.

    Args:
        searcher: proposes, and counts the trials.
        scheduler: stops early.
        callbacks: what keeps the record, then the user's own.
        launch: how each trial is run.
        room: candidates that may be prepared or in training at a time.
        over: whether all trials are to end.
    """
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", NEVER_S)
    storage = Path(launch.storage)
    # Ray's copy of its own state is never read, and where the disk is full, that is told once and in our words
    logging.getLogger("ray.tune.execution.experiment_state").addFilter(
        lambda record: str(storage) not in record.getMessage()
    )
    return tune.Tuner(
        tune.with_resources(run_trial, launch.resources()),
        tune_config=tune.TuneConfig(
            search_alg=Paced(searcher, room),
            scheduler=scheduler,
            num_samples=-1,
            reuse_actors=True,  # a nested trial's actor keeps its workers, too
            trial_name_creator=lambda trial: str(trial.config["candidate_id"]),
            trial_dirname_creator=lambda trial: str(trial.config["candidate_id"]),
        ),
        run_config=tune.RunConfig(
            name=storage.name,
            storage_path=str(storage.parent),
            callbacks=[*callbacks, Forgetful(results=len(callbacks) == 1)],
            stop=SearchStopper(over),
            failure_config=tune.FailureConfig(max_failures=launch.retries),
            verbose=0,
        ),
    )


@cache
def mend_tune() -> str:
    """Have Ray Tune lose no candidate with a kept process, and keep none from whoever waits for what that holds.

    That takes parts of Ray Tune (2.60) that are its own. A version that is made otherwise is left as it is.

    Returns:
        What is to be told of such a version, "" of one that is mended.
    """
    if lacking := sorted(_lacking()):
        return (
            f"Ray {ray.__version__}: its Tune is made otherwise than that of 2.60 (no {', '.join(lacking)}), and used as it is: "
            "a process lost between two trials may cost a candidate, and where trials hold all CPUs, one whose latency is "
            f"not known may wait. With 2.60 neither happens: pip install 'ray=={KNOWN_RAY}'"
        )
    _tell_losses_once()
    _go_on_while_nobody_comes()
    return ""


def _lacking() -> set[str]:
    """Return what this version of Ray Tune lacks of that which is mended, or used for it."""
    kept: dict[Any, set[str]] = {
        TuneController: {"_resetting_trials", "_actor_cache"},
        _ObjectCache: {"_cached_objects"},
    }
    lacking = {name for name in OWN_METHODS if not callable(getattr(TuneController, name, None))}
    return lacking.union(*(names - {*one.__init__.__code__.co_names} for one, names in kept.items()))


def _tell_losses_once() -> None:
    """Let a candidate begin elsewhere that was given the process of an earlier one, which had been lost meanwhile.

    Ray Tune (2.60) tells itself of such a loss twice. The second time the trial waits in the queue again, and is called failed
    for good, whatever its retries. Where a later version tells it once, this changes nothing.
    """
    tell = TuneController._trial_task_failure

    def tell_once(self: TuneController, trial: Trial, exception: Exception) -> None:
        self._resetting_trials.discard(trial)  # else it would for ever be thought to be on its way
        if not (isinstance(exception, RayActorError) and trial.status == Trial.PENDING):
            tell(self, trial, exception)

    TuneController._trial_task_failure = tell_once  # type: ignore[method-assign]


def _go_on_while_nobody_comes() -> None:
    """Give back what ended trials hold while the next candidate is not ready.

    It may wait for its latency, which is measured with what a trial takes. Ray Tune (2.60) would stand still for ten minutes
    once nobody trains, and keeps a process for the next candidate as long as the search lasts: on a cluster that has no more,
    both wait for ever. Drivers of workers hold no device, and their workers leave by themselves.
    """
    ask = TuneController._update_trial_queue

    def ask_once(self: TuneController, blocking: bool = False, timeout: int = 0) -> bool:
        found = ask(self)
        now = time.monotonic()
        since = now if found or not _keeps_devices(self) else getattr(self, "kept_since", now)
        self.kept_since = since  # type: ignore[attr-defined]
        if now - since > KEPT_S:
            self._cleanup_cached_actors(force_all=True)
        if blocking and not found:
            time.sleep(PAUSE_S)  # there may be nothing else that this loop waits for
        return found

    TuneController._update_trial_queue = ask_once  # type: ignore[method-assign]


def _keeps_devices(controller: TuneController) -> bool:
    """Return whether processes that Tune keeps for later trials hold CPUs or GPUs."""
    kept: list[Any] = [
        request for request, actors in controller._actor_cache._cached_objects.items() if actors
    ]
    return any(request.required_resources.get(name) for request in kept for name in DEVICES)


@final
class Paced(Searcher):
    """Hands out the candidates of another searcher while there is room for them, a few at a time.

    Ray's own limiter takes a number that is fixed before the search; a cluster grows and shrinks. Tune asks for candidates
    until it gets none, and starts trials only then.
    """

    def __init__(
        self, inner: Searcher, room: Callable[[], int], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take who proposes.

        Args:
            inner: the searcher.
            room: candidates that may be prepared or in training at a time.
            clock: seconds, monotonic.
        """
        super().__init__()
        self._inner, self._room, self._clock = inner, room, clock
        self._live: set[str] = set()
        self._burst_since: float | None = None

    # Ray up to 2.60 documents the FINISHED string, but leaves it out of the type
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the config of the next trial, `Searcher.FINISHED`, or None while there is no room."""
        now = self._clock()
        if self._burst_since is None:
            self._burst_since = now
        if self._live and (len(self._live) >= self._room() or now - self._burst_since > BURST_S):
            self._burst_since = None
            return None
        found = self._inner.suggest(trial_id)
        if isinstance(found, dict):
            self._live.add(trial_id)
        else:
            self._burst_since = None
        return found

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass it on."""
        self._inner.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass it on; there is room for another."""
        self._live.discard(trial_id)
        self._inner.on_trial_complete(trial_id, result, error)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Pass it on."""
        return bool(self._inner.set_search_properties(metric, mode, config, **spec))

    def save(self, checkpoint_path: str) -> None:
        """Pass it on."""
        self._inner.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Pass it on."""
        self._inner.restore(checkpoint_path)

    def __getstate__(self) -> dict[str, Any]:
        """Return next to nothing: Ray pickles its Tuner to a file that is never read."""
        return {}


@final
class Forgetful(Callback):
    """Lets Ray Tune forget the figures of trials that ended.

    Tune keeps all trials of a search, and for each of them largest, least, mean and last values of every metric: 190 KiB a
    trial of 40 metrics (2.60). What it is told stands in the run folder; nothing reads these again.
    """

    def __init__(self, *, results: bool) -> None:
        """Begin with nobody.

        Args:
            results: whether the last results go, too; callbacks of the user may look at them in the end.
        """
        self._results = results
        self._ended: list[Any] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a trial: other callbacks, and Tune itself, may look at it until the step is over."""
        self._ended.append(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a trial."""
        self._ended.append(trial)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Forget those that ended in earlier steps."""
        while self._ended:
            known = self._ended.pop().run_metadata
            known.metric_analysis.clear()
            known.metric_n_steps.clear()
            if self._results:
                known.last_result = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return nobody: Ray pickles its callbacks to a file that is never read."""
        return {"_ended": [], "_results": self._results}


@final
class SearchStopper(Stopper):
    """Ends all trials of a Tune run once the search is over."""

    def __init__(self, over: Callable[[], bool]) -> None:
        """Take the question whether running trials are to end."""
        self._over = over

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: no trial is ended alone."""
        return False

    def stop_all(self) -> bool:
        """Return whether all trials are to end."""
        return self._over()

    def __getstate__(self) -> dict[str, Any]:
        """Return no question: Ray pickles its stopper again and again, and never reads it back."""
        return {"_over": _never}


def _never() -> bool:
    return False


HOOKS = tuple(name for name in vars(Callback) if name == "setup" or name.startswith("on_"))


@final
class Guarded(Callback):
    """Stands before a user's callback; each hook of Ray's goes on to it."""

    def __init__(self, inner: Callback, say: Callable[[str], None]) -> None:
        """Take the callback, and what takes a line for the user."""
        self._inner, self._say = inner, say
        self._told: set[tuple[str, str]] = set()

    def call(self, hook: str, *args: Any, **kwargs: Any) -> None:
        """Call one hook of the user's."""
        try:
            getattr(self._inner, hook)(*args, **kwargs)
        except Exception as error:  # whatever a user's callback raises, it must not cost a search
            told = (hook, f"{type(error).__name__}: {error}")
            if told not in self._told:  # once each, not once an epoch
                self._told.add(told)
                self._say(
                    f"callback {type(self._inner).__name__}.{hook} raised {told[1]}; the search goes on"
                )

    def __getstate__(self) -> dict[str, Any]:
        """Return next to nothing: Ray pickles its callbacks to a file that is never read."""
        return {}


def _passed(hook: str) -> Callable[..., None]:
    def call(self: Guarded, *args: Any, **kwargs: Any) -> None:
        self.call(hook, *args, **kwargs)

    return call


for _hook in HOOKS:
    setattr(Guarded, _hook, _passed(_hook))
