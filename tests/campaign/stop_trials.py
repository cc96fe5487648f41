"""Run nested trials, stop each after its first epoch, and print what Ray still holds while this driver lives."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from search.tune.cluster_token import offer_token

offer_token()

import ray  # noqa: E402  # reads the token's mode while it is imported
from ray import tune  # noqa: E402
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # noqa: E402

from search.tune import cluster  # noqa: E402
from spaces.files import make_folder  # noqa: E402
from trainables.training.job import Job  # noqa: E402
from trainables.trial import Launch, launch_dict, run_trial  # noqa: E402


class StopAtOnce(FIFOScheduler):
    """Stops every trial at its first row."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return STOP."""
        return str(TrialScheduler.STOP)


def main(address: str, candidate: Path, place: Path, *, trials: int) -> None:
    """Print one JSON object: trials stopped, groups seen and left, CPUs free and all, seconds until they were."""
    cluster.connect(address)
    job = Job.read(candidate, place)
    configs = []
    for number in range(trials):
        name = f"{number:08x}"
        launch = Launch(
            nested=True,
            workers=2,
            cpus=1,
            gpus=0,
            storage=str(place / "ray"),
            log=str(place / "logs" / f"{name}.log"),
        )
        own = replace(job, candidate_id=name, folder=str(place / name))
        order = make_folder(Path(own.folder)) / "candidate.json"
        own.write(order)
        configs.append({"candidate_id": name, "job": str(order), "launch": launch_dict(launch)})
    tuner = tune.Tuner(
        tune.with_resources(run_trial, launch.resources()),
        param_space=tune.grid_search(configs),
        tune_config=tune.TuneConfig(scheduler=StopAtOnce(), max_concurrent_trials=1),
        run_config=tune.RunConfig(name="tune", storage_path=str(place), verbose=0),
    )
    results = tuner.fit()
    started = time.monotonic()
    while True:
        table = ray.util.placement_group_table().values()
        left = [group for group in table if group["state"] != "REMOVED"]
        free, whole = ray.available_resources().get("CPU", 0.0), ray.cluster_resources()["CPU"]
        took = time.monotonic() - started
        if (not left and free == whole) or took > 60:
            break
        time.sleep(0.1)
    told = {"stopped": len(results), "seen": len(table), "left": len(left), "free": free, "whole": whole}
    print(json.dumps({**told, "seconds": took}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), trials=int(sys.argv[4]))
