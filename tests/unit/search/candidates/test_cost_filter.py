"""Limits at admission: each of the four costs, both bounds, and what is measured of a candidate that breaks one."""

import math
from pathlib import Path

import pytest

from search.candidates.cost_filter import CostFilter, Limits
from search.inputs.students import Students
from search.proposal import Admitted, Rejected
from spaces.candidate import Candidate
from trainables.costs.static import measure_static
from trainables.costs.store import CostStore
from trainables.families.base import Blueprint
from trainables.preprocess import PreprocessConfig
from trainables.tasks import DEFAULT
from trainables.tasks.base import servings_of
from trainables.tasks.evaluation import make_tasks
from trainables.teachers.embedded import folder_teacher

COSTS = ("params", "flops", "latency_ms", "size_mib")


def student(width: int = 16) -> Candidate:
    encoder = {"width": width, "depth": 1, "heads": 2, "mlp_ratio": 4.0, "init": "random"}
    fusion = {"layers": 1, "placement": "last"}
    sizes = {"kind": "blip", "image": encoder, "text": encoder, "fusion": fusion, "embedding": 16}
    return Candidate("0badcafe", {"student": sizes, "blind": False}, 0)


def make(folder: Path, limits: Limits) -> CostFilter:
    return CostFilter(small_config(), TOKENIZER_BYTES, limits, CostStore(folder, say=silent))


@pytest.fixture
def costs(tmp_path: Path) -> dict[str, float]:
    """Return the costs of the student where nothing limits them."""
    answer = make(tmp_path, {}).admit(student())
    assert isinstance(answer, Admitted)
    return dict(answer.costs)


def test_costs_of_an_admitted_candidate_are_those_of_its_model(costs: dict[str, float]) -> None:
    static = measure_static(student_config(student().config, small_config()), TOKENIZER_BYTES)
    assert (costs["params"], costs["flops"], costs["size_mib"]) == (
        static.params,
        static.flops,
        static.size_mib,
    )
    assert costs["latency_ms"] > 0
    assert costs["latency_spread_ms"] >= 0


@pytest.mark.parametrize("name", COSTS)
def test_each_cost_is_limited_from_above_and_from_below(
    name: str, costs: dict[str, float], tmp_path: Path
) -> None:
    value = costs[name]
    for low, high in ((None, value), (value, None), (value, value)):
        assert isinstance(make(tmp_path, {name: (low, high)}).admit(student()), Admitted)
    for bound, sign in ((0.8 * value, "<="), (1.25 * value, ">=")):
        limits = {name: (None, bound) if sign == "<=" else (bound, None)}
        answer = make(tmp_path, limits).admit(student())
        assert isinstance(answer, Rejected)
        assert answer.limit.startswith(f"{name} {sign} ")
        assert answer.reason.startswith(f"{name} {answer.shown}, limit {sign} ")
        assert answer.excess == pytest.approx(1.25)
        assert answer.costs[name] == value
        assert make(tmp_path, limits).violation(answer.costs) == pytest.approx(math.log(1.25))


@pytest.mark.parametrize(("name", "measured"), [("size_mib", False), ("latency_ms", True)])
def test_latency_is_measured_only_where_no_count_breaks_a_limit(
    name: str, measured: bool, tmp_path: Path
) -> None:
    assert isinstance(make(tmp_path, {name: (None, 1e-6)}).admit(student()), Rejected)
    assert bool(list(tmp_path.glob("latency-*"))) is measured
    assert list(tmp_path.glob("static-*"))


def test_violations_of_several_limits_add_up(tmp_path: Path) -> None:
    limits = {"params": (None, 100.0), "flops": (50.0, None), "size_mib": (None, 3.0)}
    broken = make(tmp_path, limits).violation({"params": 200.0, "flops": 10.0, "size_mib": 2.0})
    assert broken == pytest.approx(math.log(2) + math.log(5))
    assert make(tmp_path, limits).violation({}) == math.inf


def test_sizes_that_do_not_fit_are_rejected_with_the_reason_and_no_costs(tmp_path: Path) -> None:
    answer = make(tmp_path, {}).admit(student(width=17))
    assert isinstance(answer, Rejected)
    assert "17" in answer.reason
    assert (dict(answer.costs), answer.limit) == ({}, "")
    assert not list(tmp_path.iterdir())
