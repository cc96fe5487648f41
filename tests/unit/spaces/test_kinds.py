"""Kinds and teachers as choices: whose options are whose, what counts where, and the lines of mistakes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spaces.conditions import Condition, active
from spaces.errors import SpaceError
from spaces.load import dump_space, load_space
from spaces.options import check_options
from spaces.schema import Space
from tests.unit.spaces.toy import ToyPlugins

BOTH = """\
name: both
teacher: {choice: [base, embedded], default: embedded}
dataset: {kind: scenes}
student:
  kind: {choice: [blip, head], default: blip}
  image: {width: {choice: [0.25x, 0.5x]}, depth: 2}
  text: {width: 64, depth: 3}
  fusion:
    layers: {choice: [1, 2], default: 2}
    placement: {choice: [last, even], default: last, when: {student.fusion.layers: 2}}
  blip:
    text: {width: {choice: [32, 64], default: 64}}
  head:
    image: {width: 16}
    hidden: {choice: [8, 16]}
losses:
  itc: {weight: {log: [0.1, 2], zero: 0.5, default: 1}, temperature: {choice: [1, 2], default: 1}}
  lm: {weight: {log: [0.1, 2], default: 1}, smoothing: {choice: [0, 1], default: 0}}
  off: {weight: 0, smoothing: {choice: [0, 1]}}
training: {epochs: 9, pairs_per_epoch: 2000, batch_size: 64, lr: 1e-3, accumulate: {choice: [2, 4], default: 2}}
objectives: {retention: max, params: min}
search: {searcher: {kind: random}, scheduler: {kind: moasha}, trials: 8}
"""
BLIP, HEAD = (Condition(path="student.kind", values=(kind,)) for kind in ("blip", "head"))
VALUES = {
    "teacher": "embedded",
    "student.kind": "blip",
    "student.image.width": "0.5x",
    "student.fusion.layers": 2,
    "student.fusion.placement": "even",
    "student.blip.text.width": 32,
    "student.head.hidden": 8,
    "losses.itc.weight": 1.0,
    "losses.itc.temperature": 2,
    "losses.lm.weight": 1.0,
    "losses.lm.smoothing": 1,
    "training.accumulate": 4,
}

Both = Callable[..., Space]


@pytest.fixture
def both(tmp_path: Path) -> Both:
    """Return a function that loads the space of two kinds after replacements."""

    def function(*changes: tuple[str, str], overrides: Sequence[str] = ()) -> Space:
        text = BOTH
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "s.yaml").write_text(text)
        return load_space(tmp_path / "s.yaml", overrides)

    return function


@pytest.fixture
def problems(both: Both, tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function like `both` that returns the problems, the folder cut off."""

    def function(*changes: tuple[str, str], overrides: Sequence[str] = ()) -> list[str]:
        with pytest.raises(SpaceError) as caught:
            both(*changes, overrides=overrides)
        return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return function


def test_the_reference_teacher_comes_first(both: Both) -> None:
    assert both().teachers == ("embedded", "base")
    assert both((", default: embedded", "")).teachers == ("base", "embedded")
    assert both(overrides=["teacher=base"]).teachers == ("base",)
    assert both().kinds == ("blip", "head")


def test_searched_paths_keep_their_place_in_the_file(both: Both) -> None:
    assert list(both().domains()) == list(VALUES)


def test_options_count_for_the_kinds_that_take_them(both: Both) -> None:
    two = Condition(path="student.fusion.layers", values=(2,))
    assert both().conditions() == {
        "student.image.width": (BLIP,),  # heads have a width of their own
        "student.fusion.placement": (two,),
        "student.blip.text.width": (BLIP,),
        "student.head.hidden": (HEAD,),
        "losses.itc.temperature": (Condition(path="losses.itc.weight", values=(0,), negated=True),),
    }


def test_a_kind_s_own_options_win_over_shared_ones(both: Both, toy: ToyPlugins) -> None:
    blip = both().build(VALUES, toy, 0).config
    assert blip["student"]["image"]["width"] == 64
    assert blip["student"]["text"] == {"width": 32, "depth": 3, "heads": 1, "init": "random"}
    assert blip["student"]["fusion"] == {"layers": 2, "placement": "even"}
    head = both().build({**VALUES, "student.kind": "head"}, toy, 0).config
    assert head["student"] == {
        "kind": "head",
        "image": {"width": 16, "depth": 2},
        "text": {"width": 64, "depth": 3},
        "fusion": {"layers": 2, "placement": "even"},
        "hidden": 8,
    }


