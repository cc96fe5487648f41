"""When what grows with a run is written anew."""

import pytest

from spaces.ledger import SHARE, Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def written(pace: Pace, clock: Clock, *, took: float = 0.0) -> None:
    with pace.timed():
        clock.now += took


def test_the_first_time_is_now_whatever_changed() -> None:
    assert Pace(clock=Clock()).due(1, 1000)


def test_the_next_time_is_when_as_much_has_changed() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    written(pace, clock)
    clock.now += 1e6
    assert not pace.due(99, 100)
    assert pace.due(100, 100)
    assert pace.due(), "what does not grow waits for the clock alone"


def test_it_takes_no_more_than_its_share_of_the_time() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    written(pace, clock, took=3.0)
    clock.now += 3.0 / SHARE - 1
    assert not pace.due(100, 100)
    clock.now += 1.5
    assert pace.due(100, 100)
    written(pace, clock)
    clock.now += 0.5
    assert not pace.due(100, 100), "a second lies between two times"


def test_what_failed_is_due_at_once() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    for _ in range(2):
        with pytest.raises(OSError, match="full"), pace.timed():
            raise OSError("full")
        assert pace.due(0, 100)
