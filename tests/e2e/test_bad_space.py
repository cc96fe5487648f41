"""Mistakes in a space file or in a flag: one clear message, exit code 2, nothing written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import runs
from tests.e2e.runs import Refused

Edit = Callable[[str], str]


def put(old: str, new: str) -> Edit:
    """Return the edit that replaces a piece of the space file."""

    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


def line_of(text: str, part: str) -> int:
    """Return the number of the first line that holds `part`."""
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


MISTAKES: dict[str, tuple[Edit, str, tuple[str, ...]]] = {
    # name: (edit, the piece whose line is told, words of the message)
    "a tab": (put("  kind: blip", "\tkind: blip"), "\tkind", ("tab", "spaces")),
    "a duplicate key": (put("  kind: blip", "  kind: blip\n  kind: blip"), "", ("student.kind", "a second time", "tiny.yaml:6")),
    "an unknown key": (put("batch_size", "batch_sise"), "batch_sise", ("batch_sise", "Did you mean 'batch_size'?")),
    "a wrong type": (put("epochs: 3", "epochs: many"), "epochs: many", ("training.epochs", "'many'", "whole number")),
    "a log range with 0": (put("log: [5, 60]", "log: [0, 60]"), "log: [0,", ("image_embedding.weight", "above 0")),
    "reversed bounds": (put("log: [5, 60]", "log: [60, 5]"), "log: [60", ("image_embedding.weight", "60", "5")),
    "heads that do not divide the width": (
        put("text: {width: 0.25x,", "text: {width: 100, heads: 12,"),
        "heads: 12",
        ("student.text.heads", "12", "100"),
    ),
    "more fusion layers than text layers": (
        put("layers: 1", "layers: 4"),
        "layers: 4",
        ("student.fusion.layers", "4", "depth"),
    ),
    "an objective that nothing produces": (
        put("retention: max", "retension: max"),
        "retension: max",
        ("objectives.retension", "retention"),
    ),
    "an unknown loss": (put("  vqa:", "  vqq:"), "  vqq:", ("losses", "'vqq'", "vqa")),
    "a negative weight": (put("lm: {weight: 1}", "lm: {weight: -1}"), "-1", ("losses.lm.weight", "-1", ">= 0")),
    "an unknown data set": (put("kind: scenes", "kind: scene"), "kind: scene,", ("'scene'", "scenes", "jsonl")),
    "an unknown searcher": (put("kind: random", "kind: randon"), "randon", ("'randon'", "random")),
    "an unknown option of a loss": (
        put("lm: {weight: 1}", "lm: {weight: 1, label_smothing: 0.1}"),
        "label_smothing",
        ("losses.lm", "label_smothing", "label_smoothing"),
    ),
    "limits that contradict": (
        put("evaluation:", "limits: {params: {min: 0.5x, max: 0.1x}}\nevaluation:"),
        "limits:",
        ("limits.params", "min"),
    ),
    "rungs that stop nobody": (put("rungs: [1]", "rungs: [5]"), "rungs: [5]", ("[5]", "epochs 3")),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_file_is_told_with_its_line(name: str, tmp_path: Path, refused: Refused) -> None:
    edit, part, words = MISTAKES[name]
    text = edit(runs.SPACE)
    told = refused("--space", str(runs.write_space(tmp_path, text)))
    for word in words:
        assert word in told
    if part:
        assert f"tiny.yaml:{line_of(text, part)}" in told


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path, refused: Refused) -> None:
    text = runs.SPACE.replace("epochs: 3", "epochs: many").replace("lm: {weight: 1}", "lm: {weight: -1}")
    told = refused("--space", str(runs.write_space(tmp_path, text)))
    assert "training.epochs" in told
    assert "losses.lm.weight" in told


def test_a_missing_file_is_told(refused: Refused) -> None:
    assert "spaces/dlip.yaml" in refused("--space", "nowhere.yaml")


def test_an_empty_file_is_told(tmp_path: Path, refused: Refused) -> None:
    assert "empty file" in refused("--space", str(runs.write_space(tmp_path, "")))


def test_all_losses_at_zero_are_told(tmp_path: Path, refused: Refused) -> None:
    names = ("itc", "lm", "vqa", "image_embedding", "text_embedding")
    zero = [f"--set=losses.{name}.weight=0" for name in names]
    told = refused("--space", str(runs.write_space(tmp_path)), *zero)
    assert "weight 0 for every loss" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--teacher", "embeded"), ("'embeded'", "embedded")),
        (("--teacher", "no/such/folder"), ("no/such/folder", "folder")),
        (("--dataset", "scene"), ("--dataset scene", "scenes")),
        (("--set", "training.epochs"), ("path=value",)),
        (("--set", "training.epocs=3"), ("training.epocs", "epochs")),
        (("--set", "losses.itc.weight={log: [0, 1]}"), ("--set", "losses.itc.weight")),
        (("--trials", "0"), ("--trials 0", "search.trials")),
        (("--workers-per-trial", "0"), ("--workers-per-trial 0",)),
        (("--seed", "-1"), ("--seed -1",)),
    ],
)
def test_a_mistake_in_a_flag_is_told_with_the_flag(
    arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    told = refused("--space", str(runs.write_space(tmp_path)), *arguments)
    for word in words:
        assert word in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--workers-per-trial", "64"), ("64 CPUs", "workers_per_trial")),
        (("--set", "resources.cpus_per_worker=999"), ("999 CPUs", "cpus_per_worker")),
        (("--set", "resources.gpus_per_worker=99"), ("99 GPUs", "gpus_per_worker")),
    ],
)
def test_a_trial_that_this_machine_cannot_hold_is_told(
    arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    told = refused("--space", str(runs.write_space(tmp_path)), *arguments)
    for word in words:
        assert word in told


def test_limits_that_no_candidate_meets_are_told_with_the_nearest(tmp_path: Path, refused: Refused) -> None:
    told = refused("--space", str(runs.write_space(tmp_path)), "--set=limits.params.max=1000")
    assert "params <= 1.00 k" in told
    assert "nearest" in told
    assert "limits.params" in told
