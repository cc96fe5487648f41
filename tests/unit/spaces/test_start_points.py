"""`search.start`: points named in part, completed by the defaults; every mistake with its place."""

import pytest

from spaces.domains import Choice, Float, Int, Log
from spaces.errors import SpaceError
from spaces.load import dump_space, load_space
from spaces.start_points import complete, kept
from tests.unit.spaces.conftest import Load, Problems
from tests.unit.spaces.toy import ToyPlugins

LAST = "  trials: 8\n"
WIDTH, WEIGHT = "student.image.width", "losses.image_embedding.weight"


def start(*points: str) -> tuple[str, str]:
    """Return the change that gives the small space these start points, from line 20 on."""
    return LAST, LAST + "  start:\n" + "".join(f"    - {point}\n" for point in points)


def test_what_is_not_named_takes_its_default(load: Load):
    space = load(start(f"{{{WIDTH}: 0.25x}}", f"{{{WEIGHT}: 2.5}}", "{}"))
    assert space.start_values() == [
        {WIDTH: "0.25x", WEIGHT: 20.0},
        {WIDTH: "0.5x", WEIGHT: 2.5},
        {WIDTH: "0.5x", WEIGHT: 20.0},
    ]
    assert space.start_values()[2] == space.default_values()


def test_nested_and_dotted_paths_mean_the_same(load: Load):
    points = (
        f"{{{WIDTH}: 0.25x, {WEIGHT}: 0}}",
        "{student: {image: {width: 0.25x}}, losses: {image_embedding: {weight: 0}}}",
        "{student.image: {width: 0.25x}, losses: {image_embedding.weight: 0}}",
    )
    values = load(start(*points)).start_values()
    assert values == [{WIDTH: "0.25x", WEIGHT: 0}] * 3


def test_a_space_without_start_points_has_none(load: Load):
    assert load().start_values() == []
    assert load(overrides=["search.start=[]"]).start_values() == []


def test_start_points_survive_the_run_folder(load: Load, tmp_path):
    space = load(start(f"{{{WIDTH}: 0.25x}}", "{student: {image: {width: 0.5x}}}", "{}"))
    (tmp_path / "resolved.yaml").write_text(dump_space(space))
    again = load_space(tmp_path / "resolved.yaml")
    assert again == space
    assert again.start_values() == space.start_values()


