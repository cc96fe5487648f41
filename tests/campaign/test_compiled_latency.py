"""The compiled runtime with a real compiler, which takes a minute on a busy machine."""

from typing import Any

import torch
from torch import Tensor

from tests.unit.trainables.costs.subjects import ALL, SMALL, subject_of
from trainables.costs.blocks import blocks_of, different
from trainables.costs.latency import timed
from trainables.costs.runtimes import Runs, as_target
from trainables.costs.target import Target

TARGET = Target(runtime="compiled")
LAYERS = [one for one in different(blocks_of(subject_of(SMALL, *ALL))) if one.mode.endswith(".layer")]


def plain(said: Any) -> Tensor:
    (found,) = said if isinstance(said, tuple) else (said,)
    return torch.as_tensor(found)


def test_compiled_layers_say_what_eager_ones_say_and_take_time() -> None:
    state, runs = torch.get_rng_state(), Runs(TARGET)
    for one in LAYERS:
        with as_target(TARGET):
            said = plain(runs.of(one)())
            model = runs._model(one)
            expected = plain(model.run_pass(one.mode, model.pass_inputs(one.mode, one.tokens)))
        # one layer: sums of at most 4 x 32 products of entries of about 1
        assert torch.allclose(said, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(state, torch.get_rng_state())
    assert all(min(times) > 0 for times in timed(LAYERS, TARGET, rounds=25).values())
