"""Numbers read as a person would write them."""

import math

import pytest

from analysis import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (148_000, "148 k"),
        (3_321_000, "3.32 M"),
        (1.5e9, "1.50 G"),
        (2e12, "2.00 T"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (999_600_000, "1.00 G"),
        (999.4, "999"),
        (999.7, "1.00 k"),
        (math.nan, "–"),
    ],
)
def test_counts_have_three_digits(value: float, text: str) -> None:
    assert wording.count(value) == text.replace(" ", wording.SPACE)


def test_times_carry_their_spread() -> None:
    assert wording.milliseconds(2.041, 0.05) == "2.04 ± 0.05 ms"
    assert wording.milliseconds(2.041) == "2.04 ms"
    assert wording.milliseconds(math.nan) == "–"


def test_time_spans_keep_their_width() -> None:
    assert [wording.duration(value) for value in (0.4, 59.4, 61, 3599, 7625)] == [
        "0 s",
        "59 s",
        "1 min 01 s",
        "59 min 59 s",
        "2 h 07 min",
    ]
    assert wording.duration(math.nan) == "–"


def test_amounts_have_four_digits_and_large_ones_all() -> None:
    assert [wording.amount(value) for value in (0.45678, 12, 1234.5, 2e6)] == [
        "0.4568",
        "12",
        "1,234",
        "2,000,000",
    ]
    assert wording.amount(math.nan) == "–"


def test_a_terminal_has_plain_blanks() -> None:
    assert wording.on_terminal(wording.cost("params", 3_321_000)) == "3.32 M"


def test_a_configuration_keeps_every_setting() -> None:
    config = {
        "student": {"kind": "blip", "image": {"width": 64, "init": "inherit"}, "fusion": {"layers": 0}},
        "losses": {"itc": {"weight": 1.0}},
        "training": {"lr": 0.0015, "betas": [0.9, 0.98]},
        "blind": False,
    }
    assert wording.config_lines(config) == [
        ("student", "kind blip"),
        ("student image", "width 64, init inherit"),
        ("student fusion", "layers 0"),
        ("loss itc", "weight 1"),
        ("training", "lr 0.0015, betas 0.9, 0.98"),
        ("blind", "no"),
    ]


def test_an_architecture_is_one_short_line() -> None:
    student = {"image": {"width": 64, "depth": 3}, "text": {"width": 32, "depth": 2}}
    assert wording.architecture({"student": student | {"fusion": {"layers": 2, "placement": "last"}}}) == (
        "image 64×3, text 32×2, fusion 2 last"
    )
    assert wording.architecture({"student": student | {"fusion": {"layers": 0}}}).endswith("no fusion")
    assert wording.architecture({}) == ""
