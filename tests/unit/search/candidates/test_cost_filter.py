"""Limits at admission: each of the four costs, both bounds, and what is measured of a candidate that breaks one."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from search.candidates.cost_filter import CostFilter, Limits
from search.inputs.students import Students
from search.latency.latencies import Latencies
from search.proposal import Admitted, Rejected, Waiting
from spaces.candidate import Candidate
from tests.unit.search.latency.figures import Slow, of_size
from tests.unit.trainables.small import silent, small_config, write_teacher
from trainables.costs.static import measure_static
from trainables.costs.store import CostStore
from trainables.costs.subject import Subject
from trainables.costs.target import Target
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import EncoderConfig
from trainables.tasks import DEFAULT
from trainables.tasks.base import servings_of
from trainables.tasks.evaluation import make_tasks
from trainables.teachers.loading import load_teacher
from trainables.tokenizer_files import FILES

COSTS = ("params", "flops", "latency_ms", "size_mib")


def student(width: int = 16) -> Candidate:
    encoder = {"width": width, "depth": 1, "heads": 2, "mlp_ratio": 4.0, "init": "random"}
    fusion = {"layers": 1, "placement": "last"}
    sizes = {"kind": "blip", "image": encoder, "text": encoder, "fusion": fusion, "embedding": 16}
    return Candidate("0badcafe", {"student": sizes, "blind": False}, 0)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small teacher."""
    return write_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def students(teacher: Path) -> Students:
    """Return the students of that teacher, deployed for the default tasks."""
    tasks = make_tasks({name: {} for name in DEFAULT})
    return Students(tasks, {str(teacher): load_teacher(str(teacher))}, allow_partial=False)


Make = Callable[[Limits], CostFilter]


@pytest.fixture
def make(students: Students, tmp_path: Path) -> Make:
    """Return a function from limits to a filter that knows every latency; what it counts is kept in `tmp_path`."""
    latencies = Latencies()
    latencies.open(Target(), Slow(), table=of_size)
    return lambda limits: CostFilter(students, lambda: limits, CostStore(tmp_path, say=silent), latencies)


@pytest.fixture
def costs(make: Make) -> dict[str, float]:
    """Return the costs of the student where nothing limits them."""
    answer = make({}).admit(student())
    assert isinstance(answer, Admitted)
    return dict(answer.costs)


def test_costs_of_an_admitted_candidate_are_those_of_its_deployed_model(
    costs: dict[str, float], teacher: Path
) -> None:
    side = EncoderConfig(width=16, depth=1, heads=2, mlp_ratio=4.0)
    deployed = small_config(image=side, text=side, fusion=(0,), embedding=16, matching=False)
    blueprint = Blueprint("blip", deployed)  # no task of the space needs the ITM head
    subject = Subject(
        blueprint=blueprint,
        servings=servings_of(make_tasks({name: {} for name in DEFAULT}).values(), blueprint.offers),
        tokenizer_bytes=sum((teacher / name).stat().st_size for name in FILES if (teacher / name).exists()),
    )
    static = measure_static(subject)
    assert (costs["params"], costs["flops"], costs["size_mib"]) == (
        static.params,
        static.flops,
        static.size_mib,
    )
    assert costs["latency_ms"] == costs["head_latency_ms"] == static.params / 1e6
    assert costs["latency_spread_ms"] == costs["latency_ms"] / 10


@pytest.mark.parametrize("name", COSTS)
def test_each_cost_is_limited_from_above_and_from_below(
    name: str, costs: dict[str, float], make: Make
) -> None:
    value = costs[name]
    for low, high in ((None, value), (value, None), (value, value)):
        assert isinstance(make({name: (low, high)}).admit(student()), Admitted)
    for bound, sign in ((0.8 * value, "<="), (1.25 * value, ">=")):
        limits = {name: (None, bound) if sign == "<=" else (bound, None)}
        answer = make(limits).admit(student())
        assert isinstance(answer, Rejected)
        assert answer.limit.startswith(f"{name} {sign} ")
        assert answer.reason.startswith(f"{name} {answer.shown}, limit {sign} ")
        assert answer.excess == pytest.approx(1.25)
        assert answer.costs[name] == value
        assert make(limits).violation(answer.costs) == pytest.approx(math.log(1.25))


@pytest.mark.parametrize(("name", "asked"), [("size_mib", False), ("latency_ms", True)])
def test_latency_is_asked_for_only_where_no_count_breaks_a_limit(
    name: str, asked: bool, students: Students, tmp_path: Path
) -> None:
    latencies, slow = Latencies(), Slow()
    latencies.open(Target(), slow)
    limits: Limits = {name: (None, 1e-6)}
    cost_filter = CostFilter(students, lambda: limits, CostStore(tmp_path, say=silent), latencies)
    answer = cost_filter.admit(student())
    if not asked:
        assert isinstance(answer, Rejected)
        assert not latencies.wait(0.0)
        return
    assert isinstance(answer, Waiting)
    assert answer.limited
    assert set(answer.costs) >= {"params", "flops", "size_mib"}
    assert cost_filter.admit(student()) == answer  # and at once
    slow.go.release()
    assert latencies.wait(60.0)
    assert isinstance(cost_filter.admit(student()), Rejected)
    latencies.close()


def test_violations_of_several_limits_add_up(make: Make) -> None:
    limits = {"params": (None, 100.0), "flops": (50.0, None), "size_mib": (None, 3.0)}
    broken = make(limits).violation({"params": 200.0, "flops": 10.0, "size_mib": 2.0})
    assert broken == pytest.approx(math.log(2) + math.log(5))
    assert make(limits).violation({}) == math.inf


def test_sizes_that_do_not_fit_are_rejected_with_the_reason_and_no_costs(make: Make, tmp_path: Path) -> None:
    answer = make({}).admit(student(width=17))
    assert isinstance(answer, Rejected)
    assert "17" in answer.reason
    assert (dict(answer.costs), answer.limit) == ({}, "")
    assert not list(tmp_path.iterdir())
