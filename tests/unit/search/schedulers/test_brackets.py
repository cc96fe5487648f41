"""Shares of the brackets, and that a candidate's bracket never changes."""

import pytest

from search.schedulers.brackets import BracketDraw


def draw(brackets: int, *, num_rungs: int = 2, factor: int = 3, seed: int = 0) -> BracketDraw:
    return BracketDraw(brackets, num_rungs=num_rungs, reduction_factor=factor, seed=seed)


def test_shares_are_those_of_hyperband_worked_by_hand() -> None:
    # eta 3, two rungs: 9/3, 3/2 and 1/1 for two, one and no halvings
    assert draw(3).probabilities == pytest.approx((6 / 11, 3 / 11, 2 / 11))
    assert draw(2).probabilities == pytest.approx((2 / 3, 1 / 3))
    assert draw(2, num_rungs=1, factor=2).probabilities == pytest.approx((1 / 2, 1 / 2))
    assert draw(1).probabilities == (1.0,)
    assert draw(1, num_rungs=0).probabilities == (1.0,)


def test_shares_are_proportional_to_the_candidates_per_bracket_of_hyperband() -> None:
    # algorithm 1 with s_max 4 and eta 3, before rounding up: 5 * 81 / 5, 5 * 27 / 4, 5 * 9 / 3, 5 * 3 / 2, 5 * 1 / 1
    weights = [81, 33.75, 15, 7.5, 5]
    expected = [weight / sum(weights) for weight in weights]
    assert draw(5, num_rungs=4).probabilities == pytest.approx(expected)


def test_candidates_fall_into_the_brackets_by_their_shares() -> None:
    num, made = 6000, draw(3, seed=4)
    counts = [0, 0, 0]
    for number in range(num):
        counts[made.bracket(f"{number:08x}")] += 1
    for count, share in zip(counts, made.probabilities, strict=True):
        assert abs(count - num * share) < 4 * (num * share * (1 - share)) ** 0.5


def test_a_bracket_depends_on_seed_and_candidate_only() -> None:
    names = [f"{number:08x}" for number in range(12)]
    one, again = draw(3), draw(3)
    assert [one.bracket(name) for name in names] == [again.bracket(name) for name in reversed(names)][::-1]
    # never to change: a resumed run must find its candidates where they were
    assert "".join(str(one.bracket(name)) for name in names) == "100211001000"
    assert "".join(str(draw(3, seed=1).bracket(name)) for name in names) == "021000212112"


def test_with_one_bracket_everybody_is_in_the_first() -> None:
    assert {draw(1).bracket(str(number)) for number in range(50)} == {0}
