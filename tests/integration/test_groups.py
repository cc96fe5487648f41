"""What a real Ray tells of placement groups: who asked for them, and whether that one is gone. No public call says it."""

import json

from tests.e2e import runs

GROUPS = """\
import json, time
import ray
from search.tune.groups import Watchdog, own_groups

ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


@ray.remote(num_cpus=0)
class Controller:
    def ask(self, cpus):
        self.asked = [*getattr(self, "asked", []), ray.util.placement_group([{"CPU": cpus}])]
        return self.asked[-1].id.hex()


def wait_for(found):
    deadline = time.monotonic() + 60
    while not found() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found(), own_groups()


mine = ray.util.placement_group([{"CPU": 1}])
lost, alive = Controller.remote(), Controller.remote()
left = {ray.get(lost.ask.remote(1)), ray.get(lost.ask.remote(99))}
kept = {mine.id.hex(), ray.get(alive.ask.remote(1)), ray.get(alive.ask.remote(98))}
wait_for(lambda: sum(group.placed for group in own_groups()) == 3)
assert not any(group.orphaned for group in own_groups())
ray.kill(lost)
wait_for(lambda: {group.name for group in own_groups() if group.orphaned} == left)
Watchdog(print).settle()
wait_for(lambda: {group.name for group in own_groups()} == kept)
wait_for(lambda: ray.available_resources().get("CPU") == 2.0)
print(json.dumps([sorted(group.devices.items()) for group in own_groups() if group.placed]))
"""


def test_groups_of_an_actor_that_is_gone_are_given_back_and_no_others(tmp_path) -> None:
    env = runs.environment(PYTHONPATH=str(runs.ROOT))
    code, text = runs.run(("-c", GROUPS), folder=tmp_path, env=env)
    assert code == 0, text
    assert json.loads(text.splitlines()[-1]) == [[["CPU", 1.0], ["GPU", 0.0]]] * 2
