"""Fronts of hundreds of points: their order by cells is one order, whoever asks, and begins with points from everywhere."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.schedulers import rank
from search.schedulers.growing_rank import GrowingRank
from search.schedulers.rank import ahead, ahead_by_cells, farthest_first, rank_of

RATIOS = [1, 2]
# the machine may have other work
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
Made = Callable[[np.random.Generator, int], np.ndarray]


def on_a_curve(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return points of which none dominates another."""
    drawn = rng.exponential(size=(size, 4))
    return drawn / drawn.sum(axis=1, keepdims=True) + 0.5


def on_a_grid(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return such points with many equal sums."""
    drawn = np.unique(np.rint(on_a_curve(rng, size) * 40), axis=0)
    return drawn[rng.permutation(len(drawn))]


def crowded(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return such points, nine of ten of them in one corner."""
    drawn = rng.exponential(size=(size, 4))
    drawn[size // 10 :] = np.array([1.0, 2.0, 3.0, 2.0]) * rng.uniform(0.99, 1.01, (size - size // 10, 4))
    return drawn / drawn.sum(axis=1, keepdims=True) + 0.5


def order_of(front: np.ndarray) -> list[int]:
    """Return the rows in their order, each asked for alone."""
    places = [len(ahead_by_cells(front, row, ratios=RATIOS)) for row in range(len(front))]
    assert sorted(places) == list(range(len(front)))
    order = np.argsort(places)
    for row, place in enumerate(places):
        assert set(ahead_by_cells(front, row, ratios=RATIOS)) == set(order[:place])
    return [int(row) for row in order]


@pytest.mark.parametrize("make", [on_a_curve, on_a_grid, crowded])
def test_all_rows_stand_in_one_order_whatever_theirs_was(make: Made) -> None:
    front = make(np.random.default_rng(1), 150)
    order = order_of(front)
    shuffled = np.random.default_rng(2).permutation(len(front))
    assert [int(shuffled[row]) for row in order_of(front[shuffled])] == order
    assert order_of(front * [1024.0, 0.25, 8.0, 2.0]) == order


def test_the_order_begins_with_the_smallest_sum_and_goes_on_with_those_that_stand_for_cells() -> None:
    # the third has the smallest sum and stands for the whole and for the left half; of the halves only the last has one of
    # its own. In quarters no two share a cell
    front = np.array([[0.0, 1.0], [0.2, 0.66], [0.3, 0.55], [1.0, 0.0]])
    places = [len(ahead_by_cells(front, row)) for row in range(4)]
    assert (places[2], places[3]) == (0, 1)
    assert {places[0], places[1]} == {2, 3}


@pytest.mark.parametrize("make", [on_a_curve, crowded])
def test_nobody_is_far_from_those_that_stand_for_cells_of_a_level(make: Made) -> None:
    front = make(np.random.default_rng(3), 400)
    scaled = rank.Scale.of(front, RATIOS).steps(front).T / rank.STEPS
    order = order_of(front)
    for level in (1, 2, 3):
        cells = np.minimum((scaled * 2**level).astype(int), 2**level - 1)
        number = len(np.unique(cells, axis=0))
        first = scaled[order[:number]]
        nearest = np.linalg.norm(scaled[:, None] - first[None], axis=2).min(axis=1)
        # two corners of a cell of four objectives; a point on a border may be told on its other side
        assert nearest.max() <= math.sqrt(4) / 2**level + 4 / rank.STEPS


def test_a_crowd_waits_for_those_that_stand_alone() -> None:
    front = crowded(np.random.default_rng(4), 400)
    first = set(order_of(front)[:80])
    assert sum(row in first for row in range(40)) >= 38  # of those outside the corner


def test_short_fronts_are_ordered_farthest_first_and_long_ones_by_cells() -> None:
    front = on_a_curve(np.random.default_rng(5), rank.LONG)
    shorter = front[1:]
    assert ahead(shorter, 7).tolist() == farthest_first(shorter, until=7)[:-1].tolist()
    assert ahead(front, 7).tolist() == ahead_by_cells(front, 7).tolist()


# few values: equal sums, equal points, fronts that others drive out
POINTS = st.lists(st.tuples(*[st.integers(0, 9).map(float)] * 4), min_size=2, max_size=40)


@PATIENT
@given(POINTS, st.data())
def test_ranks_in_a_rung_that_grows_are_those_of_all_points_at_once(points, data) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank, "LONG", 3)
        growing = GrowingRank(4, ratios=RATIOS)
        for size, point in enumerate(points, start=1):
            growing.add(point)
            for index in data.draw(st.lists(st.integers(0, size - 1), max_size=2)):
                assert growing.rank(points[index]) == rank_of(points[:size], index, ratios=RATIOS)
