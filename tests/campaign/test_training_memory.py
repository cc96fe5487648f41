"""Memory over 10,000 steps of training: what is resident at the end against what is after the first 1,000."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.trainables import small
from tests.unit.trainables.datasets.prepare.memory import MIB, resident

STEPS, BATCH, EPOCHS = 1000, 16, 10  # an epoch is so many steps
GROWTH = 0.05  # of what the process holds after the first epoch
HUNG_S = 4 * 3600  # ten times what it takes on a machine of its own
MORE = {"image_hidden": {"weight": 0.1}, "cross_attention": {"weight": 0.1}, "lm_logit": {"weight": 1.0}}


def held(folder: Path) -> list[int]:
    """Train in this process, and return what is resident after each epoch, its evaluation and its checkpoint included."""
    from trainables.training.control import PlainControl, Row
    from trainables.training.loop import train

    found: list[int] = []

    class Noting(PlainControl):
        def report(self, row: Row) -> None:
            super().report(row)
            found.append(resident(os.getpid()))

    config = small.candidate_config(epochs=EPOCHS, pairs_per_epoch=STEPS * BATCH, batch_size=BATCH)
    config["losses"] |= MORE
    scenes = {"kind": "scenes", "train_images": 4000, "val_images": 64, "test_images": 8}
    job = small.make_job(
        small.write_teacher(folder / "teacher"),
        folder / "out",
        config=config,
        dataset=scenes,
        evaluate_at=tuple(range(1, EPOCHS + 1)),
    )
    train(job, Noting(quiet=True))
    return found


@pytest.mark.timeout(HUNG_S)
def test_ten_thousand_steps_hold_what_a_thousand_did(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    code = f"from {__name__} import held; from pathlib import Path; import json; print(json.dumps(held(Path({str(tmp_path)!r}))))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HUNG_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print("resident MiB after each 1,000 steps:", [one // MIB for one in found])
    assert len(found) == EPOCHS
    assert found[-1] <= (1 + GROWTH) * found[0], [one // MIB for one in found]
