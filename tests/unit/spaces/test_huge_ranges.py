"""Ranges of millions and more are nowhere listed: what is made of a space hangs on what is written, not on what it spans."""

import random
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from search.inputs.plugin_checks import plugin_problems
from search.searchers import SEARCHERS
from search.searchers.base import Outcome
from search.searchers.points import PointSource, every_point, size
from spaces.checks import points
from spaces.load import dump_space, load_space
from spaces.plugins import resolve
from spaces.schema import Space
from tests.unit.spaces.toy import ToyPlugins

Load = Callable[..., Space]
MOST = 8 * 2**20  # bytes; a list of three million whole numbers has 24 MB for its pointers alone
HUGE = [
    "training.warmup_steps={int: [1, 3000000], default: 50}",
    "training.accumulate={int: [1, 900000000], default: 1}",
    "training.pairs_per_epoch={int: [64, 100000000], default: 2000}",
    "training.fused_every={int: [1, 1000000000], default: 1, when: {training.accumulate: {not: [1, 2, 3]}}}",
    "student.text.depth={int: [1, 3000000], default: 3}",
    "student.fusion.layers={int: [1, 3000000], default: 2}",
    "search.start=[{}, {training.warmup_steps: 2999999}, {student.text.depth: 3000000}]",
]


@pytest.fixture
def peak() -> Callable[[Callable[[], object]], int]:
    """Return a function that returns the bytes that a call held at most."""

    def function(call: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            call()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return function


def test_to_load_check_and_write_a_space_lists_no_range(
    load: Load, toy: ToyPlugins, costs, peak, tmp_path: Path
) -> None:
    def work() -> None:
        space = load(overrides=HUGE)
        space.check(toy, costs)
        (tmp_path / "again.yaml").write_text(dump_space(space))
        assert load_space(tmp_path / "again.yaml") == space
        assert space.start_values()[2]["student.text.depth"] == 3_000_000
        assert not space.start_problems()
        assert not space.when_problems()
        assert space.roundings(toy) == []
        rng = random.Random(0)
        for _ in range(50):
            values = {path: one.sample(rng) for path, one in space.domains().items()}
            space.build({**values, "student.fusion.layers": 1}, toy, 0)

    work()  # what is made once for all is not counted
    assert peak(work) < MOST


def test_the_checks_of_plugins_look_at_the_corners_only(load: Load, peak) -> None:
    space = load(overrides=HUGE)
    plugin_problems(space)
    assert peak(lambda: plugin_problems(space)) < MOST


def test_few_students_of_a_huge_range_are_tried(load: Load) -> None:
    space = load(overrides=HUGE)
    tried = list(
        points(space.domains(), space.conditions(), fixed={"student.kind": "blip", "teacher": "embedded"})
    )
    assert len(tried) < 1000
    depths = {one["student.text.depth"] for one in tried}
    assert {1, 3, 3_000_000} <= depths  # both corners, and the default


def test_a_huge_space_is_not_swept_to_its_last_point(load: Load, peak) -> None:
    space = load(overrides=HUGE)
    domains, conditions = space.domains(), space.conditions()
    assert size(domains, conditions) is None
    assert peak(lambda: size(domains, conditions)) < MOST
    assert peak(lambda: list(islice(every_point(domains, conditions), 100))) < MOST


@pytest.mark.parametrize("name", ["random", "evolution", "hyperopt"])
def test_no_searcher_lists_a_range(load: Load, peak, name: str) -> None:
    space, kind = load(overrides=HUGE), resolve(SEARCHERS, name)
    objectives = {"retention": "max", "params": "min"}

    def work() -> None:
        options = {"startup": 4} if name == "hyperopt" else {"population": 4} if name == "evolution" else {}
        proposer = kind(
            kind.Config(**options),
            space.domains(),
            conditions=space.conditions(),
            seed=0,
            objectives=objectives,
        )
        source = PointSource(proposer)
        for index in range(10):
            values = source.take(index)
            assert all(domain.contains(values[path]) for path, domain in space.domains().items())
            outcome = Outcome(
                state="measured", rows=[{"status": "finished", "retention": 50.0 + index, "params": 100.0}]
            )
            proposer.observe(index, values, outcome)
            source.note(known=index > 5)
        assert not source.exhausted

    work()
    assert peak(work) < MOST
