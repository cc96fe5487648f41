"""How Ray Tune is set up for a search."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

from ray import tune
from ray.tune import Callback
from ray.tune.stopper import Stopper

from search.candidates.candidate_searcher import CandidateSearcher
from search.schedulers.base import RungScheduler
from trainables.trial import Launch, run_trial

RESTARTS = 1  # of a trial whose process was lost; it continues from its checkpoint


def make_tuner(
    searcher: CandidateSearcher,
    scheduler: RungScheduler,
    *,
    callbacks: Sequence[Callback],
    launch: Launch,
    slots: int,
    over: Callable[[], bool],
) -> tune.Tuner:
    """Return a tuner that is ready to fit; Ray's own files lie in `launch.storage`.

    Args:
        searcher: proposes, and counts the trials.
        scheduler: stops early.
        callbacks: what keeps the record, and the user's own.
        launch: how each trial is run.
        slots: trials side by side.
        over: whether all trials are to end.
    """
    storage = Path(launch.storage)
    # Ray's copy of its own state is never read, and where the disk is full, that is told once and in our words
    logging.getLogger("ray.tune.execution.experiment_state").addFilter(
        lambda record: str(storage) not in record.getMessage()
    )
    return tune.Tuner(
        tune.with_resources(run_trial, launch.resources()),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,
            reuse_actors=True,  # a nested trial's actor keeps its workers, too
            # a trial of one worker is bounded by its CPU; the driver of a nested one takes next to nothing
            max_concurrent_trials=slots if launch.nested else None,
            trial_name_creator=lambda trial: str(trial.config["candidate_id"]),
            trial_dirname_creator=lambda trial: str(trial.config["candidate_id"]),
        ),
        run_config=tune.RunConfig(
            name=storage.name,
            storage_path=str(storage.parent),
            callbacks=list(callbacks),
            stop=SearchStopper(over),
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
            verbose=0,
        ),
    )


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
