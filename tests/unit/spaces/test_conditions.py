"""Conditions: which values count at a point, and circles."""

import pytest

from spaces.conditions import Condition, active, circle

ON = Condition(path="w", values=(0,), negated=True)


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        (ON, 0, False),
        (ON, 0.0, False),
        (ON, 0.1, True),
        (Condition(path="w", values=("0.5x", 2)), "0.50x", True),
        (Condition(path="w", values=("0.5x", 2)), 2.0, True),
        (Condition(path="w", values=("0.5x", 2)), "2", False),
        (Condition(path="w", values=(1,)), True, False),
    ],
)
def test_a_condition_holds_for_what_means_the_same(condition: Condition, value, holds: bool) -> None:
    assert condition.holds(value) is holds


def test_what_hangs_on_a_path_that_does_not_count_does_not_count() -> None:
    conditions = {"a": (ON,), "b": (Condition(path="a", values=(1,)),)}
    assert active({"b": 5, "a": 1, "w": 0}, conditions) == {"w": 0}
    assert active({"b": 5, "a": 1, "w": 2}, conditions) == {"b": 5, "a": 1, "w": 2}
    assert active({"b": 5, "a": 3, "w": 2}, conditions) == {"a": 3, "w": 2}
    assert active({"b": 5}, conditions) == {"b": 5}


def test_circles_are_found_wherever_they_begin() -> None:
    on = {path: (Condition(path=target, values=(1,)),) for path, target in ("ab", "bc", "cb", "dd")}
    assert circle(on) == ("b", "c")
    assert circle({"d": on["d"]}) == ("d",)
    assert circle({"a": on["a"], "b": on["b"]}) == ()


@pytest.mark.parametrize(
    ("condition", "spec"),
    [
        (ON, {"not": 0}),
        (Condition(path="w", values=("a",)), "a"),
        (Condition(path="w", values=("a", "b")), ["a", "b"]),
        (Condition(path="w", values=(1, 2), negated=True), {"not": [1, 2]}),
    ],
)
def test_spec_is_what_a_file_says(condition: Condition, spec) -> None:
    assert condition.spec() == spec
