"""What no candidate can satisfy: found by trying students, told with the lines of the paths that all of them fail at."""

from collections.abc import Callable
from typing import Any

import pytest

from spaces import checks
from spaces.checks import common_problems, points
from spaces.conditions import Condition
from spaces.domains import Choice, Float, Int
from spaces.errors import IllegalCandidate, SpaceError
from spaces.schema import Space
from tests.unit.spaces.toy import ToyPlugins

Load = Callable[..., Space]
Told = Callable[[Space], list[str]]


@pytest.fixture
def told(tmp_path, toy: ToyPlugins, costs) -> Told:
    """Return a function that checks a space and returns its problems, the folder cut off."""

    def function(space: Space) -> list[str]:
        with pytest.raises(SpaceError) as caught:
            space.check(toy, costs)
        return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return function


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["student.image.width=100", "student.image.heads={choice: [4, 12], default: 12}"],
        ["student.fusion.layers={choice: [1, 4], default: 4}"],
        ["student.text.width=160", "student.text.init={choice: [random, inherit], default: inherit}"],
        ["student.fusion.layers={int: [3, 1000000000000]}"],
    ],
)
def test_a_space_with_one_sound_student_is_sound(load: Load, toy: ToyPlugins, costs, overrides) -> None:
    load(overrides=overrides).check(toy, costs)


def test_what_no_candidate_can_satisfy_is_refused_all_at_once(load: Load, told: Told) -> None:
    space = load(
        ("  fusion: {layers: 2}", "  fusion: {layers: {int: [4, 6]}}"),
        overrides=[
            "student.image.width=100",
            "student.image.heads={choice: [8, 12]}",
            "limits.flops={min: 1x, max: 9}",
        ],
    )
    assert told(space) == [
        "--set student.image.heads={choice: [8, 12]}, student.image.heads: got 8 with width 100; "
        "allowed: divisors. Change it.",
        "space.yaml:8, student.fusion.layers: got 4 with text depth 3; allowed: no more. Lower it.",
        "--set limits.flops={min: 1x, max: 9}, limits.flops: got min 5000 above max 9; allowed: min <= max. "
        "Swap them, or drop one.",
    ]


def test_a_path_that_only_some_combinations_fail_at_is_not_told(load: Load, told: Told) -> None:
    overrides = ["student.text.init={choice: [random, inherit]}", "student.text.width=160"]
    (problem,) = told(load(overrides=[*overrides, "student.fusion.layers=9"]))
    assert "student.fusion.layers: got 9" in problem


def test_students_that_fail_for_different_reasons_are_told_with_the_first(load: Load, told: Told) -> None:
    # Depth 1 is too shallow for 2 layers and has sound heads; depth 3 has heads that do not divide 64.
    heads = "heads: {choice: [5, 7], when: {student.text.depth: 3}}"
    (problem,) = told(load(("depth: 3}", f"depth: {{choice: [1, 3]}}, {heads}}}")))
    assert problem == (
        "space.yaml:4, student: got 6 combinations of values, none of which can be built; the first: "
        "student.fusion.layers: got 2 with text depth 1; allowed: no more. Lower it."
    )


def test_refusals_have_in_common_what_each_of_them_names() -> None:
    separate = [
        IllegalCandidate("a is wrong", [("a", "got 1"), ("a", "got 2")]),
        IllegalCandidate("b is wrong", [("b", "got 2")]),
    ]
    assert common_problems(separate) == [
        ("", "got 2 combinations of values, none of which can be built; the first: a is wrong")
    ]
    assert common_problems(separate[:1]) == [("a", "got 1")]
    assert common_problems([IllegalCandidate("all wrong")]) == [
        ("", "got values of which nothing can be built: all wrong")
    ]


def test_a_kind_that_no_teacher_suits_is_told_under_its_own_name(load: Load, told: Told) -> None:
    kinds = ("kind: blip", "kind: {choice: [blip, head]}\n  blip:\n    image: {heads: 12, width: 100}")
    (problem,) = told(load(kinds))
    assert problem == (
        "space.yaml:7, student.blip.image.heads: with kind blip: got 12 with width 100; "
        "allowed: divisors. Change it."
    )


