"""Domains that are worked out from the values of a column."""

import pytest

from search.simulator.table import describe, infer_domain
from spaces.domains import Choice, Domain, Float, Int, Log


@pytest.mark.parametrize(
    ("values", "domain", "words"),
    [
        (["relu", "gelu", "relu"], Choice(options=("gelu", "relu")), "choice of 2"),
        ([64, 32, 64, 128], Choice(options=(32, 64, 128)), "choice of 3"),
        ([True, False], Choice(options=(False, True)), "choice of 2"),
        (["0.5x", 64], Choice(options=(64, "0.5x")), "choice of 2"),
        (list(range(5, 30)), Int(low=5, high=29), "int 5 to 29"),
        ([n / 10 for n in range(20)], Float(low=0.0, high=1.9), "float 0 to 1.9"),
        ([1e-4 * 1.5**n for n in range(20)], Log(low=1e-4, high=1e-4 * 1.5**19), "log 0.0001 to 0.2217"),
        (
            [0.0, *(1e-4 * 1.5**n for n in range(20))],
            Float(low=0.0, high=1e-4 * 1.5**19),
            "float 0 to 0.2217",
        ),
        ([*range(20), 0.5], Float(low=0.0, high=19.0), "float 0 to 19"),
        ([*range(20), "none"], Choice(options=(*range(20), "none")), "choice of 21"),
    ],
)
def test_texts_and_few_numbers_are_a_choice_and_many_numbers_a_range(
    values: list, domain: Domain, words: str
) -> None:
    found = infer_domain(values)
    assert found == domain
    assert describe(found) == words
    assert all(found.contains(value) for value in values)
