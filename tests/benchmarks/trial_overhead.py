"""What a one-worker trial costs beside its training: CPU seconds of all processes, per trial, in one run.

    python tests/benchmarks/trial_overhead.py

Runs a search of very short trials and compares the CPU time of the driver, of Ray and of all trial processes (read
from /proc) after the first two trials, which pay for imports, and after the last one. What the trials themselves
count as training and evaluation is taken off.
"""

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
TRIALS = 12
TINY = [
    "dataset.train_images=256",
    "dataset.val_images=64",
    "dataset.test_images=64",
    "evaluation.images=64",
    "training.epochs=2",
    "training.pairs_per_epoch=128",
    "search.scheduler.rungs=[]",
]


def tree_cpu_s() -> float:
    """Return the CPU seconds of this process and all of its living descendants, and of the dead they waited for."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended between listing and reading
            parents[int(entry.name)] = int(fields[1])
            spent[int(entry.name)] = sum(int(value) for value in fields[11:15]) / TICKS
    mine, total = os.getpid(), 0.0
    for pid in parents:
        above: int | None = pid
        while above is not None and above != mine:
            above = parents.get(above)
        if above == mine:
            total += spent[pid]
    return total


def main() -> int:
    """Run the benchmark and print one JSON line."""
    from analysis.run_folder import read_run
    from search.run import main as search

    folder = Path(tempfile.mkdtemp()) / "run"
    samples: list[tuple[float, float]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.25):
            samples.append((time.time(), tree_cpu_s()))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    arguments = [
        "--space",
        str(Path(__file__).parents[2] / "spaces" / "dlip.yaml"),
        "--out",
        str(folder),
        "--trials",
        str(TRIALS),
    ]
    for text in TINY:
        arguments += ["--set", text]
    code = search(arguments)
    stop.set()
    thread.join()
    run = read_run(folder)
    history = run.history.table.to_pylist()
    ends = sorted((row["time"], row["candidate_id"]) for row in history if row["status"] == "finished")
    first, last = ends[3][0], ends[-1][0]  # the blind student is one of them
    counted = {candidate for moment, candidate in ends if first < moment <= last}
    training = sum(trial.cpu_s for trial in run.trials if trial.candidate_id in counted)
    spent = _at(samples, last) - _at(samples, first)
    per_trial = (spent - training) / len(counted)
    print(
        json.dumps(
            {
                "code": code,
                "trials": len(counted),
                "cpu_s": spent,
                "training_cpu_s": training,
                "overhead_cpu_s_per_trial": per_trial,
            }
        )
    )
    return code


def _at(samples: list[tuple[float, float]], moment: float) -> float:
    """Return the CPU seconds at the sample nearest to a moment."""
    nearest: Any = min(samples, key=lambda sample: abs(sample[0] - moment))
    return float(nearest[1])


if __name__ == "__main__":
    sys.exit(main())
