import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.tolerance import close
from tests.unit.trainables.losses import two_workers
from trainables.losses import LOSSES

ROOT = Path(__file__).parents[4]
OPS = 2 * 4 * 128 + 6 * 7  # forward and backward: project, normalise, compare; a mean over rows


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
    close(mine, {path: alone[path] for path in paths}, ops=OPS)


def test_contrast_over_two_workers_trains_the_temperature_alike(
    found: dict[str, dict[str, Tensor]], alone: dict[str, Tensor]
) -> None:
    for path in ("itc: temperature", "itc_logit: temperature", "towers: temperature"):
        assert alone[path].abs() > 1e-3
        close(found["even"][path], alone[path], ops=OPS)
