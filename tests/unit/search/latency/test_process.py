"""The process beside a search that measures: its answers, its end, and what is told of one that is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.latency.orders import failed_line, found_line, order_line, read_answer, read_order, said_line
from search.latency.process import ROOT, MeasuringProcess, measured
from spaces.errors import ResourceError
from tests.unit.search.latency.figures import told
from tests.unit.search.latency.test_latencies import subject
from trainables.costs.latency import Latency
from trainables.costs.target import Target

GUARD_S = 120.0


@pytest.fixture
def said() -> list[str]:
    """Return what the user is told."""
    return []


@pytest.fixture
def process(tmp_path: Path, said: list[str]) -> Iterator[MeasuringProcess]:
    """Return a process of one thread of this CPU; it is not started yet."""
    made = MeasuringProcess(Target(), tmp_path, say=said.append)
    yield made
    made.close()


def child(process: MeasuringProcess) -> "subprocess.Popen[bytes]":
    """Return the process itself, as soon as it is there."""
    until = time.monotonic() + GUARD_S
    while process._process is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    return process._process


def test_it_measures_and_answers_again_and_begins_anew_when_it_is_killed(
    process: MeasuringProcess, said: list[str]
) -> None:
    (first,) = process([subject(tokens=4)])
    assert isinstance(first, Latency)
    assert first.latency_ms > 0
    (again,) = process([subject(tokens=4)])
    assert again == first  # by the table in the folder, which had it
    os.kill(child(process).pid, signal.SIGKILL)
    assert process([subject(tokens=4)]) == [first]
    assert said == ["latency: the process that measures it ended (exit code -9); it begins anew"]


def test_a_target_that_is_not_there_is_told_as_itself(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"latency\.threads: got 4000") as caught:
        measured(Target(threads=4000), tmp_path, [subject()], say=lambda line: None)
    with pytest.raises(ResourceError, match=r"^latency\.threads: got 4000"):
        read_answer(failed_line(caught.value))


def test_what_travels_comes_back_as_it_was() -> None:
    reading = replace(subject(4), reads=subject(9), tokenizer_bytes=7)
    assert read_order(order_line(Target(batch=8), Path("/x"), [subject(4), reading])) == (
        Target(batch=8),
        Path("/x"),
        [subject(4), reading],
    )
    assert read_answer(found_line([told(1.5, 0.25)])) == [told(1.5, 0.25)]
    assert read_answer(said_line("a line")) == "a line"
    with pytest.raises(ValueError, match="Unterminated"):
        read_answer('{"found')


def test_closing_ends_it_in_the_middle(process: MeasuringProcess) -> None:
    caught: list[BaseException] = []

    def measure() -> None:
        try:
            process([subject(tokens=10 + place) for place in range(50)])
        except ResourceError as error:
            caught.append(error)

    thread = threading.Thread(target=measure)
    thread.start()
    running = child(process)
    process.close()
    thread.join(GUARD_S)
    assert not thread.is_alive()
    assert running.poll() is not None
    assert caught


def test_it_ends_by_itself_when_the_search_is_gone() -> None:
    command = [sys.executable, "-m", "search.latency.process"]
    running: Any = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=ROOT)
    running.stdin.close()
    assert running.wait(GUARD_S) == 0
