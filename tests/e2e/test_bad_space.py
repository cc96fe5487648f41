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
    "a cost to be raised": (put("params: min", "params: max"), "params: max", ("objectives.params", "got max; allowed: min")),
    "a quality to be lowered": (
        put("retention: max", "retention: min"),
        "retention: min",
        ("objectives.retention", "got min; allowed: max"),
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
    "a kind that no family has": (
        put("kind: blip", "kind: blib"),
        "kind: blib",
        ("student.kind", "'blib'", "Did you mean 'blip'?"),
    ),
    "an unknown option of a part of the student": (
        put("fusion: {layers: 1}", "fusion: {layers: 1, placment: first}"),
        "placment",
        ("student.fusion.placment", "layers, placement"),
    ),
    "a needed option that is missing": (
        put("{width: 0.25x, depth: 1,", "{width: 0.25x,"),
        "  text:",
        ("student.text.depth", "missing"),
    ),
    "a student that cannot do what is asked": (
        put("fusion: {layers: 1}", "fusion: {layers: 0}"),
        "student:",
        ("cannot do vqa, captioning", "answer.logits", "allow_partial: true"),
    ),
    "a condition on what is not searched": (
        put("default: 1}, init", "default: 1, when: {student.text.width: 0.25x}}, init"),
        "when:",
        ("student.image.depth", "student.text.width", "not searched"),
    ),
    "a condition on a path that there is none": (
        put("default: 1}, init", "default: 1, when: {student.image.widht: 0.25x}}, init"),
        "when:",
        ("student.image.widht", "Did you mean 'student.image.width'?"),
    ),
    "a condition on a value that cannot be": (
        put("default: 1}, init", "default: 1, when: {student.image.width: 0.75x}}, init"),
        "when:",
        ("student.image.width", "'0.75x'", "'0.25x', '0.5x'"),
    ),
    "an unknown task": (
        put("evaluation:", "tasks: [retrieval, answering]\nevaluation:"),
        "tasks:",
        ("tasks.answering", "captioning, classification, matching, neighbours, nlvr2, retrieval, vqa"),
    ),
    "a task named twice": (put("evaluation:", "tasks: [vqa, vqa]\nevaluation:"), "tasks:", ("tasks", "'vqa' twice")),
    "an option of a task that has none": (
        put("evaluation:", "tasks: {matching: {beams: 3}}\nevaluation:"),
        "tasks:",
        ("tasks.matching.beams", "unknown option"),
    ),
    "an objective of a task that is not asked for": (
        lambda text: text.replace("retention: max", "vqa_accuracy: max") + "tasks: [retrieval]\n",
        "vqa_accuracy: max",
        ("objectives.vqa_accuracy", "mean_recall", "nothing produces"),
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


def test_settings_with_and_without_their_flag_are_told_alike(tmp_path: Path, refused: Refused) -> None:
    space = runs.write_space(tmp_path)
    told = refused("--space", str(space), "--set", "training.epochs=many", "losses.itc.weight=-1")
    assert "--set training.epochs=many, training.epochs: got 'many'" in told
    assert "--set losses.itc.weight=-1, losses.itc.weight: got -1" in told


def test_a_setting_without_a_value_is_no_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from search.run import main

    with pytest.raises(SystemExit) as ended:
        main(["--space", str(runs.write_space(tmp_path)), "training.epochs"])
    assert ended.value.code == 2
    assert "error: got 'training.epochs'; allowed: flags, and PATH=VALUE" in capsys.readouterr().err


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
        (("--teacher", "embeded"), ("--teacher embeded", "Did you mean 'embedded'?", "a hub id")),
        (("--teacher", "no/such/folder"), ("no/such/folder", "folder")),
        (("--dataset", "scene"), ("--dataset scene", "scenes")),
        (("--set", "training.epochs"), ("path=value",)),
        (("--set", "training.epocs=3"), ("training.epocs", "epochs")),
        (("--set", "losses.itc.weight={log: [0, 1]}"), ("--set", "losses.itc.weight")),
        (("--trials", "0"), ("--trials 0", "search.trials")),
        (("--workers-per-trial", "0"), ("--workers-per-trial 0",)),
        (("--seed", "-1"), ("--seed -1",)),
        # more than this machine holds
        (("--workers-per-trial", "64"), ("64 CPUs", "workers_per_trial")),
        (("--set", "resources.cpus_per_worker=999"), ("999 CPUs", "cpus_per_worker")),
        (("--set", "resources.gpus_per_worker=99"), ("99 GPUs", "gpus_per_worker")),
    ],
)
def test_a_mistake_in_a_flag_is_told_with_what_it_is_about(
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


def test_what_the_file_alone_shows_is_told_before_what_takes_longer_and_each_once(
    tmp_path: Path, refused: Refused
) -> None:
    text = runs.SPACE.replace("itc: {weight:", "itc: {wait: 1, weight:").replace("epochs: 3", "epochs: many")
    told = refused("--space", str(runs.write_space(tmp_path, text))).splitlines()
    at_once, later = line_of(text, "epochs: many"), line_of(text, "wait: 1")
    assert at_once > later
    assert [line.partition(", ")[0].rpartition(":")[2] for line in told] == [str(at_once), str(later)]
