"""Candidates are handed out while there is room, a few at a time."""

from typing import Any

from ray.tune.search import Searcher

from search.tune.tuner import BURST_S, Paced


class Endless(Searcher):
    """Proposes as often as it is asked, at a price; ends after `most`."""

    def __init__(self, *, most: int = 1000, took_s: float = 0.0) -> None:
        super().__init__()
        self.most, self.took_s, self.now, self.asked = most, took_s, 0.0, 0
        self.ended: list[str] = []

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        """Propose."""
        self.now += self.took_s
        self.asked += 1
        return {"number": self.asked} if self.asked <= self.most else str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Note it."""
        self.ended.append(trial_id)


def asked_until_none(paced: Paced, first: int = 0) -> list[str]:
    """Ask as Tune does; return the ids that got a config."""
    given = []
    while isinstance(paced.suggest(f"t{first + len(given)}"), dict):
        given.append(f"t{first + len(given)}")
    return given


def test_as_many_as_there_is_room_for_and_one_more_for_each_that_ends() -> None:
    inner = Endless()
    room = 3
    paced = Paced(inner, lambda: room, clock=lambda: 0.0)
    assert asked_until_none(paced) == ["t0", "t1", "t2"]
    assert asked_until_none(paced) == []
    paced.on_trial_complete("t1", {"loss": 1})
    assert inner.ended == ["t1"]
    assert asked_until_none(paced, 3) == ["t3"]
    room = 5
    assert asked_until_none(paced, 4) == ["t4", "t5"]
    room = 1
    for name in ("t0", "t2", "t3", "t4"):
        paced.on_trial_complete(name, error=True)
    assert asked_until_none(paced, 6) == []
    assert inner.asked == 6, "no proposal was made in vain"


def test_one_is_handed_out_even_where_there_is_no_room_so_that_it_is_seen_to_wait() -> None:
    assert asked_until_none(Paced(Endless(), lambda: 0)) == ["t0"]


def test_dozens_are_not_proposed_in_a_row_before_one_is_started() -> None:
    inner = Endless(took_s=BURST_S / 4)
    paced = Paced(inner, lambda: 200, clock=lambda: inner.now)
    assert len(asked_until_none(paced)) == 5
    assert len(asked_until_none(paced, 5)) == 5, "it goes on after Tune has started these"


def test_the_end_of_the_search_is_passed_on() -> None:
    paced = Paced(Endless(most=1), lambda: 9)
    assert asked_until_none(paced) == ["t0"]
    assert paced.suggest("t1") == Searcher.FINISHED
