"""Ray Tune keeps the process of a trial for the next one: what if it is lost meanwhile, or others wait for what it holds."""

import json
from pathlib import Path

from tests.e2e import runs

# one CPU. The process of the first trial is killed before the second begins; before the third, a task takes that CPU
SEARCH = """\
import json, os, signal, sys
import ray
from ray import tune
from ray.tune.search import Searcher

from search.tune.cluster import DRIVER_SETTINGS
from search.tune.tuner import mend_tune
from tests.e2e import runs


class Three(Searcher):
    def __init__(self):
        super().__init__()
        self.begun, self.ended, self.figure = 0, [], None

    def suggest(self, trial_id):
        if self.begun == 3:
            return Searcher.FINISHED
        if len(self.ended) < self.begun:
            return None
        if self.begun == 2:
            self.figure = self.figure or ray.remote(num_cpus=1)(lambda: 42).remote()
            if not ray.wait([self.figure], timeout=0.1)[0]:
                return None
        self.begun += 1
        return {"trial": self.begun}

    def on_trial_complete(self, trial_id, result=None, error=False):
        if not self.ended:
            os.kill(result["pid"], signal.SIGKILL)
            runs.wait_for_end([result["pid"]], patience_s=60)
        self.ended.append("lost" if error else result["epoch"])

    def set_search_properties(self, metric, mode, config, **spec):
        return True

    def save(self, path):
        pass

    def __getstate__(self):
        return {}


def train(config):
    for epoch in (1, 2):
        tune.report({"epoch": epoch})


os.environ |= DRIVER_SETTINGS
mend_tune()
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
searcher = Three()
tune.Tuner(
    tune.with_resources(train, {"CPU": 1}),
    tune_config=tune.TuneConfig(num_samples=-1, search_alg=searcher, reuse_actors=True),
    run_config=tune.RunConfig(storage_path=sys.argv[1], failure_config=tune.FailureConfig(max_failures=1), verbose=0),
).fit()
print(json.dumps(searcher.ended))
"""


def test_a_process_lost_between_trials_costs_none_and_its_cpu_is_free_for_others(tmp_path: Path) -> None:
    env = runs.environment(PYTHONPATH=str(runs.ROOT))
    code, text = runs.run(("-c", SEARCH, str(tmp_path)), folder=tmp_path, env=env)
    assert code == 0, text
    assert json.loads(text.splitlines()[-1]) == [2, 2, 2], text
