"""Options of a plug-in against a Config written here."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from spaces.domains import Choice, Float
from spaces.errors import ShapeError
from spaces.options import check_options
from spaces.schema import Space

Load = Callable[..., Space]


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    weight: float
    temperature: float = 1.0
    layers: tuple[int, ...] = ()
    reduce: str | None = None
    soft: bool = False

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature: got {self.temperature:g}; allowed: above 0. Raise it.")
        if self.layers == (9,):
            raise ShapeError("layers: got 9; allowed: 0..5. Lower it.")


def place(option: str) -> str:
    return f"s.yaml:4, losses.itc.{option}"


def test_sound_options_have_no_problem() -> None:
    options = {"weight": 1, "layers": [1, 2], "reduce": None, "soft": True, "temperature": 0.5}
    assert check_options(Config, options, place) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"weight": 1.0, "temprature": 2.0},
            "s.yaml:4, losses.itc.temprature: got an unknown option; "
            "allowed: weight, temperature, layers, reduce, soft. Did you mean 'temperature'?",
        ),
        ({}, "s.yaml:4, losses.itc.weight: is missing; allowed: a value for it. Add `weight: ...`."),
        (
            {"weight": "heavy"},
            "s.yaml:4, losses.itc.weight: got 'heavy'; allowed: a valid number. Change the value.",
        ),
        (
            {"weight": 1.0, "soft": 1},
            "s.yaml:4, losses.itc.soft: got 1; allowed: a valid boolean. Change the value.",
        ),
        (
            {"weight": 1.0, "layers": [1, "a"]},
            "s.yaml:4, losses.itc.layers: got 'a'; allowed: a valid integer. Change the value.",
        ),
        (
            {"weight": 1.0, "temperature": 0},
            "s.yaml:4, losses.itc: temperature: got 0; allowed: above 0. Raise it.",
        ),
        ({"weight": 1.0, "layers": [9]}, "s.yaml:4, losses.itc: layers: got 9; allowed: 0..5. Lower it."),
    ],
)
def test_a_wrong_option_is_one_message(options: dict, message: str) -> None:
    assert check_options(Config, options, place) == [message]


def test_every_corner_of_a_domain_is_tried() -> None:
    options = {"weight": 1.0, "temperature": Float(low=0.0, high=2.0), "reduce": Choice(options=("mean", 3))}
    assert check_options(Config, options, place) == [
        "s.yaml:4, losses.itc: temperature: got 0; allowed: above 0. Raise it.",
        "s.yaml:4, losses.itc.reduce: got 3; allowed: a valid string. Change the value.",
    ]


def test_several_problems_come_at_once_with_the_marks_of_a_space(load: Load) -> None:
    space = load(("itc: {weight: 1.0}", "itc: {weight: 1.0, temprature: 2, soft: 'yes'}"))
    found = check_options(Config, space.losses["itc"].options, space.option_place("losses.itc"))
    assert [line.partition("space.yaml")[2].split(": got")[0] for line in found] == [
        ":10, losses.itc.temprature",
        ":10, losses.itc.soft",
    ]
