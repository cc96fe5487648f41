"""Domains against hand-worked values and against the laws of their distributions."""

import math
import random
from fractions import Fraction

import pytest

from spaces.domains import Choice, Domain, Float, Int, Log, identity, relative

LOG = Log(low=0.01, high=100.0, zero=0.25, default=1.0)
ALL = [
    Choice(options=("0.25x", "0.5x"), default="0.5x"),
    Choice(options=(1, 2, "0.5x"), zero=0.1),
    Int(low=2, high=5),
    Int(low=1, high=3, zero=0.2, default=0),
    Float(low=-1.0, high=0.5),
    LOG,
]


@pytest.mark.parametrize(
    ("value", "factor"),
    [
        ("0.5x", Fraction(1, 2)),
        (".33x", Fraction(33, 100)),
        ("1x", Fraction(1)),
        ("2.x", Fraction(2)),
        ("x", None),
        ("-1x", None),
        ("1e1x", None),
        ("0.5", None),
        (0.5, None),
        (None, None),
    ],
)
def test_relative_values_are_exact_factors(value: object, factor: Fraction | None) -> None:
    assert relative(value) == factor


def test_identity_tells_numbers_from_booleans() -> None:
    assert identity(1) == identity(1.0)
    assert identity("0.5x") == identity("0.50x")
    assert identity(True) != identity(1)
    assert identity("1") != identity(1)


@pytest.mark.parametrize("domain", ALL)
def test_samples_and_corners_lie_inside_and_survive_flattening(domain: Domain) -> None:
    rng = random.Random(0)
    for value in [*(domain.sample(rng) for _ in range(300)), *domain.corners()]:
        assert domain.contains(value)
        assert domain.unflatten("a.b", domain.flatten("a.b", value)) == value


@pytest.mark.parametrize("domain", ALL)
def test_the_same_seed_draws_the_same_values(domain: Domain) -> None:
    first, second = random.Random(7), random.Random(7)
    assert [domain.sample(first) for _ in range(50)] == [domain.sample(second) for _ in range(50)]


def test_log_is_uniform_in_the_logarithm_and_zero_as_often_as_stated() -> None:
    rng = random.Random(1)
    draws = [LOG.sample(rng) for _ in range(8000)]
    positive = [value for value in draws if value != 0]
    assert 1 - len(positive) / 8000 == pytest.approx(0.25, abs=0.02)
    # Four decades: each holds a quarter of the positive draws.
    for decade in range(-2, 2):
        share = sum(10.0**decade <= value < 10.0 ** (decade + 1) for value in positive) / len(positive)
        assert share == pytest.approx(0.25, abs=0.025)


def test_samples_have_four_significant_digits() -> None:
    rng = random.Random(2)
    assert all(
        value == float(f"{value:.3e}") for value in (Log(low=1e-4, high=1e-2).sample(rng) for _ in range(100))
    )


def test_int_reaches_both_ends_and_zero() -> None:
    rng = random.Random(3)
    assert {Int(low=2, high=4, zero=0.3).sample(rng) for _ in range(200)} == {0, 2, 3, 4}


def test_contains_is_strict_about_ends_and_kinds() -> None:
    assert Log(low=0.1, high=1.0).contains(0.1)
    assert not Log(low=0.1, high=1.0).contains(0)
    assert LOG.contains(0)
    assert not Int(low=1, high=3).contains(2.5)
    assert not Int(low=0, high=3).contains(True)
    assert not Int(low=0, high=3).contains("2")
    assert not Float(low=0.0, high=1.0).contains(math.nan)


def test_corners_and_values() -> None:
    assert LOG.corners() == [0.01, 100.0, 0]
    assert Int(low=1, high=4).corners() == [1, 4]
    assert list(Int(low=1, high=4, zero=0.5).values()) == [1, 2, 3, 4, 0]
    assert Choice(options=("a", "b")).corners() == ["a", "b"]


def test_a_domain_with_zero_is_two_flat_labels() -> None:
    assert LOG.flat("losses.itc.weight") == {
        "losses.itc.weight#on": ("choice", {"options": [False, True], "probabilities": [0.25, 0.75]}),
        "losses.itc.weight": ("log", {"low": 0.01, "high": 100.0}),
    }
    assert Int(low=1, high=4).flat("p") == {"p": ("int", {"low": 1, "high": 4})}
    assert Choice(options=(1, 2)).flat("p") == {"p": ("choice", {"options": [1, 2]})}
    assert Float(low=0.0, high=1.0).flat("p") == {"p": ("float", {"low": 0.0, "high": 1.0})}


def test_unflatten_switches_off_and_mends_what_a_searcher_returns() -> None:
    assert LOG.unflatten("w", {"w#on": False, "w": 5.0}) == 0
    assert LOG.unflatten("w", {"w#on": True, "w": 1.23456}) == 1.235
    assert LOG.unflatten("w", {"w#on": 1, "w": 1000.0}) == 100.0
    integer = Int(low=2, high=5).unflatten("n", {"n": 6.0})
    assert integer == 5
    assert type(integer) is int
    assert Choice(options=(1, 2)).unflatten("c", {"c": 2.0}) == 2
    with pytest.raises(ValueError, match="allowed"):
        Choice(options=(1, 2)).settle(3)


def test_flatten_of_an_off_value_keeps_a_legal_number() -> None:
    assert LOG.flatten("w", 0) == {"w#on": False, "w": 0.01}
    assert LOG.flatten("w", 20.0) == {"w#on": True, "w": 20.0}


def test_spec_is_what_a_file_says() -> None:
    assert LOG.spec() == {"log": [0.01, 100.0], "zero": 0.25, "default": 1.0}
    assert Int(low=1, high=3, zero=0.2, default=0).spec() == {"int": [1, 3], "zero": 0.2, "default": 0}
