"""The line that tells how far the simulations are."""

import io

from search.simulator.ticker import Ticker


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_short_work_needs_no_line() -> None:
    clock, stream = Clock(), io.StringIO()
    ticker = Ticker(stream, searches=1, clock=clock)
    clock.now += 1.9
    ticker.tell(0, "random", 0.9)
    ticker.close()
    assert stream.getvalue() == ""


def test_the_line_tells_the_time_that_is_left_and_comes_seldom() -> None:
    clock, stream = Clock(), io.StringIO()
    ticker = Ticker(stream, searches=4, clock=clock)
    for second in range(30):
        clock.now = 50.0 + second
        ticker.tell(1, "random", 0.5)
    lines = stream.getvalue().splitlines()
    # 3 of 8 parts done after 2 s: 5 parts in 3.3 s
    assert lines[0] == "simulation 2 of 4 (random): 50% | 2 s, about 3 s left"
    assert len(lines) == 3


def test_next_to_nothing_done_foretells_nothing() -> None:
    clock, stream = Clock(), io.StringIO()
    ticker = Ticker(stream, searches=4, clock=clock)
    clock.now += 5
    ticker.tell(0, "random", 0.001)
    assert stream.getvalue() == "simulation 1 of 4 (random): 0% | 5 s\n"


def test_a_terminal_is_left_clean() -> None:
    clock, stream = Clock(), Terminal()
    ticker = Ticker(stream, searches=1, clock=clock)
    clock.now += 3
    ticker.tell(0, "random", 0.5)
    ticker.close()
    assert stream.getvalue().endswith("\r\x1b[K")
    assert "\n" not in stream.getvalue()
