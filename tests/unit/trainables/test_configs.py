"""From plain options to a plug-in's config: nested ones too, each mistake by its path."""

from dataclasses import dataclass, field

import pytest

from spaces.errors import PluginError
from spaces.rules import Number
from trainables.configs import made_config, plain


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a plug-in."""

    width: int
    ratio: float = 4.0

    def __post_init__(self) -> None:
        if self.width < 1:
            raise PluginError(f"width: got {self.width}; allowed: 1 or more.")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options with a nested part, and a list."""

    left: Side
    right: Side = field(default_factory=lambda: Side(width=3))
    layers: tuple[int, ...] = ()
    made: int = field(default=0, init=False)


def test_nested_options_become_the_configs_they_stand_for() -> None:
    made = made_config(Options, {"left": {"width": 2, "ratio": 0.5}, "layers": [1, 2]})
    assert made == Options(left=Side(width=2, ratio=0.5), layers=(1, 2))
    assert made.right == Side(width=3)
    assert made_config(Options, {"left": Side(width=7)}).left == Side(width=7)


def test_plain_options_are_read_back() -> None:
    made = Options(left=Side(width=2), layers=(5,))
    fields = plain(made)
    assert fields == {
        "left": {"width": 2, "ratio": 4.0},
        "right": {"width": 3, "ratio": 4.0},
        "layers": [5],
        "made": 0,
    }
    del fields["made"]
    assert made_config(Options, fields) == made


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"left": {"width": 1}, "colour": 1},
            r"^student.colour: got an unknown option; allowed: left, right, layers\.",
        ),
        ({"left": {"width": 1}, "made": 1}, r"^student.made: got an unknown option"),
        (
            {"left": {"width": 1, "high": 2}},
            r"^student.left.high: got an unknown option; allowed: width, ratio\.",
        ),
        ({"right": {"width": 1}}, r"^student\.left: the option is missing\."),
        ({"left": {}}, r"^student\.left\.width: the option is missing\."),
        ({"left": {"width": 0}}, r"width: got 0; allowed: 1 or more"),
        ({"left": 3}, r"^student.left: got 3; allowed is a mapping of the options width, ratio\."),
    ],
)
def test_mistakes_are_told_with_their_path(options: dict[str, object], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        made_config(Options, options, "student")


def test_without_a_place_the_path_begins_with_the_option() -> None:
    with pytest.raises(PluginError, match=r"^colour: got an unknown option"):
        made_config(Options, {"colour": 1})
    with pytest.raises(PluginError, match=r"^left: the option is missing"):
        made_config(Options, {})


@dataclass(frozen=True)
class Ruled:
    """Options of plain types, one with a rule."""

    share: float = field(default=0.5, metadata={"rule": Number(low=0, high=1)})
    times: int | None = None
    name: str = "a"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 2}, r"mine\.share: got 2; allowed: a number >= 0 and <= 1"),
        ({"share": True}, r"mine\.share: got true; allowed: a number\. "),
        ({"share": float("nan")}, r"mine\.share: got nan; allowed: a number"),
        ({"times": 1.5}, r"mine\.times: got 1\.5; allowed: a whole number or null"),
        ({"times": False}, r"mine\.times: got false; allowed: a whole number or null"),
        ({"name": None}, r"mine\.name: got null; allowed: a text"),
    ],
)
def test_rules_and_plain_types_of_fields_hold(options: dict[str, object], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        made_config(Ruled, options, "mine")


def test_a_whole_number_is_a_number_and_null_is_kept_where_it_may_stand() -> None:
    made = made_config(Ruled, {"share": 1, "times": None})
    assert (made.share, made.times) == (1.0, None)
