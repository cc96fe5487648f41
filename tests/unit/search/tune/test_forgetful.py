"""What Ray Tune would keep of every trial goes once its end was told to all."""

from types import SimpleNamespace

import pytest
from ray.tune.trainable.metadata import _TrainingRunMetadata

from search.tune.tuner import Forgetful


@pytest.mark.parametrize("results", [True, False])
def test_figures_of_a_trial_that_ended_go_with_the_next_step(results: bool) -> None:
    trials = [SimpleNamespace(run_metadata=_TrainingRunMetadata()) for _ in range(3)]
    for trial in trials:
        trial.run_metadata.last_result = {"loss": 1.0}
        trial.run_metadata.update_metric("loss", 1.0)
    forgetful = Forgetful(results=results)
    forgetful.on_trial_complete(1, trials, trials[0])
    forgetful.on_trial_error(1, trials, trials[1])
    assert trials[0].run_metadata.last_result == {"loss": 1.0}, "others may look at it in this step"
    forgetful.on_step_begin(2, trials)
    for trial in trials[:2]:
        known = trial.run_metadata
        assert bool(known.last_result) != results, "the user's callbacks may look at it in the end"
        assert not known.metric_analysis
        assert not known.metric_n_steps
    assert trials[2].run_metadata.metric_analysis.keys() == {"loss"}, "it goes on"
