"""The rank of points under several objectives, against brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.schedulers.rank import farthest_first, rank_of

# the machine may have other work
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SMALL = st.integers(0, 4).map(float)  # few values: many ties
POINTS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(SMALL, min_size=width, max_size=width), min_size=1, max_size=14)
)


def rank_points(points: list[list[float]]) -> list[int]:
    return [rank_of(points, index) for index in range(len(points))]


def dominates(a: list[float], b: list[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


def brute_fronts(points: list[list[float]]) -> list[int]:
    """Peel fronts off one by one."""
    left, fronts, number = set(range(len(points))), [0] * len(points), 0
    while left:
        front = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        for i in front:
            fronts[i] = number
        left -= front
        number += 1
    return fronts


@PATIENT
@given(POINTS)
def test_a_point_is_ranked_behind_all_that_dominate_it(points: list[list[float]]) -> None:
    ranks = rank_points(points)
    for a, b in itertools.permutations(range(len(points)), 2):
        if dominates(points[a], points[b]):
            assert ranks[a] < ranks[b]
    for i in range(len(points)):
        assert ranks[i] >= sum(dominates(other, points[i]) for other in points)


@PATIENT
@given(POINTS)
def test_whole_fronts_follow_one_another(points: list[list[float]]) -> None:
    ranks, fronts = rank_points(points), brute_fronts(points)
    for a, b in itertools.permutations(range(len(points)), 2):
        if fronts[a] < fronts[b]:
            assert ranks[a] < ranks[b]


@PATIENT
@given(POINTS)
def test_rank_counts_the_points_before_and_equal_points_share_it(points: list[list[float]]) -> None:
    ranks = rank_points(points)
    assert all(ranks[i] == sum(other < ranks[i] for other in ranks) for i in range(len(points)))
    for a, b in itertools.combinations(range(len(points)), 2):
        assert (ranks[a] == ranks[b]) == (points[a] == points[b])


@PATIENT
@given(POINTS, st.randoms(use_true_random=False))
def test_rank_does_not_depend_on_the_order_of_arrival(points: list[list[float]], rng) -> None:
    order = list(range(len(points)))
    rng.shuffle(order)
    shuffled = rank_points([points[i] for i in order])
    assert [shuffled[order.index(i)] for i in range(len(points))] == rank_points(points)


@PATIENT
@given(POINTS)
def test_a_newcomer_that_dominates_all_is_first(points: list[list[float]]) -> None:
    newcomer = [min(column) - 1 for column in zip(*points, strict=True)]
    assert rank_points([*points, newcomer])[-1] == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), min_size=1, max_size=9))
def test_scaling_an_objective_by_a_power_of_two_changes_nothing(points: list[list[float]]) -> None:
    scaled = [[a * 1024, b] for a, b in points]
    assert rank_points(scaled) == rank_points(points)


def test_points_that_are_not_finite_stand_last() -> None:
    points = [[math.nan, 0.0], [5.0, 5.0], [0.0, math.inf], [1.0, 1.0]]
    assert rank_points(points) == [2, 1, 2, 0]
    assert rank_points([[math.nan]]) == [0]


def test_one_objective_is_a_plain_order_with_shared_places() -> None:
    assert rank_points([[3.0], [1.0], [2.0], [1.0]]) == [3, 0, 2, 0]


def test_farthest_first_takes_the_ends_before_the_crowd() -> None:
    # scaled sums: 1.0, 0.88, 1.0, 0.89; from (.44, .44) both ends are equally far, the earlier row wins
    front = np.array([[0.0, 10.0], [4.4, 4.4], [10.0, 0.0], [4.5, 4.39]])
    assert farthest_first(front).tolist() == [1, 0, 2, 3]


def test_equal_objectives_do_not_divide_by_zero() -> None:
    assert farthest_first(np.array([[1.0, 7.0], [1.0, 7.0]])).tolist() == [0, 1]


def test_the_order_ends_where_it_is_told_to() -> None:
    front = np.array([[0.0, 10.0], [4.4, 4.4], [10.0, 0.0], [4.5, 4.39]])
    assert [farthest_first(front, until=index).tolist() for index in range(4)] == [
        [1, 0],
        [1],
        [1, 0, 2],
        [1, 0, 2, 3],
    ]


def test_rounding_errors_of_a_unit_decide_no_tie() -> None:
    # scaled, the inner points are symmetric: both are 1/3 from an end. In tenths 0.3 - 0.2 > 0.2 - 0.1.
    front = np.array([[0.0, 0.3], [0.1, 0.2], [0.2, 0.1], [0.3, 0.0]])
    assert farthest_first(front).tolist() == farthest_first(front * 10).tolist() == [0, 3, 1, 2]


def test_costs_are_spread_by_their_ratios() -> None:
    # log10 of the first column: 0, 1, 3, 4; scaled sums 1, .92, .92, 1; then the middle ones are .25 from an end
    front = np.array([[1.0, 12.0], [10.0, 8.0], [1e3, 2.0], [1e4, 0.0]])
    assert farthest_first(front, ratios=[0]).tolist() == [1, 3, 0, 2]
    # plain differences: scaled sums 1, .67, .27, 1, and the second is nobody's farthest
    assert farthest_first(front).tolist() == [2, 3, 0, 1]
    assert farthest_first(front * [1e6, 1], ratios=[0]).tolist() == [1, 3, 0, 2]


def test_a_cost_of_zero_has_no_ratio_and_is_taken_as_it_is() -> None:
    front = np.array([[0.0, 10.0], [4.4, 4.4], [10.0, 0.0], [4.5, 4.39]])
    assert farthest_first(front, ratios=[0, 1]).tolist() == farthest_first(front).tolist()


@pytest.mark.parametrize("size", [3, 10, 31])
def test_a_front_is_ordered_as_by_the_definition(size: int) -> None:
    rng = np.random.default_rng(size)
    x = rng.random(size)
    front = np.column_stack([x, 1 - x**2])
    scaled = (front - front.min(0)) / (front.max(0) - front.min(0))
    expected = [min(range(size), key=lambda i: scaled[i].sum())]
    while len(expected) < size:
        rest = [i for i in range(size) if i not in expected]
        expected.append(max(rest, key=lambda i: min(math.dist(scaled[i], scaled[j]) for j in expected)))
    assert farthest_first(front).tolist() == expected
