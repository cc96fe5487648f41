"""Figures in the background: known at once or measured in order, told once and for all, errors to whoever asks."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from search.latency.latencies import TOGETHER, Latencies
from spaces.errors import ResourceError
from tests.unit.search.latency.figures import Slow, of_size, told
from tests.unit.trainables.small import small_config
from trainables.costs.subject import Subject
from trainables.costs.target import Target
from trainables.families.base import Blueprint
from trainables.signals import Serving

GUARD_S = 60.0


def subject(tokens: int = 4) -> Subject:
    """Return a small subject; another length of the text is another subject."""
    return Subject(
        blueprint=Blueprint("blip", small_config()), servings=[Serving(mode="text", tokens=tokens)]
    )


@pytest.fixture
def slow() -> Slow:
    """Return what measures only when it is let go."""
    return Slow()


@pytest.fixture
def latencies(slow: Slow) -> Iterator[Latencies]:
    """Return figures that are measured by `slow`."""
    made = Latencies()
    made.open(Target(), slow)
    yield made
    for _ in range(100):
        slow.go.release()
    made.close()


def begun(slow: Slow, number: int) -> None:
    """Wait until so many batches have begun."""
    until = time.monotonic() + GUARD_S
    while len(slow.batches) < number:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_what_a_table_knows_is_told_at_once_and_stays_so(slow: Slow) -> None:
    figures = {"ms": 3.0}
    latencies = Latencies()
    latencies.open(Target(), slow, table=lambda one: told(figures["ms"]))
    assert latencies.known(subject()) == told(3.0)
    figures["ms"] = 4.0  # another process has measured more
    assert latencies.known(subject()) == told(3.0)
    assert latencies.known(subject(tokens=5)) == told(4.0)
    latencies.close()
    assert slow.batches == []


def test_asking_does_not_wait_and_the_figure_comes(latencies: Latencies, slow: Slow) -> None:
    assert latencies.known(subject()) is None
    latencies.ask([subject()])
    assert latencies.known(subject()) is None
    slow.go.release()
    assert latencies.measured([subject()]) == [of_size(subject())]
    assert not latencies.wait(0.0)  # nothing is left to do
    assert len(slow.batches) == 1


def test_what_somebody_waits_for_comes_before_what_is_likely(latencies: Latencies, slow: Slow) -> None:
    likely = [subject(tokens=10 + place) for place in range(TOGETHER + 1)]
    latencies.ask([subject(1)])
    begun(slow, 1)
    latencies.ask(likely, likely=True)
    latencies.ask([subject(2), likely[-1], subject(1)])
    for _ in range(3):
        slow.go.release()
    while latencies.wait(GUARD_S):
        pass
    lengths = [[one.servings[0].tokens for one in batch] for batch in slow.batches]
    assert lengths == [[1], [2, 10 + TOGETHER], list(range(10, 10 + TOGETHER))]


def test_what_is_asked_for_before_it_is_open_is_measured_then(slow: Slow) -> None:
    latencies = Latencies()
    assert latencies.known(subject()) is None
    latencies.ask([subject()])
    assert not latencies.wait(GUARD_S)
    slow.go.release()
    latencies.open(Target(), slow)
    assert latencies.measured([subject()])
    latencies.close()


def test_an_error_is_raised_where_somebody_asks(latencies: Latencies, slow: Slow) -> None:
    slow.error = ResourceError("latency.device: got cuda")
    latencies.ask([subject()])
    slow.go.release()
    assert latencies.wait(GUARD_S)
    with pytest.raises(ResourceError, match="got cuda"):
        latencies.known(subject())


def test_closing_measures_no_more_and_forgets_nothing(slow: Slow) -> None:
    ended = threading.Event()
    latencies = Latencies()
    latencies.open(Target(), slow, close=ended.set)
    latencies.ask([subject(1)])
    slow.go.release()
    latencies.measured([subject(1)])
    latencies.ask([subject(2)])
    begun(slow, 2)
    slow.error = EOFError()  # its process is gone
    slow.go.release()
    latencies.close()
    assert ended.is_set()
    assert latencies.known(subject(1)) == of_size(subject(1))
    assert latencies.known(subject(3)) is None


def test_the_part_of_the_teacher_that_is_read_makes_another_subject(latencies: Latencies, slow: Slow) -> None:
    alone = subject()
    reading = replace(alone, reads=subject(9))
    slow.go.release()
    both = latencies.measured([alone, reading, reading.head])
    assert both[0] == both[2]
    assert both[1].latency_ms > both[0].latency_ms
    assert [len(batch) for batch in slow.batches] == [2]
