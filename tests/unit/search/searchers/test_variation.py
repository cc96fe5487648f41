"""Crossover and mutation: what a child may look like."""

import math
import random
from collections import Counter

import pytest

from search.searchers.variation import changed, crossed, mutated
from spaces.domains import Choice, Domain, Float, Int, Log


def test_a_child_has_each_value_of_either_parent_equally_often() -> None:
    mother, father = {"a": 1, "b": 2, "c": 3}, {"a": -1, "b": -2, "c": -3}
    children = [crossed(mother, father, random.Random(number)) for number in range(400)]
    assert all(abs(value) == abs(mother[path]) for child in children for path, value in child.items())
    assert len({tuple(child.values()) for child in children}) == 8
    assert sum(child["b"] == 2 for child in children) == pytest.approx(200, abs=40)


def test_a_choice_becomes_another_option_each_equally_likely() -> None:
    domain, rng = Choice(options=("0.25x", "0.5x", "1x")), random.Random(0)
    found = Counter(changed(domain, "0.50x", rng, step=0.2) for _ in range(600))
    assert found.keys() == {"0.25x", "1x"}
    assert found["1x"] == pytest.approx(300, abs=50)
    assert changed(Choice(options=("only",)), "only", rng, step=0.2) == "only"


@pytest.mark.parametrize("value", [1, 4, 8])
def test_a_whole_number_always_moves_and_stays_inside(value: int) -> None:
    domain, rng = Int(low=1, high=8), random.Random(0)
    found = {changed(domain, value, rng, step=0.01) for _ in range(200)}
    assert found == {one for one in (value - 1, value + 1) if 1 <= one <= 8}
    assert all(isinstance(one, int) for one in found)
    assert {changed(domain, value, rng, step=1.0) for _ in range(500)} == set(range(1, 9)) - {value}


def test_a_float_moves_by_a_gaussian_of_its_range() -> None:
    domain, rng = Float(low=-10, high=30), random.Random(0)
    moves = [changed(domain, 10.0, rng, step=0.1) - 10.0 for _ in range(2000)]
    assert sum(moves) / 2000 == pytest.approx(0, abs=0.4)
    assert math.sqrt(sum(move**2 for move in moves) / 2000) == pytest.approx(4.0, rel=0.1)


def test_a_log_moves_by_a_gaussian_of_its_logarithm() -> None:
    domain, rng = Log(low=1e-4, high=1.0), random.Random(0)
    moves = [math.log10(changed(domain, 1e-2, rng, step=0.1)) + 2 for _ in range(2000)]
    assert sum(moves) / 2000 == pytest.approx(0, abs=0.04)
    assert math.sqrt(sum(move**2 for move in moves) / 2000) == pytest.approx(0.4, rel=0.1)


@pytest.mark.parametrize("domain", [Float(low=0, high=1), Log(low=0.1, high=9.0), Int(low=0, high=3)])
def test_a_large_step_is_clipped_to_the_range(domain: Domain) -> None:
    rng = random.Random(0)
    found = [changed(domain, domain.bounds()[1], rng, step=1.0) for _ in range(300)]
    assert all(domain.contains(value) for value in found)
    assert {domain.bounds()[0], domain.bounds()[1]} & set(found)


@pytest.mark.parametrize("value", [0, 5.0])
def test_a_zero_is_drawn_anew_with_its_own_probability(value: float) -> None:
    domain, rng = Log(low=1, high=10, zero=0.7), random.Random(0)
    found = [changed(domain, value, rng, step=0.2) for _ in range(1000)]
    assert found.count(0) == pytest.approx(700, abs=50)
    assert all(domain.contains(one) for one in found)


def test_as_many_values_change_as_the_rate_says() -> None:
    domains = {f"p{number}": Choice(options=(0, 1)) for number in range(10)}
    point = dict.fromkeys(domains, 0)
    children = [mutated(point, domains, random.Random(n), rate=0.2, step=0.2) for n in range(500)]
    assert sum(sum(child.values()) for child in children) / 500 == pytest.approx(2.0, abs=0.2)
