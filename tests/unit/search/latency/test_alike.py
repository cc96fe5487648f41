"""On a cluster of several kinds of machines a run measures on one of them, or says that it does not."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from search.latency import alike
from search.latency.alike import TRIES, TRYING_S, Alike, measured_alike
from spaces.errors import ResourceError
from tests.unit.search.latency.figures import told
from tests.unit.trainables.costs.subjects import SMALL, subject_of
from trainables.costs.latency import Latency
from trainables.costs.subject import Subject
from trainables.costs.target import Target

SUBJECT = subject_of(SMALL, "retrieval")


class Nodes:
    """A cluster that puts each piece of work on the next of its nodes; the last one takes all that follows.

    Attributes:
        measured: on which device each subject was measured.
    """

    def __init__(self, *devices: str) -> None:
        self.left, self.measured = list(devices), list[str]()

    def run(
        self, function: Any, target: Target, folder: Path, subjects: Sequence[Subject], device: str
    ) -> list[Latency] | str:
        here = self.left.pop(0) if len(self.left) > 1 else self.left[0]

        def measure(target: Target, folder: Path, subjects: Sequence[Subject], *, say: Any) -> list[Latency]:
            self.measured += [here] * len(subjects)
            return [told(1.0, device=here) for _ in subjects]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(alike, "device_name", lambda device: here)
            patch.setattr(alike, "measured", measure)
            found: list[Latency] | str = function(target, folder, subjects, device, say=print)
        return found


def measuring(
    nodes: Nodes, said: list[str], *, device: str = "", clock: Callable[[], float] = lambda: 0.0
) -> Alike:
    return Alike(nodes.run, Target(), Path("table"), say=said.append, device=device, clock=clock)


def test_all_is_measured_on_the_kind_on_which_it_began() -> None:
    nodes, said = Nodes("fast", "slow", "slow", "fast", "slow", "fast"), list[str]()
    measure = measuring(nodes, said)
    for _ in range(3):
        assert [one.device for one in measure([SUBJECT])] == ["fast"]
    assert nodes.measured == ["fast"] * 3
    assert said == []


def test_where_no_such_node_is_free_another_one_measures_and_that_is_told_once() -> None:
    nodes, said = Nodes("fast", "slow"), list[str]()
    measure = measuring(nodes, said)
    measure([SUBJECT])
    for _ in range(2):
        assert [one.device for one in measure([SUBJECT, SUBJECT])] == ["slow", "slow"]
    (line,) = said
    assert line.startswith(
        "WARNING: latency of some candidates is measured on slow, of others on fast, of which"
    )


def test_looking_for_a_node_ends_after_so_many_tries_or_so_long() -> None:
    asked, now = list[str](), [0.0]

    def run(function: Any, target: Target, folder: Path, subjects: Any, device: str) -> list[Latency] | str:
        asked.append(device)
        now[0] += 0.0 if limit == TRIES else TRYING_S / 2
        return "slow" if device else [told(1.0, device="slow")]

    for limit in (TRIES, 3):
        asked.clear()
        now[0] = 0.0
        Alike(run, Target(), Path(), say=print, device="fast", clock=lambda: now[0])([SUBJECT])
        assert asked == ["fast"] * (limit - 1) + [""]


def test_a_resume_without_the_kind_of_before_takes_another_and_stays_with_it() -> None:
    """That it differs from the one of before is told by whoever reads the run."""
    nodes, said = Nodes(*["slow"] * TRIES, "old", "slow"), list[str]()
    measure = measuring(nodes, said, device="gone")
    measure([SUBJECT])
    measure([SUBJECT])
    assert nodes.measured == ["slow", "slow"]
    assert said == []


def test_a_target_that_a_node_lacks_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"latency\.threads: got 4096"):
        measured_alike(Target(threads=4096), tmp_path, [SUBJECT], "any", say=print)
