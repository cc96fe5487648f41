"""Students that lack an objective, since they cannot do that task, never end a search: each place that sees their rows."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from analysis.pareto import mark_fronts
from search.schedulers.moasha import MOAsha
from search.schedulers.rung_config import RungConfig
from search.searchers.base import Outcome, Proposer
from search.searchers.evolution import Evolution
from search.searchers.tree_parzen import TreeParzen
from search.stopping.hypervolume import growth_of
from tests.unit.search.toy_admissions import DOMAINS

OBJECTIVES = {"mean_recall": "max", "vqa_accuracy": "max", "params": "min"}
TEACHER = {"mean_recall": 90.0, "vqa_accuracy": 80.0, "params": 1000.0}


def row(number: int, *, dual: bool, epoch: int = 1, status: str = "running") -> dict[str, Any]:
    """Return a row of a student; a dual encoder answers no questions."""
    answers: dict[str, Any] = {"vqa_accuracy": None} if dual and number % 2 else {}
    told = answers if dual else {"vqa_accuracy": 30.0 + number}
    metrics = {"mean_recall": 40.0 + number, "params": 100.0 + number, "latency_ms": 1.0, "flops": 9.0}
    base = {"candidate_id": f"{number:08x}", "epoch": epoch, "status": status, "role": "search"}
    return {**base, **metrics, **told}


def test_the_scheduler_lets_them_go_on_and_ranks_the_others(tmp_path: Path) -> None:
    made = MOAsha(RungConfig(rungs=(1,), reduction_factor=2), OBJECTIVES, folder=tmp_path)
    said = []
    for number in range(6):
        found = row(number, dual=number < 3)
        trial: Any = SimpleNamespace(trial_id=str(number), config={"candidate_id": found["candidate_id"]})
        made.on_trial_add(None, trial)  # type: ignore[arg-type]
        said.append(made.on_trial_result(None, trial, found))  # type: ignore[arg-type]
    assert said[:3] == [TrialScheduler.CONTINUE] * 3
    assert set(said) <= {TrialScheduler.CONTINUE, TrialScheduler.STOP, TrialScheduler.PAUSE}


def test_they_add_no_volume_and_the_others_do() -> None:
    ended = [row(n, dual=n != 1, epoch=3, status="finished") for n in range(3)]
    growth = growth_of(OBJECTIVES, TEACHER, ended)
    assert [count for count, _ in growth.series] == [1]
    # 41 of 90, 31 of 80 and 101 of 1,000
    assert growth.percent == pytest.approx(100 * 41 / 90 * 31 / 80 * (1 - 0.101))
    assert growth.best["mean_recall"].value == 42.0
    assert growth.gain(1) is not None  # and none of them breaks the plateau rule


def test_they_stand_on_no_front_of_what_they_lack() -> None:
    rows = [row(n, dual=n != 1, epoch=3, status="finished") for n in range(3)]
    marked = mark_fronts(rows, "vqa_accuracy", maximise=True)
    assert [one["on_front_params"] for one in marked] == [False, True, False]


@pytest.mark.parametrize("kind", [Evolution, TreeParzen])
def test_searchers_go_on_proposing(kind: type[Proposer]) -> None:
    options = {"startup": 2} if kind is TreeParzen else {}
    made = kind(kind.Config(**options), DOMAINS, seed=0, objectives=OBJECTIVES)
    for index in range(12):
        values = made.propose(index)
        made.observe(index, values, Outcome(state="pending"))
        # the searcher is told of a failure; a past row of an older run may still come as a value
        last = row(index, dual=index % 3 == 0, epoch=3, status="finished")
        state = "failed" if index % 6 == 0 else "measured"
        made.observe(index, values, Outcome(state=state, rows=(last,), full_epochs=3))  # type: ignore[arg-type]
    assert made.propose(12).keys() == DOMAINS.keys()
