"""Workers that are killed, and disks that fill up, three times over: what was trained stays, bit for bit."""

import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.e2e import runs
from tests.e2e.test_export import finished_id
from tests.integration.test_cluster import TWO_WORKERS

REPEATS = 3


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint, projections of the losses included."""
    state: dict[str, torch.Tensor] = torch.load(folder / "checkpoint.pt", weights_only=False)["trainer"][
        "step"
    ]
    return state


def check_same_weights(finished: runs.Finished, out: Path) -> None:
    """Compare a candidate trained in `out` with its trial."""
    there = weights(finished.folder / "checkpoints" / finished_id(finished))
    here = weights(out)
    assert all(torch.equal(here[name], there[name]) for name in there)
    rows = runs.ledger_of(out)
    assert [row["epoch"] for row in rows] == list(range(1, runs.EPOCHS + 1))


@contextmanager
def worker(finished: runs.Finished, out: Path) -> Iterator[runs.Command]:
    """Start the plain worker of one candidate."""
    candidate = finished.folder / "checkpoints" / finished_id(finished) / "candidate.json"
    arguments = ("-m", "trainables.worker", str(candidate), "--out", str(out))
    with runs.started(arguments, folder=runs.ROOT, env=finished.env) as command:
        yield command


@pytest.mark.parametrize("seed", range(REPEATS))
def test_a_worker_killed_anywhere_continues_bit_for_bit(
    seed: int, finished: runs.Finished, tmp_path: Path
) -> None:
    out, moments = tmp_path / "out", random.Random(seed)
    for epoch in range(runs.EPOCHS - 1):
        with worker(finished, out) as command:
            command.wait_for(lambda e=epoch: len(runs.ledger_of(out)) > e, "an epoch")
            time.sleep(moments.uniform(0.0, 0.3))
            command.kill()
    with worker(finished, out) as command:
        assert command.wait() == 0, command.text
    check_same_weights(finished, out)


@pytest.mark.parametrize("seed", range(REPEATS))
def test_a_full_disk_leaves_the_previous_checkpoint(
    seed: int, finished: runs.Finished, tmp_path: Path
) -> None:
    out, size = tmp_path / "out", random.Random(seed).randrange(1_000, 200_000)
    with worker(finished, out) as command:
        command.wait_for(lambda: runs.ledger_of(out), "the first epoch")
        # no file may grow beyond `size` from now on, as on a disk with so much left
        resource.prlimit(command.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        code = command.wait()
    assert code == 2, command.text
    assert "checkpoint.pt: cannot be written" in command.text
    assert "The checkpoint before it is kept" in command.text
    assert "Traceback" not in command.text
    kept = runs.ledger_of(out)
    assert 1 <= len(kept) < runs.EPOCHS
    left = {path.name for path in out.iterdir()} - {"best.pt"}
    assert left == {"checkpoint.pt", "rows.jsonl", "initialisation.json"}  # no draft
    with worker(finished, out) as command:
        assert command.wait() == 0, command.text
    assert runs.ledger_of(out)[: len(kept)] == kept
    check_same_weights(finished, out)


def test_killed_workers_of_nested_trials_are_replaced(finished: runs.Finished, tmp_path: Path) -> None:
    nobody_is_stopped = (
        "--set=search.scheduler.rungs=[]",
        "--trials",
        str(REPEATS),
        "--workers-per-trial",
        "2",
    )
    arguments = ("--space", str(runs.write_space(tmp_path, TWO_WORKERS)), *nobody_is_stopped)
    search = (runs.script("search/run.py"), *arguments)
    with runs.started(search, folder=tmp_path, env=finished.env) as command:
        folder = runs.run_folder(command, tmp_path)
        command.wait_for(lambda: "prepared in" in command.text, "the first trial")
        hit: set[str] = set()
        while len(hit) < REPEATS:
            name = command.wait_for(lambda: next(iter(set(runs.ledgers(folder)) - hit), None), "a trial")
            hit.add(name)
            for pid in runs.processes_called(runs.TRAIN_WORKER, command.pid)[:1]:
                os.kill(pid, signal.SIGKILL)
        assert command.wait() == 0, command.text
    rows = runs.trial_rows(folder)
    assert {row["status"] for row in rows.values()} == {"finished"}, command.text
    expected = {(name, epoch) for name, row in rows.items() for epoch in range(1, row["epochs"] + 1)}
    assert set(runs.history_rows(folder)) == expected
