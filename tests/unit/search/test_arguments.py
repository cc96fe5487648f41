"""Settings beside --set, in both commands that take them."""

from pathlib import Path

import pytest

from search import run, simulate
from search.arguments import parse


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
