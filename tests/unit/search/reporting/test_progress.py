"""The progress line, with a clock and a stream of our own."""

import io
import math
from dataclasses import replace

import pytest

from search.reporting.progress import Progress, Tally, describe
from search.reporting.standing import Standing
from search.stopping.hypervolume import Best

FULL = {"a": 9, "b": 9, "c": 9, "d": 9, "z": 9}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def row(
    candidate_id: str, status: str, epochs: int, retention: float = math.nan, role: str = "search"
) -> dict:
    return {
        "candidate_id": candidate_id,
        "status": status,
        "epochs": epochs,
        "retention": retention,
        "role": role,
    }


def tally(rows: list[dict], trials: int = 6) -> Tally:
    standing = Standing()
    for one in rows:
        standing.note(one, FULL.get(one["candidate_id"], 0))
    return standing.tally(trials)


ROWS = [
    row("z", "finished", 9, 99.0, role="blind"),
    row("a", "finished", 9, 86.25),
    row("b", "stopped", 3, 70.0),
    row("c", "running", 2),
    row("d", "crashed", 1),
    row("e", "rejected", 0),
]


def test_counts_and_the_epochs_that_stopping_saved() -> None:
    found = tally(ROWS)
    assert (found.finished, found.stopped, found.failed, found.running, found.rejected) == (1, 1, 1, 1, 1)
    assert (found.epochs, found.epochs_saved) == (24, 6)
    # typical length (9 + 3) / 2 = 6; two candidates to come, the running one has 4 of 6 before it
    assert found.epochs_left == 2 * 6 + 4


def test_a_candidate_beyond_the_typical_end_is_expected_to_finish() -> None:
    assert tally([*ROWS[:3], row("c", "running", 7)], trials=3).epochs_left == 2


def test_before_any_end_whole_trainings_are_expected() -> None:
    assert tally([row("a", "running", 1)], trials=3).epochs_left == 8 + 2 * 9
    assert (tally([], trials=3).hypervolume, tally([], trials=3).best) == (None, ())


def test_the_line_without_a_finished_candidate() -> None:
    assert describe(tally(ROWS), elapsed_s=250, left_s=600) == (
        "3/6 done (1 stopped, 1 failed) | 1 running | 4 min 10 s, about 10 min 00 s left | 1 rejected | "
        "24 epochs, 6 saved by stopping"
    )


def test_the_line_shows_the_hypervolume_and_the_best_of_every_objective() -> None:
    best = [
        Best("retention", 88.61, "5934149f"),
        Best("params", 110_213.0, "b"),
        Best("flops", 6.7e6, "b"),
        Best("latency_ms", 1.204, "c"),
        Best("size_mib", 0.5, "b"),
    ]
    assert describe(replace(tally([]), hypervolume=41.27, best=best), elapsed_s=1, left_s=None) == (
        "0/6 done (0 stopped, 0 failed) | 0 running | 1 s | hypervolume 41.3 % | best of each: retention 88.6 (5934149f), "
        "params 110 k, flops 6.70 M, latency 1.20 ms, size 0.50 MiB | 0 epochs, 0 saved by stopping"
    )


def test_without_a_terminal_a_line_every_ten_seconds_and_at_every_end() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, clock=clock)
    shown = []
    for now, done in ((0, 0), (4, 0), (9.9, 0), (10, 0), (11, 0), (12, 1), (13, 1), (22, 1)):
        clock.now = now
        before = stream.getvalue().count("\n")
        progress.show(tally([row("abcd"[i], "finished", 9, 1.0) for i in range(done)]))
        shown.append(stream.getvalue().count("\n") - before)
    assert shown == [1, 0, 0, 1, 0, 1, 0, 1]
    assert "\r" not in stream.getvalue()


def test_on_a_terminal_the_line_is_rewritten_and_cut_to_its_width() -> None:
    clock, stream = Clock(), Terminal()
    progress = Progress(stream, clock=clock, columns=lambda: 30)
    progress.show(tally(ROWS))
    clock.now = 0.1
    progress.show(tally(ROWS))
    clock.now = 1.0
    assert progress.due
    progress.show(tally(ROWS))
    progress.close(tally(ROWS))
    lines = stream.getvalue().split("\r\x1b[K")[1:]
    assert [line.rstrip("\n") for line in lines] == ["3/6 done (1 stopped, 1 failed)"[:29]] * 3
    assert stream.getvalue().endswith("\n")


def test_time_left_follows_the_speed_of_this_session() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, clock=clock)
    progress.show(tally([row("a", "finished", 9, 1.0), row("b", "running", 5)], trials=2))
    clock.now = 20
    progress.show(tally([row("a", "finished", 9, 1.0), row("b", "running", 7)], trials=2))
    first, second = stream.getvalue().splitlines()
    assert " | 0 s | " in first
    assert " | 20 s, about 20 s left | " in second  # 2 epochs took 20 s, 2 are left


@pytest.mark.parametrize(("limit", "left"), [(None, "20 s"), (60.0, "20 s"), (5.0, "5 s")])
def test_time_left_ends_where_the_wall_clock_ends_the_search(limit: float | None, left: str) -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, clock=clock)
    for now, epochs in ((0, 5), (20, 7)):
        clock.now = now
        rows = [row("a", "finished", 9, 1.0), row("b", "running", epochs)]
        progress.show(replace(tally(rows, trials=2), limit_left_s=limit))
    assert f" | 20 s, about {left} left | " in stream.getvalue().splitlines()[1]


def test_the_last_line_promises_no_time_left() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, clock=clock)
    progress.show(tally([row("a", "running", 1)]))
    clock.now = 20
    progress.close(tally([row("a", "running", 3)]))
    assert stream.getvalue().splitlines()[1] == (
        "0/6 done (0 stopped, 0 failed) | 1 running | 20 s | 3 epochs, 0 saved by stopping"
    )
