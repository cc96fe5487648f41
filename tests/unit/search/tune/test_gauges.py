"""Gauges say what trains and where the run stands, and are as many at the end as at the beginning."""

import math
from typing import Any

import pytest

from search.reporting.progress import Tally
from search.tune import gauges
from search.tune.gauges import RUN, STATUSES, TRAINING, Gauges


class Page:
    """The metrics page: the last value of each gauge and its tags."""

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        assert description
        self.keys, self.values = set(tag_keys), dict[tuple[tuple[str, str], ...], float]()
        PAGES[name.removeprefix("student_search_")] = self

    def set(self, value: float, tags: dict[str, str] | None = None) -> None:
        assert set(tags or {}) == self.keys
        self.values[tuple(sorted((tags or {}).items()))] = value


PAGES: dict[str, Page] = {}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Gauges:
    PAGES.clear()
    monkeypatch.setattr(gauges, "Gauge", Page)
    return Gauges("retention")


def row(epoch: int, **more: Any) -> dict[str, Any]:
    return {"epoch": epoch, "loss": 1.0 / epoch, "retention": None, **more}


def at(name: str, place: int, role: str = "search") -> float:
    return PAGES[name].values[("place", str(place)), ("role", role)]


def test_each_that_trains_has_a_place_which_the_next_one_takes(shown: Gauges) -> None:
    shown.show_epoch("a", "search", row(1))
    shown.show_epoch("b", "search", row(2, retention=40.0))
    assert (at("epoch", 0), at("epoch", 1), at("quality", 1)) == (1.0, 2.0, 40.0)
    shown.show_end("a", "search")
    assert math.isnan(at("epoch", 0))
    assert math.isnan(at("loss", 0))
    assert at("epoch", 1) == 2.0
    shown.show_epoch("c", "search", row(3))
    assert (at("epoch", 0), at("loss", 0)) == (3.0, 1 / 3)
    shown.show_end("never told", "search")


def test_ten_thousand_candidates_leave_as_many_gauges_as_train_side_by_side(shown: Gauges) -> None:
    for number in range(10_000):
        shown.show_epoch(str(number), "search", row(1, retention=1.0))
        if number >= 3:
            shown.show_end(str(number - 3), "search")
    assert {name: len(PAGES[name].values) for name in TRAINING} == dict.fromkeys(TRAINING, 4)


def test_the_run_is_counted_by_status(shown: Gauges) -> None:
    shown.show_run(Tally(trials=9, running=2, finished=3, stopped=4, failed=1, epochs=30))
    assert {key[0][1]: value for key, value in PAGES["candidates"].values.items()} == {
        "running": 2.0, "finished": 3.0, "stopped": 4.0, "failed": 1.0, "rejected": 0.0
    }  # fmt: skip
    assert set(STATUSES) == {key[0][1] for key in PAGES["candidates"].values}
    assert PAGES["epochs"].values == {(): 30.0}
    assert PAGES["hypervolume"].values == {}, "nobody has finished"
    shown.show_run(Tally(trials=9, hypervolume=12.5))
    assert PAGES["hypervolume"].values == {(): 12.5}
    assert set(PAGES) == {*TRAINING, *RUN}
