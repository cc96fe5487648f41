"""What a trial costs beside its training: CPU seconds of all processes, per trial, in one run.

    python tests/benchmarks/trial_overhead.py
    python tests/benchmarks/trial_overhead.py --workers 2

Runs a search of very short trials and compares the CPU time of the driver, of Ray and of all trial processes (read
from /proc) after the first trials, which pay for imports, and after the last one. What rank 0 of each trial counts as
training and evaluation is taken off; what the other ranks train is not known, and counts as overhead.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
TRIALS, SKIPPED = 12, 4
TINY = [
    "dataset.train_images=256",
    "dataset.val_images=64",
    "dataset.test_images=64",
    "evaluation.images=64",
    "training.epochs=2",
    "training.pairs_per_epoch=128",
    "search.scheduler.rungs=[]",
]


class Meter(threading.Thread):
    """Samples the CPU seconds of this process and of all below it, those that have ended included."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, float]] = []
        self._spent: dict[tuple[int, str], float] = {}
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Sample four times a second."""
        while not self._stop_asked.wait(0.25):
            self._look()
            self.samples.append((time.time(), sum(self._spent.values())))

    def end(self) -> None:
        """Sample no more."""
        self._stop_asked.set()
        self.join()

    def at(self, moment: float) -> float:
        """Return the CPU seconds at the sample nearest to a moment."""
        return min(self.samples, key=lambda sample: abs(sample[0] - moment))[1]

    def _look(self) -> None:
        """Note what each process has spent; an ended one keeps its last figure, a new one with its number is another."""
        for pid, (born, seconds) in processes_below().items():
            self._spent[pid, born] = seconds


def processes_below() -> dict[int, tuple[str, float]]:
    """Return this process and all below it: number -> (when it was born, CPU seconds)."""
    parents: dict[int, int] = {}
    spent: dict[int, tuple[str, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended between listing and reading
            parents[int(entry.name)] = int(fields[1])
            spent[int(entry.name)] = (fields[19], sum(int(value) for value in fields[11:13]) / TICKS)
    mine, found = os.getpid(), {}
    for pid, one in spent.items():
        above: int | None = pid
        while above is not None and above != mine:
            above = parents.get(above)
        if above == mine:
            found[pid] = one
    return found


def measure(workers: int, trials: int = TRIALS) -> dict[str, Any]:
    """Return what a search of very short trials costs beside their training.

    Args:
        workers: of each trial.
        trials: of the search; the first four ends are not counted.
    """
    from analysis.run_folder import read_run
    from search.run import main as search

    meter = Meter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        meter.start()
        space = str(Path(__file__).parents[2] / "spaces" / "dlip.yaml")
        arguments = ["--space", space, "--out", str(folder), "--trials", str(trials)]
        for text in [*TINY, f"resources.workers_per_trial={workers}"]:
            arguments += ["--set", text]
        code = search(arguments)
        meter.end()
        run = read_run(folder)
    trained = {trial.candidate_id: trial.cpu_s for trial in run.trials}
    history = run.history.table.to_pylist()
    ends = sorted((row["time"], row["candidate_id"]) for row in history if row["status"] == "finished")
    counted = ends[SKIPPED:]  # behind those that pay for imports; the blind student is one of them
    marks = [meter.at(moment) for moment, _ in ends[SKIPPED - 1 :]]
    beside = [
        after - before - trained[name]
        for before, after, (_, name) in zip(marks, marks[1:], counted, strict=False)
    ]
    training = sum(trained[name] for _, name in counted)
    return {
        "code": code,
        "workers": workers,
        "trials": len(counted),
        "cpu_s": marks[-1] - marks[0],
        "training_cpu_s": training,
        "overhead_cpu_s_per_trial": (marks[-1] - marks[0] - training) / len(counted),
        "overhead_cpu_s": beside,
    }


def main() -> int:
    """Run the benchmark and print one JSON line."""
    parser = argparse.ArgumentParser(description="CPU seconds of a trial beside its training")
    parser.add_argument(
        "--workers", type=int, default=1, help="of each trial; more than one run under Ray Train"
    )
    told = measure(parser.parse_args().workers)
    print(json.dumps(told))
    return int(told["code"])


if __name__ == "__main__":
    sys.exit(main())
