"""Settings beside --set, in both commands that take them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from search import run, simulate
from search.arguments import parse
from spaces.errors import RunError
from spaces.load import Override, load_space, read_draft
from tests.unit.search.earlier_run import SPACE


@pytest.mark.parametrize(
    "words",
    [
        ["search.seed=3", "losses.itc.weight=0", "--trials", "5"],
        ["--set", "search.seed=3", "--trials", "5", "--set", "losses.itc.weight=0"],
        ["search.seed=3", "--trials", "5", "losses.itc.weight=0"],
        ["--trials", "5", "--dry-run", "search.seed=3", "--set", "losses.itc.weight=0"],
        ["--trials", "5", "--warm-start", "runs/a", "search.seed=3", "losses.itc.weight=0"],
    ],
)
def test_run_takes_settings_with_and_without_the_flag(words: list[str]) -> None:
    options = parse(run.parser(), words, lists=["warm_start"])
    assert sorted(options.set) == ["losses.itc.weight=0", "search.seed=3"]
    assert options.trials == 5
    assert options.warm_start in ([], [Path("runs/a")])


def test_a_field_that_is_set_in_two_ways_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(run.parser(), ["training.lr=1e-3", "--set", "training.lr =2e-3"])
    assert "got 'training.lr=1e-3', and --set for the same field; allowed: one" in capsys.readouterr().err
    for words in (["search.trials=24", "--trials", "60"], ["--trials", "60", "--set", "search.trials=24"]):
        with pytest.raises(RunError, match=r"^--trials 60: got search.trials=24, too; allowed: one of them."):
            run.overrides(parse(run.parser(), words))
    changes, _ = run.overrides(parse(run.parser(), ["--set", "training.lr=1", "--set", "training.lr=2"]))
    assert changes == ["training.lr=1", "training.lr=2"]  # in the order that was typed: the later one wins
    words = ["--dataset", "jsonl:a", "dataset.broken=quarantine"]
    assert len(run.overrides(parse(run.parser(), words))[0]) == 2


def test_simulate_takes_them_too_and_the_same_flags_for_the_same_things() -> None:
    words = [
        "--table",
        "t",
        "--searcher",
        "random",
        "evolution",
        "searcher.step=0.1",
        "--seed",
        "4",
        "--trials",
        "9",
    ]
    study = simulate.study_of(parse(simulate.parser(), [*words, "--seeds", "3"], lists=simulate.LISTS))
    assert list(study.searchers) == ["random", "evolution"]
    assert list(study.settings) == ["searcher.step=0.1"]
    assert (list(study.seeds), study.setup.trials) == ([4, 5, 6], 9)


def test_a_word_that_is_no_setting_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(run.parser(), ["spaces/dlip.yaml"])
    assert ended.value.code == 2
    assert "got 'spaces/dlip.yaml'; allowed: flags, and PATH=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parser", "lists", "words", "said"),
    [
        (run.parser, ["warm_start"], ["--warm-start", "search.trials=2"],
         "--warm-start: got only settings, search.trials=2; allowed: one RUN"),
        (simulate.parser, simulate.LISTS, ["--table", "t", "--searcher", "searcher.step=1"],
         "--searcher: got only settings, searcher.step=1; allowed: one NAME"),
    ],
)  # fmt: skip
def test_a_list_of_settings_alone_is_told(
    parser: Any, lists: Sequence[str], words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(parser(), words, lists=lists)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "words", "expected"),
    [
        ("{kind: scenes}", [], 256),
        ("{kind: scenes}", ["--dataset", "scenes"], 256),
        ("{kind: scenes}", ["--set", "dataset.train_images=5"], 5),
        ("{kind: scenes}", ["--dataset", "jsonl:a.jsonl"], None),
        ("{kind: scenes}", ["--set", "dataset={kind: jsonl, file: a.jsonl}"], None),
        ("{kind: jsonl, file: a.jsonl}", [], None),
        ("{kind: jsonl, file: a.jsonl}", ["--dataset", "scenes"], 256),
        ("{kind: scenes}", ["--set", "dataset={kind: scenes}"], 256),
        ("{kind: scenes}", ["--set", "dataset={kind: scenes, train_images: 5000}"], 5000),
        ("{kind: scenes, train_images: 100}", [], 100),
        ("{kind: scenes, train_images: 10000}", [], 256),
    ],
)
def test_smoke_makes_small_what_is_drawn_and_nothing_else(
    data: str, words: list[str], expected: int | None, tmp_path: Path
) -> None:
    space = tmp_path / "tiny.yaml"
    drawn = "dataset: {kind: scenes, train_images: 48, val_images: 32, test_images: 32}"
    assert drawn in SPACE
    space.write_text(SPACE.replace(drawn, f"dataset: {data}"))
    options = parse(run.parser(), ["--space", str(space), "--smoke", *words], lists=["warm_start"])
    changes, _ = run.overrides(options)
    assert load_space(space, changes).resolved()["dataset"].get("train_images") == expected
    smoke = [one.path for one in changes if isinstance(one, Override) and one.flag == "--smoke"]
    assert len(set(smoke)) == len(smoke)


def test_what_smoke_changes_is_said_and_what_is_small_or_set_stays(tmp_path: Path) -> None:
    text = (
        SPACE.replace("train_images: 48, ", "")
        .replace("trials: 6", "trials: 2")
        .replace("rungs: [1]", "rungs: [1, 2]")
    )
    (tmp_path / "tiny.yaml").write_text(text)
    words = [
        "--space",
        str(tmp_path / "tiny.yaml"),
        "--smoke",
        "--max-epochs",
        "7",
        "evaluation={images: 900}",
    ]
    changes, (said,) = run.overrides(parse(run.parser(), words, lists=["warm_start"]))
    assert said == (
        "--smoke sets training.warmup_steps default -> 0, latency.samples default -> 4, dataset.train_images default -> 256, "
        "search.scheduler.rungs [1, 2] -> [1]"
    )
    space = load_space(tmp_path / "tiny.yaml", changes)
    assert (space.training.epochs, space.search.trials, space.evaluation.images) == (7, 2, 900)


@pytest.mark.parametrize(
    ("data", "flag", "expected"),
    [
        (
            "{kind: prepared, root: [a, b], text: plain, pixels: live}",
            "prepared:c",
            {"kind": "prepared", "root": "c", "text": "plain", "pixels": "live"},
        ),
        (
            "{kind: jsonl, file: a.jsonl, val_ratio: 0.2}",
            "jsonl:b.jsonl",
            {"kind": "jsonl", "file": "b.jsonl", "val_ratio": 0.2},
        ),
        ("{kind: jsonl, file: a.jsonl, val_ratio: 0.2}", "prepared:c", {"kind": "prepared", "root": "c"}),
        ("{kind: scenes, train_images: 100}", "scenes", {"kind": "scenes"}),
    ],
)
def test_data_of_the_kind_of_the_space_keep_its_options(
    data: str, flag: str, expected: dict[str, object], tmp_path: Path
) -> None:
    space = tmp_path / "tiny.yaml"
    space.write_text(f"name: tiny\ndataset: {data}\n")
    changes, _ = run.overrides(
        parse(run.parser(), ["--space", str(space), "--dataset", flag], lists=["warm_start"])
    )
    assert read_draft(space, changes).value["dataset"] == expected


def test_a_space_that_cannot_be_read_is_told_by_whoever_loads_it(tmp_path: Path) -> None:
    space = tmp_path / "tiny.yaml"
    space.write_text("dataset: [broken\n")
    for given in (space, tmp_path / "nowhere.yaml"):
        words = ["--space", str(given), "--dataset", "jsonl:b.jsonl"]
        changes, _ = run.overrides(parse(run.parser(), words, lists=["warm_start"]))
        assert changes == [
            Override("--dataset jsonl:b.jsonl", "dataset", {"kind": "jsonl", "file": "b.jsonl"})
        ]