def test_the_config_names_the_teacher_only_where_it_is_searched(both: Both, toy: ToyPlugins) -> None:
    assert both().build({**VALUES, "teacher": "base"}, toy, 0).config["teacher"] == "base"
    fixed = both(overrides=["teacher=base"])
    values = {path: value for path, value in VALUES.items() if path != "teacher"}
    config = fixed.build(values, toy, 0).config
    assert "teacher" not in config
    assert config["student"]["image"]["width"] == 384


@pytest.mark.parametrize(
    ("change", "silent"),
    [
        ({"student.kind": "head"}, ["student.image.width", "student.blip.text.width"]),
        ({"losses.itc.weight": 0}, ["losses.itc.temperature"]),
        ({"student.fusion.layers": 1}, ["student.fusion.placement"]),
        ({}, ["student.head.hidden"]),
    ],
)
def test_what_does_not_count_changes_no_id_and_may_be_missing(
    both: Both, toy: ToyPlugins, change: dict, silent: list[str]
) -> None:
    space = both()
    point = {**VALUES, **change}
    moved = {
        **point,
        **{path: next(v for v in space.domains()[path].values() if v != point[path]) for path in silent},
    }
    fewer = {path: value for path, value in point.items() if path not in silent}
    ids = {space.build(values, toy, 0).candidate_id for values in (point, moved, fewer)}
    ids.add(space.build(active(point, space.conditions()), toy, 0).candidate_id)
    assert len(ids) == 1


def test_a_value_that_does_not_count_is_left_to_the_defaults(both: Both, toy: ToyPlugins) -> None:
    space = both(("accumulate: {choice: [2, 4]", "accumulate: {choice: [2, 4], when: {student.kind: head}"))
    config = space.build({**VALUES, "student.fusion.layers": 1, "losses.itc.weight": 0}, toy, 0).config
    assert config["student"]["fusion"] == {"layers": 1, "placement": "last"}
    assert config["training"]["accumulate"] == 1
    assert config["losses"]["itc"] == {"weight": 0}


def test_a_weight_that_does_not_count_switches_its_loss_off(both: Both, toy: ToyPlugins) -> None:
    when = "when: {student.kind: {not: head}}"
    space = both(("lm: {weight: {log: [0.1, 2]", f"lm: {{weight: {{log: [0.1, 2], {when}"))
    assert space.build({**VALUES, "student.kind": "head"}, toy, 0).config["losses"]["lm"] == {"weight": 0}
    assert space.build(VALUES, toy, 0).config["losses"]["lm"]["smoothing"] == 1
    assert "losses.lm.smoothing" not in active({**VALUES, "student.kind": "head"}, space.conditions())


def test_what_can_never_count_is_not_searched(both: Both, toy: ToyPlugins, problems) -> None:
    own = ("    hidden:", "    text: {width: 8}\n    hidden:")
    space = both(own, ("text: {width: 64,", "text: {width: {choice: [1, 2]},"))
    assert "student.text.width" not in space.domains()
    assert "losses.off.smoothing" not in both().domains()
    assert both().build(VALUES, toy, 0).config["losses"]["off"] == {"weight": 0}
    (told,) = problems(("trials: 8", "trials: 8, start: [{student.head.hidden: 8, losses.off.smoothing: 1}]"))
    assert "got 1 for a path that is not searched: it is switched off in s.yaml:19" in told


def test_only_what_counts_needs_a_default_or_a_start_value(both: Both, problems) -> None:
    hidden = ("hidden: {choice: [8, 16]}", "hidden: {choice: [8, 16]}\n    extra: {int: [3, 9]}")
    space = both(hidden, ("[0.25x, 0.5x]", "[0.25x, 0.5x], default: 0.5x"))
    defaults = space.default_values()
    assert defaults is not None
    assert (defaults["student.head.hidden"], defaults["student.head.extra"]) == (8, 3)
    assert both(hidden).default_values() is None
    (told,) = problems(hidden, ("trials: 8", "trials: 8, start: [{student.kind: head}]"))
    assert (
        "got no value for student.head.hidden (s.yaml:15), student.head.extra (s.yaml:16): no default" in told
    )


