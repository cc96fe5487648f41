"""How soon many trials run on a large cluster: many logical CPUs on this machine, trials that only report.

    python tests/benchmarks/many_trials.py                      # 200 trials, which end at once: their processes are used again
    python tests/benchmarks/many_trials.py --held 40            # all begin before any ends, so that each needs a process
    python tests/benchmarks/many_trials.py --held 40 --pending 1  # as Ray Tune does by default: one actor after another

A process of Ray's costs more than a CPU second, which many nodes share and one machine has to pay alone: beside the time
stands what the driver of the search needs itself, which bounds a large cluster.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher


def main() -> int:
    """Run the benchmark and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--cpus", type=int, default=400)
    parser.add_argument("--held", type=int, default=0, help="so many trials begin before the first one ends")
    parser.add_argument("--pending", help="TUNE_MAX_PENDING_TRIALS_PG; default: as a search sets it")
    options = parser.parse_args()
    trials = options.held or options.trials
    if options.pending:
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = options.pending
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        told = measure(Path(place), trials=trials, cpus=options.cpus, held=bool(options.held))
    print(json.dumps({**vars(options), **told, "load": [round(load, 1), round(os.getloadavg()[0], 1)]}))
    return 0


class Numbers(Searcher):
    """Proposes numbers, so many."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.given = most, 0

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        """Return the next one."""
        self.given += 1
        return {"candidate_id": f"{self.given:08x}"} if self.given <= self.most else str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Learn nothing."""


class Clock(Callback):
    """Notes when each trial told its first row, and opens a gate with the last."""

    def __init__(self, gate: Path, trials: int) -> None:
        self.gate, self.trials = gate, trials
        self.began: dict[str, float] = {}

    def on_trial_result(self, *told: Any, trial: Any, **info: Any) -> None:
        """Note it."""
        self.began.setdefault(trial.trial_id, time.monotonic())
        if len(self.began) == self.trials:
            self.gate.touch()

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray pickles its callbacks to a file that is never read."""
        return {}


def reporting(gate: Path | None) -> Callable[[dict[str, Any]], None]:
    """Return a trial that reports twice; if there is a gate, the second time when that is open."""

    def trial(config: dict[str, Any]) -> None:
        tune.report({"epoch": 1})
        while gate is not None and not gate.exists():
            time.sleep(0.2)
        tune.report({"epoch": 2})

    return trial


def measure(place: Path, *, trials: int, cpus: int, held: bool) -> dict[str, Any]:
    """Return seconds until the first, half and all trials had begun, and CPU seconds of the driver and of all."""
    from search.tune import cluster, tuner
    from search.tune.capacity import Capacity
    from tests.benchmarks.trial_overhead import Meter
    from trainables.trial import Launch

    gate = place / "all have begun"
    cluster.usable_cores = lambda: cpus  # type: ignore[attr-defined]
    tuner.run_trial = reporting(gate if held else None)  # type: ignore[attr-defined]
    clock, meter = Clock(gate, trials), Meter()
    with cluster.joined(None):
        found = cluster.resources(workers=1, cpus=1, gpus=0)
        capacity = Capacity(found, ahead=1)
        tuner.mend_tune()
        made = tuner.make_tuner(
            Numbers(trials),  # type: ignore[arg-type]
            FIFOScheduler(),  # type: ignore[arg-type]
            callbacks=[clock],
            launch=Launch(nested=False, workers=1, cpus=1, gpus=0, storage=str(place / "ray"), log=""),
            room=lambda: capacity.room,
            over=lambda: False,
        )
        meter.start()
        started, driver = time.monotonic(), time.process_time()
        results = made.fit()
        whole, driver = time.monotonic() - started, time.process_time() - driver
        meter.end()
    assert len(results) == trials
    assert not results.errors, results.errors[:1]
    began = sorted(moment - started for moment in clock.began.values())
    return {
        "slots": found.slots,
        "first_s": round(began[0], 1),
        "half_s": round(began[len(began) // 2], 1),
        "all_s": round(began[-1], 1),
        "whole_s": round(whole, 1),
        "driver_cpu_s": round(driver, 2),
        "all_cpu_s": round(meter.samples[-1][1] - meter.samples[0][1], 1),
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    sys.exit(main())
