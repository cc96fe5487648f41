"""The target of a space: `auto`, what this machine has not, and runs of another one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search.latency.target import check_same_target, check_target, target_of
from spaces.errors import ResourceError, RunError, SpaceError
from spaces.load import load_space
from spaces.schema import Space
from tests.unit.search.earlier_run import SPACE
from trainables.costs.target import Target

Load = Callable[..., Space]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads the tiny space with changes `path=value`."""
    file = tmp_path / "tiny.yaml"
    file.write_text(SPACE)
    return lambda *changes: load_space(file, changes)


def test_auto_is_the_device_of_the_trials(load: Load) -> None:
    assert target_of(load(), gpus=False) == Target()
    assert target_of(load(), gpus=True) == Target(device="cuda")
    assert target_of(load("latency.device=cpu"), gpus=True) == Target()


def test_what_does_not_go_together_is_told_with_its_place(load: Load) -> None:
    space = load("latency.runtime=onnxruntime", "latency.dtype=bfloat16")
    with pytest.raises(SpaceError, match=r"latency\.dtype: got bfloat16 with runtime onnxruntime"):
        check_target(space, here=False)


def test_a_device_that_is_not_here_is_refused_unless_a_cluster_may_have_it(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    space = load("latency.device=cuda")
    check_target(space, here=False)
    with pytest.raises(
        ResourceError,
        match=r"--set latency\.device=cuda, latency\.device: got cuda, and this process sees no",
    ):
        check_target(space, here=True)


def test_a_run_goes_on_with_its_target_alone() -> None:
    facts = {"target": {**Target().to_dict(), "hardware": "of no account"}}
    check_same_target("--resume runs/x", facts, Target())
    check_same_target("--resume runs/x", {}, Target(device="cuda"))  # of an earlier version
    with pytest.raises(
        RunError, match=r"--resume runs/x: latency would be measured on cuda, .*the run began with cpu, "
    ):
        check_same_target("--resume runs/x", facts, Target(device="cuda"))
