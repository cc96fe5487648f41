"""Two workers that train together on CPUs learn what one worker learns from the same global batches."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.house.tree import ROOT
from tests.unit.trainables.small import EPS
from tests.unit.trainables.training import gloo_worker

EXACT = ("means", "accumulated")  # with negatives, each worker draws its own among its own pairs


@pytest.fixture(scope="module")
def together(teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gloo")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, gloo_worker.__file__, str(teacher_folder), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", gloo_worker.CASES)
def test_both_workers_end_with_the_same_weights_and_losses(together: list[dict[str, Any]], case: str) -> None:
    first, second = (found[case] for found in together)
    assert first["losses"] == second["losses"]
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name


@pytest.mark.parametrize("case", EXACT)
def test_two_workers_learn_what_one_learns(
    together: list[dict[str, Any]], teacher_folder: Path, case: str
) -> None:
    alone, shared = gloo_worker.trained(teacher_folder, case, rank=0, world=1), together[0][case]
    assert all(torch.equal(value, shared["start"][name]) for name, value in alone["start"].items())
    moved = [float((value - alone["start"][name]).abs().max()) for name, value in alone["weights"].items()]
    assert sorted(moved)[len(moved) // 2] > 1e-3, "or equality would say nothing"
    # a gradient of norm CLIP at most is off by some steps of rounding, of which each update makes lr / eps as much
    worker = gloo_worker
    rounding = 64 * EPS * worker.CLIP * worker.UPDATES * worker.LR / worker.ADAM_EPS
    torch.testing.assert_close(shared["weights"], alone["weights"], atol=rounding, rtol=0)
    for mine, theirs in zip(shared["losses"], alone["losses"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
