"""What a multi-objective scheduler promises, for any record: verdicts against brute force and the plain rank."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.schedulers.growing_rank import GrowingRank
from search.schedulers.moasha import MOAsha
from search.schedulers.rank import rank_of
from search.schedulers.rung_config import RungConfig

WAYS = {"retention": "max", "params": "min", "latency_ms": "min"}
STOP, CONTINUE = "stop", "continue"
Vector = tuple[float, ...]
# the machine may have other work
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# few values: many ties, many equal vectors, chains of dominators
VECTORS = st.tuples(*[st.integers(1, 6).map(float)] * 3)
RECORDS = st.lists(VECTORS, min_size=1, max_size=14)
FACTORS = st.integers(2, 4)
UNUSABLE = st.sampled_from([math.nan, math.inf, -math.inf])


def scheduler(factor: int, ways: dict[str, str] = WAYS, *, quota: bool = False) -> MOAsha:
    return MOAsha(RungConfig(rungs=(1, 3), reduction_factor=factor, quota=quota), ways, folder=None)


def row(vector: Vector, ways: dict[str, str] = WAYS, epoch: int = 1) -> dict[str, object]:
    return {"epoch": epoch, **dict(zip(ways, vector, strict=True))}


def all_verdicts(
    vectors: list[Vector], factor: int, ways: dict[str, str] = WAYS, *, quota: bool = False
) -> list[str]:
    """Return the verdict on each of the vectors, those before it recorded."""
    judge = scheduler(factor, ways, quota=quota)
    return [judge.judge(f"c{number}", row(one, ways)).verdict for number, one in enumerate(vectors)]


def last_verdict(vectors: list[Vector], factor: int, ways: dict[str, str] = WAYS) -> str:
    """Return the verdict on the last of the vectors, the others recorded before it."""
    return all_verdicts(vectors, factor, ways)[-1]


def as_costs(vector: Vector) -> Vector:
    """Return the vector with the retention turned, so that all is to be minimised."""
    return (-vector[0], *vector[1:])


def dominates(a: Vector, b: Vector) -> bool:
    return all(x <= y for x, y in zip(as_costs(a), as_costs(b), strict=True)) and a != b


@PATIENT
@given(RECORDS, FACTORS, st.lists(UNUSABLE, max_size=3))
def test_who_dominates_every_recorded_one_is_never_stopped(record, factor, unusable) -> None:
    retention, params, latency = zip(*record, strict=True)
    newcomer = (max(retention), min(params), min(latency) - 1)
    broken = [(value, 0.0, 0.0) for value in unusable]
    assert all(dominates(newcomer, one) for one in record)
    assert last_verdict([*record, *broken, newcomer], factor) == CONTINUE


@PATIENT
@given(RECORDS, FACTORS, st.data())
def test_who_is_dominated_by_the_share_that_may_go_on_is_always_stopped(record, factor, data) -> None:
    dominators = data.draw(st.lists(st.sampled_from(record), min_size=1))
    retention, params, latency = zip(*dominators, strict=True)
    newcomer = (min(retention), max(params), max(latency) + 1)
    size = len(record) + 1
    num = sum(dominates(one, newcomer) for one in record)
    if size >= factor and num >= math.ceil(size / factor):
        assert last_verdict([*record, newcomer], factor) == STOP
    if size < factor:
        assert last_verdict([*record, newcomer], factor) == CONTINUE


def test_a_share_of_one_minus_one_over_the_factor_is_enough_when_the_newcomer_counts() -> None:
    for factor, size in itertools.product((2, 3, 4, 5), range(2, 200)):
        num = math.ceil((1 - 1 / factor) * size - 1e-9)
        assert num >= math.ceil(size / factor), (factor, size)
    # of the others alone that share would not be enough: one of two dominates, and two of three go on
    assert last_verdict([(3.0, 3.0, 1.0), (0.0, 9.0, 9.0), (3.0, 3.0, 2.0)], 2) == CONTINUE


@PATIENT
@given(RECORDS, FACTORS, st.lists(UNUSABLE, max_size=2))
def test_under_a_quota_no_more_than_the_best_share_go_on_but_those_that_nobody_dominates(
    record, factor, unusable
) -> None:
    vectors = [*((value, 0.0, 0.0) for value in unusable), *record]
    found = all_verdicts(vectors, factor, quota=True)
    for number in range(len(unusable), len(vectors)):
        before, own = vectors[len(unusable) : number], vectors[number]
        full = found[:number].count(CONTINUE) >= math.ceil((number + 1) / factor)
        out = full and any(dominates(one, own) for one in before) and number + 1 >= factor
        alone = last_verdict(vectors[: number + 1], factor)
        assert found[number] == (STOP if out else alone), number


def test_a_search_that_learns_trains_its_share_to_the_end_under_a_quota_only() -> None:
    # every fourth is worse than the one before it and better than all earlier ones; two of four equal the best
    qualities = [3 * (number // 4) + (0, 2, 1, 2)[number % 4] for number in range(80)]
    record = [(float(quality), 5.0, 5.0) for quality in qualities]
    assert all_verdicts(record, 2).count(CONTINUE) == 80
    assert all_verdicts(record, 2, quota=True).count(CONTINUE) == 60


@PATIENT
@given(RECORDS, VECTORS, FACTORS, st.randoms(use_true_random=False))
def test_the_verdict_does_not_depend_on_the_order_of_the_record(record, newcomer, factor, rng) -> None:
    shuffled = rng.sample(record, len(record))
    assert last_verdict([*shuffled, newcomer], factor) == last_verdict([*record, newcomer], factor)


@PATIENT
@given(RECORDS, VECTORS, FACTORS, st.integers(0, 2), st.integers(1, 1000), st.integers(-1000, 1000))
def test_the_verdict_does_not_depend_on_the_scale_of_an_objective_nor_on_the_zero_of_a_metric(
    record, newcomer, factor, column, scale, shift
) -> None:
    def moved(vector: Vector) -> Vector:
        added = shift if column == 0 else 0  # of a cost the ratios count
        return tuple(v * scale + added if place == column else v for place, v in enumerate(vector))

    vectors = [*record, newcomer]
    assert last_verdict([moved(one) for one in vectors], factor) == last_verdict(vectors, factor)


@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 0.0), (0.7, 0.1), (1e6, 0.3), (1 / 3, -2 / 7)])
def test_another_unit_changes_no_verdict_by_its_rounding_error(scale: float, shift: float) -> None:
    rng = random.Random(1)
    for _ in range(150):
        vectors = [tuple(rng.randint(1, 20) / 10 for _ in WAYS) for _ in range(12)]
        moved = [(a * scale + shift, b * scale, c) for a, b, c in vectors]
        assert last_verdict(moved, 3) == last_verdict(vectors, 3)


@PATIENT
@given(RECORDS, VECTORS, FACTORS)
def test_to_maximise_is_to_minimise_the_negative(record, newcomer, factor) -> None:
    vectors = [*record, newcomer]
    turned = {**WAYS, "retention": "min"}
    found = last_verdict([as_costs(one) for one in vectors], factor, turned)
    assert found == last_verdict(vectors, factor)


@PATIENT
@given(VECTORS, st.integers(1, 30), FACTORS)
def test_of_identical_candidates_all_go_on(vector, num, factor) -> None:
    judge = scheduler(factor)
    assert {judge.judge(f"c{n}", row(vector)).verdict for n in range(num)} == {CONTINUE}


@PATIENT
@given(st.lists(st.sampled_from([(1.0, 1.0, 1.0), (2.0, 2.0, 1.0), (0.0, 3.0, 1.0)]), min_size=1), FACTORS)
def test_with_many_identical_candidates_the_full_share_can_still_go_on(record, factor) -> None:
    points = [as_costs(one) for one in record]
    go_on = math.ceil(len(record) / factor)
    good = [one for number, one in enumerate(record) if rank_of(points, number) < go_on]
    assert len(good) >= go_on
    for one in set(good):  # such a one would go on if it came last
        others = list(record)
        others.remove(one)
        assert last_verdict([*others, one], factor) == CONTINUE


@PATIENT
@given(RECORDS, FACTORS, UNUSABLE, st.integers(0, 2))
def test_a_value_that_is_not_finite_never_goes_on(record, factor, value, column) -> None:
    newcomer = tuple(value if place == column else 0.0 for place in range(3))
    assert last_verdict([*record, newcomer], factor) == STOP
    assert last_verdict([newcomer], factor) == STOP


POINTS = st.integers(1, 5).flatmap(
    lambda width: st.lists(
        st.tuples(*[st.one_of(st.integers(0, 4).map(float), UNUSABLE, st.just(-0.0))] * width),
        min_size=1,
        max_size=20,
    )
)


@PATIENT
@given(POINTS, st.sets(st.integers(0, 4)))
def test_the_growing_rank_is_the_plain_one_for_every_point_at_every_size(
    points: list[Vector], costs: set[int]
) -> None:
    ratios = [column for column in costs if column < len(points[0])]
    growing = GrowingRank(len(points[0]), ratios=ratios)
    for size, point in enumerate(points, start=1):
        growing.add(point)
        assert len(growing) == size
        found = [growing.rank(one) for one in points[:size]]
        assert found == [rank_of(points[:size], index, ratios=ratios) for index in range(size)]


def on_a_curve(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return points of which none dominates another."""
    drawn = rng.exponential(size=(size, 4))
    return drawn / drawn.sum(axis=1, keepdims=True)


