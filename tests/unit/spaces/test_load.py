"""The door: every mistake has one clear message with its place, and all of them come at once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search.arguments import DEFAULT_SPACE
from spaces.errors import SpaceError
from spaces.load import Override, dump_space, load_space, read_recipe
from spaces.schema import Space
from tests.house.tree import ROOT

Load = Callable[..., Space]
Problems = Callable[..., list[str]]

IMAGE = "{width: {choice: [0.25x, 0.5x], default: 0.5x}, depth: 2}"
LOG = "{log: [2, 60], zero: 0.1, default: 20}"


def test_a_sound_space_loads_with_numbers_as_numbers(load: Load) -> None:
    space = load()
    assert space.training.lr == 0.001
    assert space.training.weight_decay == 0.02
    assert space.search.trials == 8
    assert space.dataset.kind == "scenes"
    assert space.dataset.options == {"train_images": 400}
    assert space.search.scheduler.options == {"rungs": [1, 3]}
    assert space.resources.gpus_per_worker is None
    assert space.quality == "retention"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "epochs: 9",
            "epohcs: 9, epochs: 9",
            "13, training.epohcs: got an unknown key; allowed: epochs, pairs_per_epoch, batch_size, lr, "
            "weight_decay, warmup_steps, gradient_clip, accumulate, itm_negatives, fused_every, fused_from, "
            "negatives, temperature_floor. "
            "Did you mean 'epochs'?",
        ),
        (
            "epochs: 9, ",
            "",
            "13, training.epochs: got nothing; allowed: this key is needed. Add `epochs: ...`.",
        ),
        (
            "itc: {weight: 1.0}",
            "itc: {wieght: 1.0}",
            "10, losses.itc.weight: got nothing; allowed: this key is needed. "
            "Did you misspell it as 'wieght'?",
        ),
        (
            "epochs: 9",
            "epochs: nine",
            "13, training.epochs: got 'nine'; allowed: a whole number >= 1. Write a plain number.",
        ),
        (
            "epochs: 9",
            "epochs: 2.5",
            "13, training.epochs: got 2.5; allowed: a whole number >= 1. Use 2 or 3.",
        ),
        (
            "epochs: 9",
            "epochs: true",
            "13, training.epochs: got true; allowed: a whole number >= 1. Write a plain number.",
        ),
        (
            "epochs: 9",
            "epochs: {int: [1, 9]}",
            "13, training.epochs: got a domain; allowed: a whole number >= 1. "
            "This field cannot be searched: write one value.",
        ),
        (
            "itc: {weight: 1.0}",
            "itc: {weight: -0.5}",
            "10, losses.itc.weight: got -0.5; allowed: a number >= 0. Raise it.",
        ),
        (
            "itc: {weight: 1.0}",
            "itc: 1.0",
            "10, losses.itc: got 1.0; allowed: a mapping with weight. Write them indented below it.",
        ),
        (
            "lr: 1e-3",
            "lr: 0.5x",
            "13, training.lr: got '0.5x'; allowed: a number above 0. Write it as an absolute number.",
        ),
        (
            "lr: 1e-3",
            "lr: .inf",
            "13, training.lr: got inf; allowed: a number above 0. Write a plain number.",
        ),
        (
            "lr: 1e-3",
            "lr: 1e-3, fused_from: 3",
            "13, training.fused_from: got 3; allowed: a number >= 0 and <= 1. Lower it.",
        ),
        (
            "params: min",
            "params: down",
            "14, objectives.params: got 'down'; allowed: max, min. Write one of them.",
        ),
        (
            "retention: max, params: min",
            "params: min",
            "14, objectives: got params; allowed: at least one metric of quality. Add `retention: max`.",
        ),
        (
            "name: small",
            "name: ../x",
            "1, name: got '../x'; allowed: letters, digits, - _ and dots inside. Rename: runs are called so.",
        ),
        (
            "name: small",
            "name: small\nname: big",
            "2, name: got this key a second time (first at space.yaml:1); allowed: each key once. "
            "Delete one.",
        ),
        (
            "name: small",
            "name:\tsmall",
            "1: got a tab; allowed: spaces. Replace the tab with spaces.",
        ),
    ],
)
def test_a_mistake_is_one_message_with_place_got_allowed_and_what_to_do(
    problems: Problems, old: str, new: str, message: str
) -> None:
    assert problems((old, new)) == [f"space.yaml:{message}"]


@pytest.mark.parametrize(
    ("domain", "field", "parts"),
    [
        ("{log: [0, 60]}", "weight.log", ["got [0, 60]", "bounds above 0", "zero: 0.2"]),
        ("{log: [60, 2]}", "weight.log", ["got [60, 2]", "Write [2, 60]"]),
        ("{float: [1, 0]}", "weight.float", ["got [1, 0]", "Write [0, 1]"]),
        ("{float: [1, 1]}", "weight.float", ["plain value 1"]),
        ("{float: [-1, 1]}", "weight.float", ["got -1", "a number >= 0"]),
        ("{int: [1, 2.5]}", "weight.int", ["whole numbers"]),
        ("{log: [1]}", "weight.log", ["got [1]", "two numbers"]),
        ("{log: 3}", "weight.log", ["got 3", "two numbers"]),
        ("{log: [a, b]}", "weight.log", ["two numbers"]),
        ("{float: [0.1x, 1x]}", "weight.float", ["relative values go into a choice"]),
        ("{choice: []}", "weight.choice", ["got []", "at least one"]),
        ("{choice: [1, 2, 1.0]}", "weight.choice", ["got 1.0 twice"]),
        ("{choice: [1, [2]]}", "weight.choice", ["got [2] as an option"]),
        ("{choice: [1, -2]}", "weight.choice", ["got -2", "a number >= 0"]),
        ("{choice: [1, 2], default: 3}", "weight.default", ["got 3", "one of 1.0, 2.0"]),
        ("{log: [1, 9], default: 0}", "weight.default", ["got 0", "a value from 1.0 to 9.0"]),
        ("{choice: [1, 2], default: [1]}", "weight.default", ["got [1]", "one of 1.0, 2.0"]),
        (f"{{log: [1, 1{'0' * 400}]}}", "weight.log", ["plain numbers"]),
        ("{log: [1, 9], zero: 1.5}", "weight.zero", ["got 1.5", "probability"]),
        ("{choice: [0, 1], zero: 0.5}", "weight.zero", ["holds 0"]),
        ("{log: [1, 9], defualt: 3}", "weight.defualt", ["unknown key", "Did you mean default?"]),
        ("{log: [1, 9], int: [1, 9]}", "weight", ["got log and int", "exactly one of"]),
        ("{lgo: [1, 9]}", "weight.lgo", ["unknown key", "Did you mean log?"]),
        ("{foo: [1, 9]}", "weight", ["the keys foo", "exactly one of"]),
    ],
)
def test_a_broken_domain_says_which_part(
    problems: Problems, domain: str, field: str, parts: list[str]
) -> None:
    found = problems((LOG, domain))
    assert found[-1].startswith(f"space.yaml:12, losses.image_embedding.{field}: ")
    for part in parts:
        assert part in found[-1]


def test_zero_is_refused_where_the_field_cannot_be_zero(problems: Problems) -> None:
    (found,) = problems(("lr: 1e-3", "lr: {log: [1e-4, 1e-2], zero: 0.1}"))
    assert found.startswith("space.yaml:13, training.lr.zero: got `zero`; allowed: a number above 0.")


def test_whole_number_fields_refuse_real_ranges(problems: Problems) -> None:
    (found,) = problems(("batch_size: 64", "batch_size: {log: [8, 64]}"))
    assert "allowed: a whole number >= 2. Use int or choice." in found


def test_all_mistakes_of_a_file_come_at_once_in_the_order_of_its_lines(problems: Problems) -> None:
    found = problems(
        ("name: small", "name: small\nname: small"),
        (IMAGE, "{width: {choice: []}, depth: {int: [3, 1]}, a.b: 1}"),
        (LOG, "{log: [0, 1], zero: 7}"),
        ("epochs: 9", "epochs: -1, colour: red"),
        ("trials: 8", "trials: many"),
    )
    fields = [line.split(": ")[0] for line in found]
    assert fields == [
        "space.yaml:2, name",
        "space.yaml:7, student.image.width.choice",
        "space.yaml:7, student.image.depth.int",
        "space.yaml:7, student.image.a.b",
        "space.yaml:13, losses.image_embedding.weight.zero",
        "space.yaml:13, losses.image_embedding.weight.log",
        "space.yaml:14, training.epochs",
        "space.yaml:14, training.colour",
        "space.yaml:19, search.trials",
    ]


def test_all_losses_zero_is_refused(problems: Problems) -> None:
    (found,) = problems((LOG, "0"), overrides=["losses.itc.weight=0"])
    assert found == (
        "space.yaml:9, losses: got weight 0 for every loss; allowed: at least one loss that can be above 0. "
        "Raise a weight."
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "an empty file"),
        ("# nothing\n\n", "an empty file"),
        ("- a\n- b\n", "allowed: `key: value` lines"),
    ],
)
def test_a_file_without_a_space_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "s.yaml").write_text(content)
    with pytest.raises(SpaceError, match=said):
        load_space(tmp_path / "s.yaml")


def test_a_missing_file_a_folder_and_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"name: \xff\xfe")
    for name, said in (("no.yaml", "No such file"), (".", "directory"), ("b.yaml", "not UTF-8")):
        with pytest.raises(SpaceError, match=said) as caught:
            load_space(tmp_path / name)
        assert len(caught.value.problems) == 1


def test_set_overrides_any_field_and_parses_yaml(load: Load) -> None:
    space = load(
        overrides=[
            "training.lr=2e-3",
            "student.image.width=96",
            "losses.image_embedding.weight={choice: [1, 5]}",
            "losses.lm.weight=0.5",
            "limits.params={max: 0.5x}",
        ]
    )
    assert space.training.lr == 0.002
    assert space.kind_options("blip")["image"] == {"width": 96, "depth": 2}
    assert space.losses["lm"].weight == 0.5
    assert list(space.domains()) == ["losses.image_embedding.weight"]
    assert space.where("training.lr") == "--set training.lr=2e-3"
    assert space.where("losses.lm.weight") == "--set losses.lm.weight=0.5"
    assert space.where("training.epochs").endswith("space.yaml:13")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "training.epohcs=3",
            "--set training.epohcs=3, training.epohcs: got an unknown key; allowed: epochs, pairs_per_epoch",
        ),
        (
            "losses.itc.weight=-1",
            "--set losses.itc.weight=-1, losses.itc.weight: got -1; allowed: a number >= 0.",
        ),
        ("losses.itc.weight", "--set losses.itc.weight: got 'losses.itc.weight'; allowed: path=value."),
        ("a..b=1", "--set a..b=1: got 'a..b=1'; allowed: path=value."),
        ("training.lr=[1", "--set training.lr=[1: got text that is not YAML"),
        (
            "training.lr={log: [0, 1]}",
            "--set training.lr={log: [0, 1]}, training.lr.log: got [0, 1]; allowed",
        ),
    ],
)
def test_a_wrong_override_names_the_flag(problems: Problems, flag: str, message: str) -> None:
    (found,) = problems(overrides=[flag])
    assert found.startswith(message)


def test_another_flag_can_set_a_field_under_its_own_name(tmp_path: Path, small: str) -> None:
    (tmp_path / "s.yaml").write_text(small)
    space = load_space(tmp_path / "s.yaml", [Override("--trials 60", "search.trials", 60)])
    assert space.search.trials == 60
    with pytest.raises(SpaceError, match=r"--trials x, search\.trials: got 'x'"):
        load_space(tmp_path / "s.yaml", [Override("--trials x", "search.trials", "x")])


@pytest.mark.parametrize("value", ["scenes #2", "#x", "{a: 1} # b", "/data/pairs #1.jsonl", "[1] #"])
def test_a_comment_behind_a_flag_is_refused(problems: Problems, value: str) -> None:
    (found,) = problems(overrides=[f"dataset.path={value}"])
    assert (
        "behind the value, which YAML takes for a comment; allowed: a value alone. Put the whole value"
        in found
    )


@pytest.mark.parametrize(("text", "value"), [("'a #b'", "a #b"), ("a#b", "a#b"), ('"#"', "#")])
def test_a_sign_of_numbers_that_begins_no_comment_stays(load: Load, text: str, value: str) -> None:
    assert load(overrides=[f"dataset.path={text}"]).dataset.options["path"] == value


def test_numbers_and_texts_of_numpy_are_plain_ones(small: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(small)
    changes = [
        Override("o", "losses.itc.label_smoothing", {np.str_("choice"): [np.float64(0.25), np.float64(0.5)]}),
        Override("o", "dataset.path", np.str_("a")),
    ]
    space = load_space(tmp_path / "s.yaml", changes)
    (tmp_path / "resolved.yaml").write_text(dump_space(space))
    assert load_space(tmp_path / "resolved.yaml") == space
    assert type(space.dataset.options["path"]) is str
    (trials,) = {
        load_space(tmp_path / "s.yaml", [Override("o", "search.trials", one)]).search.trials
        for one in (3, np.int64(3))
    }
    assert (trials, type(trials)) == (3, int)
    half = load_space(tmp_path / "s.yaml", [Override("o", "losses.itc.weight", np.float32(0.5))])
    assert load_space(tmp_path / "s.yaml", ["losses.itc.weight=0.5"]) == half
    with pytest.raises(SpaceError, match="a value of the type ndarray"):
        load_space(tmp_path / "s.yaml", [Override("o", "search.trials", np.zeros(3))])


def test_a_mistake_in_the_file_that_a_flag_mends_is_none(load: Load) -> None:
    assert load(("epochs: 9", "epochs: 0"), overrides=["training.epochs=3"]).training.epochs == 3


def test_a_resolved_space_loads_back_to_the_same(load: Load, tmp_path: Path) -> None:
    space = load(overrides=["losses.itc.label_smoothing={choice: ['1e-3', 0.5, true]}", "dataset.path='010'"])
    (tmp_path / "resolved.yaml").write_text(dump_space(space))
    again = load_space(tmp_path / "resolved.yaml")
    assert again == space
    assert again.domains() == space.domains()
    assert again.dataset.options["path"] == "010"
    assert again != load()


def test_values_too_deep_to_be_read_are_refused_not_run_into(problems: Problems) -> None:
    deep = "[" * 5000
    for told in (
        *problems(("itc: {weight: 1.0}", f"itc: {deep}")),
        *problems(overrides=[f"losses.itc={deep}"]),
        *problems(overrides=[f"student.{'.'.join('a' * 3000)}=1"]),
        *problems(overrides=[Override("overrides[0]", ".".join("a" * 41), 1)]),
    ):
        assert "got more than 40 levels; allowed: up to 40." in told


def test_a_dotted_option_is_told_where_it_stands(problems: Problems) -> None:
    (found,) = problems(("itc: {weight: 1.0}", "itc: {weight: 1.0, a.b: {choice: [1, 2]}}"))
    assert found.startswith("space.yaml:10, losses.itc.a.b: got a key with a dot")


def test_options_of_a_kind_that_are_no_mapping_are_told(problems: Problems) -> None:
    (found,) = problems(overrides=["student.blip=null"])
    assert found == (
        "--set student.blip=null, student.blip: got null; allowed: a mapping with the options of this kind alone. "
        "Write them indented below it."
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "search.seed=1e19",
            "search.seed: got 1e+19; allowed: a whole number >= 0. Lower it: whole numbers end below 2^63.",
        ),
        (
            "search.seed=9223372036854775807.0",
            "Lower it: whole numbers end below 2^63.",
        ),  # 2^63, as a float has it
        ("search.seed=-1e19", "search.seed: got -1e+19; allowed: a whole number >= 0. Raise it."),
        ("search.stop.plateau.trials=1e300", "Lower it: whole numbers end below 2^63."),
    ],
)
def test_a_whole_number_that_no_table_holds_is_refused(
    load: Callable[..., Space], setting: str, said: str
) -> None:
    with pytest.raises(SpaceError) as caught:
        load(overrides=[setting])
    assert said in str(caught.value)
    assert load(overrides=["search.seed=9e18"]).search.seed == 9 * 10**18


def test_shipped_files_are_found_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lacking = "spaces/dlip_.yaml: got no readable file"
    assert load_space(DEFAULT_SPACE, ["search.trials=3"]).search.trials == 3
    assert any(one.path.startswith("losses.") for one in read_recipe(Path("spaces/recipes/distilled.yaml")))
    with pytest.raises(SpaceError, match=rf"^{lacking}.*; {ROOT}/spaces/dlip\.yaml is the shipped one"):
        load_space("spaces/dlip_.yaml")
    (tmp_path / "spaces").mkdir()
    (tmp_path / DEFAULT_SPACE).touch()
    with pytest.raises(SpaceError, match=r"^spaces/dlip\.yaml: got an empty file"):  # one's own goes first
        load_space(DEFAULT_SPACE)
    monkeypatch.chdir(ROOT)
    with pytest.raises(SpaceError, match=rf"^{lacking}.*; spaces/dlip\.yaml is the shipped one"):
        load_space("spaces/dlip_.yaml")
