import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from tests.house.tree import ROOT
from tests.unit.trainables.losses import two_workers
from tests.unit.trainables.losses.factory import EPS
from trainables.losses import LOSSES

ROUNDINGS = 64  # of the largest entry: sums over at most 84 tokens or 128 channels, in another order


def rounding(expected: Tensor) -> float:
    """Return by how much two float32 sums of the same numbers may differ."""
    return ROUNDINGS * EPS * float(expected.abs().max())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("workers")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, two_workers.__file__]
    workers = [
        subprocess.Popen(
            [*command, str(rank), str(folder)], env=environment, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    messages = [worker.communicate(timeout=240)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(messages)
    return {split: torch.load(folder / f"{split}.pt") for split in two_workers.SPLITS}


@pytest.fixture(scope="module")
def alone() -> dict[str, Tensor]:
    rows = range(two_workers.NUM_PAIRS)
    return two_workers.losses_and_gradients(rows) | two_workers.tower_gradients(rows, parallel=False)


@pytest.mark.parametrize("name", [*LOSSES, "towers"])
@pytest.mark.parametrize("split", two_workers.SPLITS)
def test_two_workers_have_loss_and_gradients_of_one_process(
    found: dict[str, dict[str, Tensor]], alone: dict[str, Tensor], split: str, name: str
) -> None:
    paths = [path for path in alone if path.split(":")[0] == name]
    assert any(":" in path for path in paths)
    mine = {path: found[split][path] for path in paths}
    for path, value in mine.items():
        torch.testing.assert_close(value, alone[path], atol=rounding(alone[path]), rtol=0)


def test_contrast_over_two_workers_trains_the_temperature_alike(
    found: dict[str, dict[str, Tensor]], alone: dict[str, Tensor]
) -> None:
    for path in ("itc: contrast.temperature", "itc_logit: contrast.temperature", "towers: temperature"):
        assert alone[path].abs() > 1e-3
        torch.testing.assert_close(found["even"][path], alone[path], atol=rounding(alone[path]), rtol=0)
