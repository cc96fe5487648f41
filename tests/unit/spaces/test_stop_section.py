"""`search.stop`: what may end a search before its number of trials."""

from collections.abc import Callable

import pytest

from spaces.load import Override, dump_space, load_space
from spaces.schema import Space

Load = Callable[..., Space]
Problems = Callable[..., list[str]]

TRIALS = "  trials: 8\n"


def with_stop(text: str) -> tuple[str, str]:
    return TRIALS, f"{TRIALS}  stop: {text}\n"


def test_no_rule_stands_in_a_space_that_names_none(load: Load) -> None:
    stop = load().search.stop
    assert (stop.wall_hours, stop.device_hours, stop.plateau.trials) == (None, None, None)


def test_all_rules_are_read_and_written_back(load: Load, tmp_path) -> None:
    text = "{wall_hours: 2, device_hours: 16, plateau: {trials: 20, gain_percent: 0.5}}"
    space = load(with_stop(text))
    stop = space.search.stop
    assert (stop.wall_hours, stop.device_hours) == (2.0, 16.0)
    assert (stop.plateau.trials, stop.plateau.gain_percent) == (20, 0.5)
    (tmp_path / "again.yaml").write_text(dump_space(space))
    assert load_space(tmp_path / "again.yaml") == space
    assert load_space(tmp_path / "again.yaml", ["search.stop.wall_hours=null"]).search.stop.wall_hours is None


def test_a_flag_makes_the_rules_that_the_file_has_not(load: Load) -> None:
    stop = load(overrides=["search.stop.plateau.trials=20"]).search.stop
    assert (stop.plateau.trials, stop.plateau.gain_percent, stop.wall_hours) == (20, 1.0, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{wall_hours: 0}",
            "19, search.stop.wall_hours: got 0; allowed: a number above 0. Raise it.",
        ),
        (
            "{device_hours: two}",
            "19, search.stop.device_hours: got 'two'; allowed: a number above 0. Write a plain number.",
        ),
        (
            "{wall_hours: {float: [1, 2]}}",
            "19, search.stop.wall_hours: got a domain; allowed: a number above 0. "
            "This field cannot be searched: write one value.",
        ),
        (
            "{plateau: {trials: 0}}",
            "19, search.stop.plateau.trials: got 0; allowed: a whole number >= 1. Raise it.",
        ),
        (
            "{plateau: {trials: 5, gain_percent: -1}}",
            "19, search.stop.plateau.gain_percent: got -1; allowed: a number >= 0. Raise it.",
        ),
        (
            "{plateau: 20}",
            "19, search.stop.plateau: got 20; allowed: a mapping with trials, gain_percent. "
            "Write them indented below it.",
        ),
        (
            "{wall_minutes: 5}",
            "19, search.stop.wall_minutes: got an unknown key; allowed: wall_hours, device_hours, plateau. "
            "Did you mean 'wall_hours'?",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(problems: Problems, text: str, message: str) -> None:
    assert problems(with_stop(text)) == [f"space.yaml:{message}"]


def test_a_mistake_on_the_command_line_is_told_with_its_flag(problems: Problems) -> None:
    flag = Override("--wall-hours -1.0", "search.stop.wall_hours", -1.0)
    assert problems(overrides=[flag]) == [
        "--wall-hours -1.0, search.stop.wall_hours: got -1.0; allowed: a number above 0. Raise it."
    ]
