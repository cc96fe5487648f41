"""Options of a plug-in against a Config written here."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from spaces.conditions import Condition
from spaces.domains import Choice, Float, Int
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
            "s.yaml:4, losses.itc.temperature: got 0; allowed: above 0. Raise it.",
        ),
        ({"weight": 1.0, "layers": [9]}, "s.yaml:4, losses.itc.layers: got 9; allowed: 0..5. Lower it."),
    ],
)
def test_a_wrong_option_is_one_message(options: dict, message: str) -> None:
    assert check_options(Config, options, place) == [message]


def test_every_corner_of_a_domain_is_tried() -> None:
    options = {"weight": 1.0, "temperature": Float(low=0.0, high=2.0), "reduce": Choice(options=("mean", 3))}
    assert check_options(Config, options, place) == [
        "s.yaml:4, losses.itc.temperature: got 0; allowed: above 0. Raise it.",
        "s.yaml:4, losses.itc.reduce: got 3; allowed: a valid string. Change the value.",
    ]


def test_several_problems_come_at_once_with_the_marks_of_a_space(load: Load) -> None:
    space = load(("itc: {weight: 1.0}", "itc: {weight: 1.0, temprature: 2, soft: 'yes'}"))
    found = check_options(Config, space.losses["itc"].options, space.option_place("losses.itc"))
    assert [line.partition("space.yaml")[2].split(": got")[0] for line in found] == [
        ":10, losses.itc.temprature",
        ":10, losses.itc.soft",
    ]


@dataclass(frozen=True, kw_only=True)
class Side:
    width: int | str
    depth: int = 1

    def __post_init__(self) -> None:
        if self.depth > 9:
            raise ValueError(f"depth: got {self.depth}; allowed: 1..9. Lower it.")


@dataclass(frozen=True, kw_only=True)
class Nested:
    image: Side
    text: Side | None = None
    names: dict[str, float] = field(default_factory=dict)


def student(option: str) -> str:
    return f"s.yaml:4, student.{option}"


def test_sound_nested_options_have_no_problem() -> None:
    wide = Choice(options=("0.5x", 64))
    assert check_options(Nested, {"image": {"width": wide, "depth": 2}, "text": None}, student) == []
    assert check_options(Nested, {"image": {"width": 3}, "names": {"a": 1.5}}, student) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"image": {"width": 3, "dept": 1}},
            "s.yaml:4, student.image.dept: got an unknown option; allowed: width, depth. Did you mean 'depth'?",
        ),
        (
            {"image": {"depth": 1}},
            "s.yaml:4, student.image.width: is missing; allowed: a value for it. Add `width: ...`.",
        ),
        ({}, "s.yaml:4, student.image: is missing; allowed: a value for it. Add `image: ...`."),
        (
            {"image": {"width": 1.5}},
            "s.yaml:4, student.image.width: got 1.5; allowed: a valid integer, or a valid string. Change the value.",
        ),
        (
            {"image": {"width": 3}, "text": {"width": 3, "depth": "two"}},
            "s.yaml:4, student.text.depth: got 'two'; allowed: a valid integer. Change the value.",
        ),
        (
            {"image": 3},
            "s.yaml:4, student.image: got 3; allowed: a mapping with width, depth. Change the value.",
        ),
        (
            {"image": {"width": 3, "depth": {"lgo": [1, 9]}}},
            "s.yaml:4, student.image.depth: got the key 'lgo'; allowed in a domain: exactly one of choice, int, "
            "float, log. Did you mean log?",
        ),
        (
            {"image": {"width": 3, "depth": 10}},
            "s.yaml:4, student.image.depth: got 10; allowed: 1..9. Lower it.",
        ),
        (
            {"image": {"width": 3, "depth": Int(low=1, high=12)}},
            "s.yaml:4, student.image.depth: got 12; allowed: 1..9. Lower it.",
        ),
        (
            {"image": {"width": Choice(options=(1, 2), when=(Condition(path="a", values=(1,)),))}},
            "s.yaml:4, student.image.width: got `when`, but there is no default for where it does not hold; "
            "allowed: a value always. Drop `when`.",
        ),
        (
            {"image": {"width": 3}, "names": {"a": "b"}},
            "s.yaml:4, student.names: got 'b'; allowed: a valid number. Change the value.",
        ),
    ],
)
def test_a_wrong_nested_option_is_one_message(options: dict, message: str) -> None:
    assert check_options(Nested, options, student) == [message]