def test_the_command_line_gives_them_too(load: Load):
    space = load(overrides=[f"search.start=[{{{WIDTH}: 0.25x}}, {{}}]"])
    assert [values[WIDTH] for values in space.start_values()] == ["0.25x", "0.5x"]


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (
            f"{{{WIDTH}: 0.3x}}",
            f"{WIDTH}: start point 2: got '0.3x'; allowed: one of '0.25x', '0.5x'. Move it inside.",
        ),
        (
            f"{{{WEIGHT}: 61}}",
            f"{WEIGHT}: start point 2: got 61; allowed: a value from 2.0 to 60.0, or 0.",
        ),
        (f"{{{WEIGHT}: null}}", f"{WEIGHT}: start point 2: got null; allowed: a value from"),
        (f"{{{WEIGHT}: true}}", f"{WEIGHT}: start point 2: got true; allowed: a value from"),
        (f"{{{WEIGHT}: [3]}}", f"{WEIGHT}: start point 2: got [3]; allowed: a value from"),
        (
            "{student.image.wdth: 0.5x}",
            f"start point 2: got an unknown path; allowed: searched paths. Did you mean '{WIDTH}'?",
        ),
        (
            "{shoe: 43}",
            f"shoe: start point 2: got an unknown path; allowed: searched paths ({WIDTH}, {WEIGHT}). Delete it.",
        ),
        (
            "{student.text.width: 64}",
            "student.text.width: start point 2: got 64 for a path that is not searched: it is 64 in space.yaml:7; allowed: "
            "searched paths. Drop it here, or write a domain there.",
        ),
        (
            f"{{{WIDTH}: 0.5x, student: {{image: {{width: 0.25x}}}}}}",
            "start point 2: got this path twice; allowed: each",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(point: str, said: str, problems: Problems):
    (told,) = problems(start("{}", point))
    assert told.startswith("space.yaml:21, search.start.")
    assert said in told


def test_a_nested_mistake_is_told_with_its_own_line(problems: Problems):
    point = "student:\n        image:\n          width: 0.3x"
    (told,) = problems(start(point))
    assert told.startswith(f"space.yaml:22, search.start.{WIDTH}: start point 1: got '0.3x'")


def test_all_mistakes_of_all_points_are_told_at_once(problems: Problems):
    told = problems(start(f"{{{WIDTH}: 1, {WEIGHT}: 1}}", "{training.lr: 1}"))
    assert [text.partition(":")[2][:2] for text in told] == ["20", "20", "21"]


def test_a_domain_without_a_default_has_to_be_named(problems: Problems, load: Load):
    no_default = (", default: 20}", "}")
    (told,) = problems(no_default, start(f"{{{WEIGHT}: 3}}", f"{{{WIDTH}: 0.5x}}"))
    assert told == (
        f"space.yaml:21, search.start: start point 2: got no value for {WEIGHT} (space.yaml:12): no default there; allowed: "
        "a value for every searched path without a default. Name it here, or add `default:` there."
    )
    assert load(no_default, start(f"{{{WEIGHT}: 3}}")).start_values() == [{WIDTH: "0.5x", WEIGHT: 3.0}]


@pytest.mark.parametrize("value", ["3", "a", "{student.image.width: 0.5x}", "[3]", "[[]]", "[{}, null]"])
def test_what_is_no_list_of_mappings_is_refused(value: str, problems: Problems):
    (told,) = problems(overrides=[f"search.start={value}"])
    assert told.startswith(f"--set search.start={value}, search.start: got ")
    assert "allowed: a list of mappings, searched path: value." in told


def test_a_mistake_on_the_command_line_names_the_flag(problems: Problems):
    flag = f"search.start=[{{{WIDTH}: 3}}]"
    (told,) = problems(overrides=[flag])
    assert told.startswith(f"--set {flag}, search.start.{WIDTH}: start point 1: got 3; allowed: one of")


def test_a_path_that_an_override_fixes_is_no_longer_searched(problems: Problems):
    (told,) = problems(start(f"{{{WEIGHT}: 3}}"), overrides=[f"{WEIGHT}=0"])
    assert f"it is 0.0 in --set {WEIGHT}=0" in told


def test_parts_that_do_not_fit_together_are_told_before_the_search(load: Load, toy: ToyPlugins, costs):
    depth = ("depth: 3}", "depth: {choice: [1, 3], default: 3}}")
    space = load(depth, start("{}", "{student.text.depth: 1}"))
    with pytest.raises(SpaceError) as caught:
        space.check(toy, costs)
    assert str(caught.value).endswith(
        "space.yaml:21, search.start: start point 2 is no candidate: student.fusion.layers: got 2 with text depth 1; "
        "allowed: no more. Lower it."
    )
    load(depth, start("{}", "{student.text.depth: 3}")).check(toy, costs)


def test_values_are_kept_as_candidates_hold_them():
    assert kept(Choice(options=("0.5x", 1)), "0.50x") == "0.5x"
    assert kept(Log(low=0.1, high=10), 1.23456789) == 1.23456789  # not to the four digits of a drawn value
    whole = kept(Int(low=1, high=6), 3.0)
    assert (whole, type(whole)) == (3, int)
    real = kept(Float(low=0, high=6), 3)
    assert (real, type(real)) == (3.0, float)
    assert kept(Log(low=0.1, high=10, zero=0.5), 0.0) == 0


def test_no_value_of_a_wrong_point_goes_unsaid():
    domains = {"a": Int(low=1, high=3), "b": Int(low=1, high=3)}
    values, findings = complete({"a": 2}, domains, conditions={}, literals={}, where=lambda path: "here")
    assert values == {"a": 2}  # nothing is made up for what counts
    assert [keys for keys, _ in findings] == [()]
    assert "b (here)" in findings[0][1]
