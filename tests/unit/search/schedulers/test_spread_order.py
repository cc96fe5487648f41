"""An order of a front that is kept from question to question is the one that is made anew, whatever came and went."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.schedulers import growing_rank, spread_order
from search.schedulers.growing_rank import GrowingRank
from search.schedulers.rank import farthest_first, rank_of
from search.schedulers.spread_order import SpreadOrder

RATIOS = [1, 2]
# the machine may have other work
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
Made = Callable[[np.random.Generator, int], np.ndarray]


@pytest.fixture(scope="module", autouse=True)
def small_fronts_are_kept() -> Iterator[None]:
    """Keep the orders of fronts of any size, unless more than a third of them changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growing_rank, "KEPT", 1)
        patch.setattr(spread_order, "FEW", 3)
        yield


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return whether each attempt to bring an order up to date succeeded."""
    told, original = list[bool](), SpreadOrder._follow

    def noted(self: SpreadOrder, *args: np.ndarray) -> bool:
        told.append(original(self, *args))
        return told[-1]

    monkeypatch.setattr(SpreadOrder, "_follow", noted)
    return told


def on_a_curve(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return points of which none dominates another."""
    drawn = rng.exponential(size=(size, 4))
    return drawn / drawn.sum(axis=1, keepdims=True) + 0.5


def on_a_grid(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return such points with many equal distances."""
    drawn = np.unique(np.rint(on_a_curve(rng, size) * 40), axis=0)
    return drawn[rng.permutation(len(drawn))]


def falling(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return points of which the later ones drive out earlier ones."""
    return on_a_curve(rng, size) + np.linspace(0.3, 0, size)[:, None]


def asked_each_time(points: list[list[float]]) -> None:
    growing = GrowingRank(len(points[0]), ratios=RATIOS)
    for size, point in enumerate(points, start=1):
        growing.add(point)
        assert growing.rank(point) == rank_of(points[:size], size - 1, ratios=RATIOS), size
    for index in range(0, len(points), 7):
        assert growing.rank(points[index]) == rank_of(points, index, ratios=RATIOS), index


@pytest.mark.parametrize("make", [lambda rng, size: rng.random((size, 3)), on_a_curve, on_a_grid, falling])
def test_each_newcomer_has_its_plain_rank(make: Made, followed: list[bool]) -> None:
    asked_each_time(make(np.random.default_rng(3), 220).tolist())
    assert sum(followed) > 40


@pytest.mark.parametrize(("moved", "beside"), [(64, 1), (2, 512)])
def test_a_change_that_moves_many_is_ordered_anew(
    moved: int, beside: int, followed: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread_order, "MOVED", moved)
    monkeypatch.setattr(spread_order, "BESIDE", beside)
    asked_each_time(on_a_curve(np.random.default_rng(4), 120).tolist())
    assert {True, False} == set(followed)


# few values: equal distances, equal points, fronts that others drive out
POINTS = st.lists(st.tuples(*[st.integers(0, 9).map(float)] * 4), min_size=2, max_size=40)


@PATIENT
@given(POINTS, st.data())
def test_the_rank_does_not_depend_on_who_was_asked_for_before(points, data) -> None:
    growing = GrowingRank(4, ratios=RATIOS)
    for size, point in enumerate(points, start=1):
        growing.add(point)
        for index in data.draw(st.lists(st.integers(0, size - 1), max_size=2)):
            assert growing.rank(points[index]) == rank_of(points[:size], index, ratios=RATIOS)


@PATIENT
@given(st.integers(0, 2**32 - 1), st.data())
def test_points_that_come_and_go_leave_the_order_of_those_that_are_there(seed, data) -> None:
    columns = np.ascontiguousarray(on_a_curve(np.random.default_rng(seed), 40).T)
    order, there = SpreadOrder(RATIOS), set(range(30))
    for _ in range(6):
        there ^= set(data.draw(st.lists(st.integers(0, 39), max_size=4)))
        front = np.asarray(sorted(there))
        if not len(front):
            continue
        own = data.draw(st.sampled_from(front.tolist()))
        plain = front[farthest_first(columns[:, front].T, ratios=RATIOS)].tolist()
        assert order.ahead(own, front, columns).tolist() == plain[: plain.index(own)]
