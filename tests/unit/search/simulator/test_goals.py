"""Objectives as the command line names them."""

import pytest

from search.simulator.goals import Goal, directions, parse_goals, quality
from spaces.errors import TableError


def test_a_goal_is_a_direction_a_column_and_perhaps_a_logarithm() -> None:
    goals = parse_goals(["max:retention", "min:params[log]"])
    assert goals == (Goal("retention", "max"), Goal("params", "min", log=True))
    assert [str(goal) for goal in goals] == ["max:retention", "min:params[log]"]
    assert directions(goals) == {"retention": "max", "params": "min"}


def test_a_column_may_have_a_colon_or_brackets_in_its_name() -> None:
    assert parse_goals(["min:loss:val"])[0].name == "loss:val"
    assert parse_goals(["min:loss[val]"])[0] == Goal("loss[val]", "min")


def test_quality_is_the_first_to_maximise_else_the_first_that_is_no_cost() -> None:
    assert quality(parse_goals(["min:params", "min:val_loss", "max:accuracy"])) == "accuracy"
    assert quality(parse_goals(["min:params", "min:val_loss"])) == "val_loss"


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["val_loss"], "got 'val_loss'; allowed: min:COLUMN or max:COLUMN"),
        (["least:val_loss"], "got 'least:val_loss'"),
        (["min:"], "got 'min:'"),
        (["min:[log]"], "got 'min:[log]'"),
        (["min:a", "max:a"], "got 'a' twice"),
        (["min:params", "min:latency_ms"], "at least one that is no cost"),
        ([], "got none"),
    ],
)
def test_anything_else_is_told(texts: list[str], said: str) -> None:
    with pytest.raises(TableError, match="--objectives") as told:
        parse_goals(texts)
    assert said in str(told.value)