def test_a_kind_needs_one_teacher_and_a_teacher_one_kind(
    load: Load, toy: ToyPlugins, costs, told: Told
) -> None:
    both = ("teacher: embedded", "teacher: {choice: [embedded, base], default: embedded}")
    load(both, ("kind: blip", "kind: {choice: [blip, head]}")).check(toy, costs)
    (problem,) = told(load(both, ("kind: blip", "kind: head")))
    assert problem == (
        "space.yaml:2, teacher: got 'base', of which no student can be built: student: this teacher has no features "
        "for heads. Take another one. Change that, or drop this teacher."
    )


def test_an_illegal_start_point_is_told_only_in_a_sound_space(load: Load, told: Told) -> None:
    depth = ("depth: 3}", "depth: {choice: [1, 3], default: 3}}")
    start = ("  trials: 8\n", "  trials: 8\n  start: [{student.text.depth: 1}]\n")
    (problem,) = told(load(depth, start))
    assert problem.startswith(
        "space.yaml:19, search.start: start point 1 is no candidate: student.fusion.lay"
    )
    (problem,) = told(load(depth, start, overrides=["student.fusion.layers=9"]))
    assert "got 9" in problem


def test_points_are_all_combinations_or_draws_with_every_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    domains = {"a": Int(low=1, high=3, default=2), "b": Float(low=0.0, high=1.0)}
    few = [(p["a"], p["b"]) for p in points(domains, {}, fixed={"teacher": "t"})]
    assert few == [(2, 0.0), (1, 0.0), (1, 1.0), (2, 1.0), (3, 0.0), (3, 1.0)]
    monkeypatch.setattr(checks, "MOST", 5)
    many = [(p["a"], p["b"]) for p in points(domains, {}, fixed={})]
    assert many[:4] == [(2, 0.0), (1, 0.0), (3, 0.0), (2, 1.0)]
    assert len(many) > 400
    assert many == [(p["a"], p["b"]) for p in points(domains, {}, fixed={})]


def test_what_does_not_count_does_not_multiply_the_points() -> None:
    domains = {"a": Int(low=1, high=3), "b": Choice(options=("x", "y")), "c": Int(low=1, high=900)}
    conditions = {
        "a": (Condition(path="b", values=("x",)),),
        "c": (Condition(path="k", values=("other",)),),
    }
    found = list(points(domains, conditions, fixed={"k": "mine"}))
    assert [{**point, "k": ""} for point in found] == [
        {"k": "", "a": 1, "b": "x"},
        {"k": "", "b": "y"},
        {"k": "", "a": 2, "b": "x"},
        {"k": "", "a": 3, "b": "x"},
    ]


def test_a_part_that_is_sound_only_when_switched_off_is_sound(load: Load, toy: ToyPlugins, costs) -> None:
    heads = "heads: {choice: [5, 7], when: {training.accumulate: 2}}"
    space = load(
        ("text: {width: 64, depth: 3}", f"text: {{width: 64, depth: 3, {heads}}}"),
        ("lr: 1e-3", "lr: 1e-3, accumulate: {choice: [2, 4]}"),
    )
    space.check(toy, costs)


def test_of_a_hopeless_space_too_large_to_enumerate_only_some_students_are_tried(
    load: Load, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def counted(self: ToyPlugins, section: dict[str, Any], teacher: str) -> dict[str, Any]:
        tried.append(section)
        return student(self, section, teacher)

    student = ToyPlugins.student
    monkeypatch.setattr(ToyPlugins, "student", counted)
    wide = "{choice: [0.1x, 0.2x, 0.3x, 0.4x, 0.5x, 0.6x, 0.7x]}"  # to the 4th: 2401 combinations
    overrides = [f"student.{side}.{name}={wide}" for side in ("image", "text") for name in ("width", "depth")]
    (problem,) = told(load(overrides=[*overrides, "student.fusion.layers=9", "student.embedding=1x"]))
    assert "student.fusion.layers: got 9" in problem
    once = 1 + 4 * 7  # before the draws: the first point, and the others that differ from it in one value
    assert 0 < len(tried) <= checks.DRAWS + once < checks.MOST < 7**4