def better_and_better(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return points of which each dominates many before it, so that whole fronts move."""
    return rng.random((size, 3)) - np.linspace(0, 2, size)[:, None]


@pytest.mark.parametrize(
    "make",
    [
        lambda rng, size: rng.random((size, 4)),
        lambda rng, size: rng.random((size, 1)),
        lambda rng, size: rng.integers(0, 12, (size, 2)).astype(float),
        on_a_curve,
        better_and_better,
    ],
    ids=["any", "one objective", "ties", "one front", "falling"],
)
def test_the_growing_rank_is_the_plain_one_over_hundreds_of_points(make) -> None:
    points = make(np.random.default_rng(7), 400).tolist()
    growing = GrowingRank(len(points[0]))
    for size, point in enumerate(points, start=1):
        growing.add(point)
        if size % 7 == 0 or size > 390:
            assert growing.rank(point) == rank_of(points[:size], size - 1)
    assert [growing.rank(one) for one in points[::9]] == [rank_of(points, i) for i in range(0, 400, 9)]


def test_the_known_defect_would_be_found() -> None:
    # What some schedulers do: they sort by rank and then take the sorted list of indices for the ranks.
    rng = random.Random(0)
    stopped = {"rank": 0, "order": 0}
    for _ in range(200):
        record = [tuple(rng.random() for _ in range(2)) for _ in range(rng.randint(6, 30))]
        points = [*record, (-1.0, -1.0)]
        ranks = [rank_of(points, index) for index in range(len(points))]
        order = sorted(range(len(points)), key=ranks.__getitem__)
        go_on = math.ceil(len(points) / 3)
        stopped["rank"] += ranks[-1] >= go_on
        stopped["order"] += order[-1] >= go_on
    assert stopped["rank"] == 0
    assert stopped["order"] > 60