def test_one_literal_kind_may_have_options_under_its_name_too(both: Both) -> None:
    space = both(overrides=["student.kind=head", "teacher=embedded"])
    assert "student.blip.text.width" in space.domains()  # no kind: an option that `head` will be asked about
    assert space.kind_options("head")["blip"] == {
        "text": {"width": space.domains()["student.blip.text.width"]}
    }
    assert "student.image.width" not in space.domains()
    assert space.kind_options("head")["image"] == {"width": 16, "depth": 2}


def test_a_resolved_space_of_two_kinds_loads_back_to_the_same(both: Both, tmp_path: Path) -> None:
    when = "when: {student.kind: {not: [blip]}, teacher: base}"
    space = both(overrides=[f"student.head.hidden={{choice: [8, 16], {when}}}"])
    (tmp_path / "again.yaml").write_text(dump_space(space))
    again = load_space(tmp_path / "again.yaml")
    assert again == space
    assert again.conditions() == space.conditions()


@dataclass(frozen=True)
class Side:
    width: int | str
    depth: int = 1


@dataclass(frozen=True)
class Config:
    image: Side
    text: Side
    fusion: dict = field(default_factory=dict)


def test_options_of_a_kind_are_told_where_they_stand(both: Both, tmp_path: Path) -> None:
    space = both(
        ("    text: {width: {choice", "    text: {wdth: 3, width: {choice"),
        ("depth: 2}", "depth: {choice: [2, two]}}"),
    )
    found = check_options(Config, space.kind_options("blip"), space.option_place("student", "blip"))
    assert [line.replace(f"{tmp_path}/", "") for line in found] == [
        "s.yaml:12, student.blip.text.wdth: got an unknown option; allowed: width, depth. Did you mean 'width'?",
        "s.yaml:6, student.image.depth: got 'two'; allowed: a valid integer. Change the value.",
    ]
    found = check_options(Config, space.kind_options("head"), space.option_place("student", "head"))
    assert found[0].endswith(
        "s.yaml:15, student.head.hidden: got an unknown option; allowed: image, text, fusion. Delete it."
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "{choice: [blip, head], default: blip}",
            "3",
            "5, student.kind: got 3; allowed: a text that is not empty. Write it in quotes.",
        ),
        (
            "{choice: [blip, head], default: blip}",
            "[blip, head]",
            "5, student.kind: got ['blip', 'head']; allowed: a text that is not empty. "
            "Write {choice: [a, b]} to search several.",
        ),
        (
            "{choice: [blip, head], default: blip}",
            "{int: [1, 2]}",
            "5, student.kind.int: got [1, 2]; allowed: a text that is not empty. Use choice.",
        ),
        (
            "kind: {choice: [blip, head], default: blip}",
            "knid: blip",
            "4, student.kind: got nothing; allowed: this key is needed. Did you misspell it as 'knid'?",
        ),
        (
            "{choice: [base, embedded], default: embedded}",
            "{choice: [embedded, 1]}",
            "2, teacher.choice: got 1; allowed: a text that is not empty. Write it in quotes.",
        ),
        (
            "{choice: [base, embedded], default: embedded}",
            "{choice: [embedded, base], zero: 0.1}",
            "2, teacher.zero: got `zero`; allowed: a text that is not empty. Drop `zero`.",
        ),
        (
            "\n    text: {width: {choice: [32, 64], default: 64}}",
            " {choice: [1, 2]}",
            "11, student.blip: got a domain; allowed: a mapping with the options of this kind alone. "
            "Write them indented below it.",
        ),
        (
            "hidden: {choice: [8, 16]}",
            "deep: {hidden: {choice: [8, [16]]}}",
            "15, student.head.deep.hidden.choice: got [16] as an option; allowed: plain values. Write one value.",
        ),
        (
            "    image: {width: 16}",
            "    image.width: 16",
            "14, student.head.image.width: got a key with a dot; allowed: options below one another. "
            "Write `a: {b: ...}` for `a.b`.",
        ),
        (
            "hidden: {choice: [8, 16]}",
            "hidden: {default: 8, zero: 0.1}",
            "15, student.head.hidden: got the keys default, zero; allowed: a number, text, true, false, null, or a list "
            "of these, or a domain with exactly one of choice, int, float, log. "
            "Keep one, as in {choice: [a, b], default: a}.",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(problems, old: str, new: str, message: str) -> None:
    assert problems((old, new)) == [f"s.yaml:{message}"]


WHEN = "when: {student.fusion.layers: 2}"
AT = "10, student.fusion.placement.when"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            WHEN,
            "when: 3",
            f"{AT}: got 3; allowed: a mapping, searched path: value, list of values, or {{not: value}}.",
        ),
        (WHEN, "when: {}", f"{AT}: got {{}}; allowed: a mapping, searched path"),
        (
            WHEN,
            "when: {student: {kind: blip}}",
            f"{AT}.student: got {{'kind': 'blip'}}; allowed: a value, a list of values, or {{not: value}}.",
        ),
        (WHEN, "when: {student.kind: []}", f"{AT}.student.kind: got []; allowed: a value, a list"),
        (
            WHEN,
            "when: {student.kind: {not: null}}",
            f"{AT}.student.kind: got {{'not': None}}; allowed: a value",
        ),
        (
            WHEN,
            "when: {student.text.depth: 3}",
            f"{AT}.student.text.depth: got 3 for a path that is not searched: it is 3 in s.yaml:7; "
            "allowed: searched paths. Drop it here, or write a domain there.",
        ),
        (
            WHEN,
            "when: {student.fusion.layer: 2}",
            f"{AT}.student.fusion.layer: got an unknown path; allowed: searched paths. "
            "Did you mean 'student.fusion.layers'?",
        ),
        (
            WHEN,
            "when: {student.fusion.layers: [3]}",
            f"{AT}.student.fusion.layers: got 3 for student.fusion.layers; allowed: one of 1, 2. "
            "Write a value that it can take.",
        ),
        (
            WHEN,
            "when: {student.kind: {not: heads}}",
            f"{AT}.student.kind: got 'heads' for student.kind; allowed: one of 'blip', 'head'.",
        ),
        (
            "layers: {choice: [1, 2], default: 2}",
            "layers: {choice: [1, 2], default: 2, when: {student.fusion.placement: last}}",
            "9, student.fusion.layers.when: got conditions in a circle (student.fusion.layers on "
            "student.fusion.placement, student.fusion.placement on student.fusion.layers); "
            "allowed: conditions that end. Drop one `when`.",
        ),
        (
            WHEN,
            "when: {student.fusion.placement: last}",
            f"{AT}: got conditions in a circle (student.fusion.placement on student.fusion.placement)",
        ),
        (
            "itc: {weight: {log: [0.1, 2], ",
            "itc: {weight: {log: [0.1, 2], when: {losses.itc.temperature: 2}, ",
            "17, losses.itc.weight.when: got conditions in a circle (losses.itc.weight on losses.itc.temperature, ",
        ),
        (
            WHEN,
            "when: {student.kind: {not: [blip, head]}}",
            f"{AT}: got conditions that student.kind never meets",
        ),
        (
            "temperature: {choice: [1, 2], default: 1}",
            "temperature: {choice: [1, 2], default: 1, when: {losses.itc.weight: 0}}",
            "17, losses.itc.temperature.when: got conditions that losses.itc.weight never meets (not 0 and 0,",
        ),
        (
            "default: embedded}",
            "default: embedded, when: {student.kind: blip}}",
            "2, teacher.when: got `when`; allowed: none here, since every candidate needs a value. Drop `when`.",
        ),
        (
            "lr: 1e-3",
            "lr: {log: [1e-3, 1e-2], when: {student.kind: blip}}",
            "20, training.lr.when: got `when`; allowed: none here, since every candidate needs a value.",
        ),
    ],
)
def test_a_wrong_condition_is_told_with_its_line(problems, old: str, new: str, message: str) -> None:
    (told,) = problems((old, new))
    assert told.startswith(f"s.yaml:{message}")


def test_a_condition_on_what_a_flag_fixes_names_the_flag(problems) -> None:
    (told,) = problems(overrides=["student.fusion.layers=2"])
    assert "it is 2 in --set student.fusion.layers=2; allowed: searched paths." in told
