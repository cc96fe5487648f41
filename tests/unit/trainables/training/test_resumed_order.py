"""A training that goes on with its losses in another order than that in which it began."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.unit.trainables.small import candidate_config, changed, make_job
from trainables.training.control import PlainControl, Row
from trainables.training.loop import TrialLoop, train


class Killed(BaseException):
    """Ends a training as a signal would."""


class KilledAtOnce(PlainControl):
    """Dies of the first row, when the first checkpoint is written."""

    def report(self, row: Row) -> None:
        """Die."""
        raise Killed


@pytest.mark.parametrize("width", [16, 24])
def test_each_weight_gets_its_own_moments(teacher_folder: Path, tmp_path: Path, width: int) -> None:
    """The state of an optimiser knows weights by number; of other shapes, its step wrote beyond them."""
    config = changed(candidate_config(), "student.image.width", width)
    config["losses"] |= {f"{mode}_hidden": {"weight": 1.0} for mode in ("image", "text", "decoder")}
    job = make_job(teacher_folder, tmp_path, config=config)
    with pytest.raises(Killed):
        train(job, KilledAtOnce(quiet=True))
    found = []
    for losses in (config["losses"], dict(sorted(config["losses"].items()))):
        loop = TrialLoop(replace(job, config={**config, "losses": losses}), PlainControl(quiet=True))
        loop._resume(None)
        state, named = loop.trainer.optimizer.state, dict(loop.trainer.step.named_parameters())
        assert all(state[one]["exp_avg"].shape == one.shape for one in state)
        found.append({name: state[one]["exp_avg"] for name, one in named.items() if one in state})
    mine, theirs = found
    assert list(mine) != list(theirs)
    assert len(mine) > 50
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
