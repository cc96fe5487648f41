"""`search.api.search` in a process of the user's: twice, beside the main thread, and on a Ray that runs already."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.pareto import front
from analysis.run_folder import read_run
from search.api import Run, open_run
from spaces.errors import RunError
from tests.e2e import runs
from trainables.signals import Want

# one search as a script would do it, and one as a notebook may: in a thread, on a Ray of its own
TWICE = """\
import json, os, sys, threading
from pathlib import Path

import ray
from ray.tune import Callback

from search.api import search

space, place = sys.argv[1], Path(sys.argv[2])
os.environ |= {"RAY_ADDRESS": "elsewhere:1", "TUNE_RESULT_BUFFER_LENGTH": "7"}


class Listener(Callback):
    def __init__(self):
        self.heard, self.lock = [], threading.Lock()  # a lock cannot be pickled

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.heard.append([result["candidate_id"], result["epoch"]])

    def on_experiment_end(self, trials, **info):
        self.heard.append("end")
        self.weights = [trial.config["candidate"]["losses"]["itc"]["weight"] for trial in trials]


class Broken(Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        raise ValueError("no good")


def state():
    ours = {name: value for name, value in os.environ.items() if name.startswith(("RAY_", "TUNE_"))}
    return {"environment": ours, "ray": ray.is_initialized()}


found = {"before": state()}
listener = Listener()
one = search(
    space,
    trials=2,
    overrides={"training.epochs": 2, "losses.itc.weight": 0.5},
    callbacks=[Broken(), listener],
    out=place / "one",
)
found |= {"heard": listener.heard, "weights": listener.weights, "between": state()}
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
runs = []
found["started"] = state()


def beside():
    texts = ["training.epochs=2", "losses.itc.weight=0.5"]
    runs.append(search(space, trials=2, overrides=texts, quiet=True, always_train=True, out=str(place / "two")))


print("the quiet one begins", flush=True)
thread = threading.Thread(target=beside)
thread.start()
thread.join()
print("the quiet one has ended", flush=True)
found |= {"after": state(), "answer": ray.get(ray.remote(lambda: 42).remote())}
print(json.dumps(found | {"folders": [str(one.folder), *(str(run.folder) for run in runs)]}), flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What the two searches left behind.

    Attributes:
        text: all that the process printed.
        found: what it saw of itself.
        one, two: the runs; the first has callbacks and its overrides as a mapping.
    """

    text: str
    found: dict[str, Any]
    one: Run
    two: Run


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """Search twice in one process."""
    place = tmp_path_factory.mktemp("api")
    space = runs.write_space(place)
    code, text = runs.run(("-c", TWICE, str(space), str(place)), folder=place, env=runs.environment())
    assert code == 0, text
    found = json.loads(text.splitlines()[-1])
    one, two = map(open_run, found["folders"])
    return Visit(text=text, found=found, one=one, two=two)


def test_both_searches_train_what_they_were_asked_for(visit: Visit) -> None:
    for run in (visit.one, visit.two):
        rows = run.trials[run.trials["status"] != "rejected"]
        assert sorted(rows["role"]) == ["blind", "search", "search"]
        assert "finished" in set(rows["status"])
        for text in rows["config"]:
            config = json.loads(text)
            assert config["training"]["epochs"] == 2
            assert config["losses"]["itc"]["weight"] == 0.5


def test_a_mapping_and_texts_say_the_same(visit: Visit) -> None:
    assert set(visit.one.trials["candidate_id"]) == set(visit.two.trials["candidate_id"])


def test_ray_and_the_environment_are_left_as_they_were_found(visit: Visit) -> None:
    found = visit.found
    assert found["before"]["environment"]["RAY_ADDRESS"] == "elsewhere:1"
    assert found["between"] == found["before"]
    assert not found["between"]["ray"]
    assert found["after"] == found["started"]
    assert found["after"]["ray"]  # the user's own goes on running, and answers
    assert found["answer"] == 42


def test_a_callback_hears_every_epoch_and_one_that_raises_is_told(visit: Visit) -> None:
    *results, end = visit.found["heard"]
    assert end == "end"
    assert sorted(map(tuple, results)) == sorted(runs.history_rows(visit.one.folder))
    assert set(visit.found["weights"]) == {0.5}, "loggers take a candidate's config from that of its trial"


def test_the_call_stands_where_a_command_would(visit: Visit) -> None:
    told = visit.one.facts["command"]
    assert told.startswith("search.api.search(space='")
    assert "trials=2, overrides={'training.epochs': 2, 'losses.itc.weight': 0.5}" in told
    assert [one["command"] for one in visit.one.facts["sessions"]] == [told]
    told = "callback Broken.on_trial_result raised ValueError: no good; the search goes on"
    assert visit.text.count(told) == 1


def test_a_quiet_search_says_nothing(visit: Visit) -> None:
    said = visit.text.partition("the quiet one begins\n")[2].partition("the quiet one has ended")[0]
    assert said == ""
    assert re.search(r"^run folder: .*one$", visit.text, re.MULTILINE)


def test_a_run_gives_its_tables(visit: Visit) -> None:
    run = visit.one
    history = run.history
    assert set(zip(history["candidate_id"], history["epoch"], strict=True)) == set(
        runs.history_rows(run.folder)
    )
    assert run.facts["ended_by"] == "trials"
    assert run.facts["tasks"] == ["retrieval", "vqa", "captioning"]


@pytest.mark.parametrize("axis", ["params", "flops", "latency_ms"])
def test_a_front_is_a_table_from_small_to_large(axis: str, visit: Visit) -> None:
    members = visit.one.front(axis)
    expected = [trial.candidate_id for trial in front(read_run(visit.one.folder), axis)]
    assert list(members["candidate_id"]) == expected != []
    assert list(members[axis]) == sorted(members[axis])
    assert list(members["retention"]) == sorted(members["retention"])
    assert "blind" not in set(members["role"])


def test_a_trial_is_picked_by_name_or_id(visit: Visit) -> None:
    run = visit.one
    best = run.pick("best")
    assert best.candidate_id == run.front()["candidate_id"].iloc[-1]
    assert run.pick(best.candidate_id) == best
    with pytest.raises(RunError):
        run.pick("0000000")


def test_a_student_is_exported_and_comes_back_loaded(visit: Visit, tmp_path: Path) -> None:
    student = visit.one.export("best", out=tmp_path / "student")
    assert (tmp_path / "student" / "README.md").is_file()
    pictures = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    want = Want("image", "embedding")
    assert student.signals(pictures, wants={want})[want].shape[0] == 2
    row = visit.one.trials.set_index("candidate_id").loc[visit.one.pick("best").candidate_id]
    assert sum(parameter.numel() for parameter in student.model.parameters()) == row["params"]


def test_the_report_is_drawn_anew(visit: Visit) -> None:
    report = visit.one.folder / "report.html"
    report.unlink()
    assert visit.one.report() == report
    assert report.is_file()


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        open_run(tmp_path)
