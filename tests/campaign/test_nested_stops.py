"""Nested trials that are stopped give everything back, while the search goes on."""

import json
from pathlib import Path

from tests.e2e import runs
from tests.e2e.test_export import finished_id
from tests.integration import rays

STOPPED = 10


def test_ten_stopped_trials_leave_no_group_and_free_all_cpus_within_30_s(
    finished: runs.Finished, tmp_path: Path
) -> None:
    candidate = finished.folder / "checkpoints" / finished_id(finished) / "candidate.json"
    script = str(Path(__file__).with_name("stop_trials.py"))
    # a second Ray on the machine: its mere presence once made Ray forget the groups of stopped trials
    with rays.head(num_cpus=1), rays.head(num_cpus=2) as ours:
        arguments = (script, ours.address, str(candidate), str(tmp_path), str(STOPPED))
        env = runs.environment(PYTHONPATH=str(runs.ROOT))
        code, text = runs.run(arguments, folder=runs.ROOT, env=env, patience_s=900.0)
    assert code == 0, text
    told = json.loads(text.splitlines()[-1])
    assert told["stopped"] == STOPPED
    assert told["seen"] >= STOPPED
    assert told["left"] == 0, told
    assert told["free"] == told["whole"] == 2.0
    assert told["seconds"] < 30, told
