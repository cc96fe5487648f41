"""The trainings of a line: where each begins, and by what it is known again."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.finals.lines import LONGER, SEARCHED, Asked, Beat, Draft, Line, of_workers, stages_of
from search.finals.pace import Pace
from tests.unit.trainables.small import candidate_config, make_job
from trainables.tasks.vqa import Vqa
from trainables.training.measuring import Measuring


def draft(folder: Path, **changes: Any) -> Draft:
    configs = {
        name: candidate_config(epochs=epochs)
        for name, epochs in ((SEARCHED, 3), (LONGER, 5), ("vqa", 2), ("captioning", 2))
    }
    fields: dict[str, Any] = {
        "candidate_id": "0badcafe",
        "method": "student",
        "seed": 0,
        "job": make_job(folder / "teacher", folder),
        "taught_by": "a teacher",
        "configs": configs,
        "tasks": {name: {"vqa": {}} for name in configs},
        "epoch_s": dict.fromkeys(configs, 2.0),
    }
    return Draft(**(fields | changes))


def test_each_training_begins_with_the_weights_of_the_one_before_and_those_of_tasks_with_the_longer_one(
    tmp_path: Path,
) -> None:
    searched, longer, vqa, captioning = stages_of(draft(tmp_path), tmp_path)
    assert searched.job.start == ""
    assert longer.job.start == searched.job.folder
    assert vqa.job.start == captioning.job.start == longer.job.folder
    assert [one.job.epochs for one in (searched, longer, vqa, captioning)] == [3, 5, 2, 2]
    assert len({one.job.folder for one in (searched, longer, vqa, captioning)}) == 4


def test_a_training_is_known_again_wherever_the_run_lies_and_not_with_other_options(tmp_path: Path) -> None:
    found = stages_of(draft(tmp_path), tmp_path)
    moved = draft(tmp_path)
    moved = replace(moved, job=replace(moved.job, storage="elsewhere", cache="elsewhere", threads=7))
    assert [one.key for one in stages_of(moved, tmp_path / "moved")] == [one.key for one in found]
    other = draft(tmp_path)
    faster = {**other.configs, SEARCHED: candidate_config(lr=1.0)}
    changed = stages_of(replace(other, configs=faster), tmp_path)
    assert not {one.key for one in changed} & {one.key for one in found}, "all of them begin with the first"
    taught = stages_of(replace(other, taught_by="another"), tmp_path)
    assert not {one.key for one in taught} & {one.key for one in found}
    workers = stages_of(replace(other, workers=8), tmp_path)
    assert not {one.key for one in workers} & {one.key for one in found}
    assert not {one.job.folder for one in workers} & {one.job.folder for one in found}
    later = {**other.configs, "vqa": candidate_config(lr=1.0)}
    keys = [one.key for one in stages_of(replace(other, configs=later), tmp_path)]
    assert [one == two.key for one, two in zip(keys, found, strict=True)] == [True, True, False, True]


def test_trainings_of_one_worker_have_the_keys_of_before() -> None:
    assert of_workers(1) == {}
    assert of_workers(8) == {"workers": 8}


def test_what_is_left_is_told_by_what_was_done_on_the_way(tmp_path: Path) -> None:
    lines = [
        Line(candidate_id="0badcafe", method="student", seed=0, stages=stages_of(draft(tmp_path), tmp_path))
    ]
    told: list[str] = []
    pace = Pace(lines, say=told.append, slots=2)
    assert pace.total == 12
    assert pace.expected_s == 24.0
    pace.hear("something else")
    assert told == ["something else"]
    for stage in lines[0].stages:
        pace.hear(Beat(key=stage.key, epochs=stage.job.epochs).told())
    pace.line_through()
    assert told[1:] == ["finals: 12 of 12 epochs, 1 of 1 through, about 0 s left"]


def test_what_is_loaded_before_the_first_epoch_is_not_counted_with_those_that_are_left(
    tmp_path: Path,
) -> None:
    lines = []
    for seed in range(3):
        configs = {LONGER: candidate_config(epochs=12, lr=1e-3 * (1 + seed))}
        stages = stages_of(draft(tmp_path, configs=configs), tmp_path)
        lines.append(Line(candidate_id="0badcafe", method="student", seed=seed, stages=stages))
    now, told = [0.0], list[str]()
    pace = Pace(lines, say=told.append, slots=2, clock=lambda: now[0])
    now[0] = 100.0  # two trainings load their data for so long, then an epoch of either takes ten seconds
    for epochs in (1, 2, 3, 4):
        for line in lines[:2]:
            pace.hear(Beat(key=line.stages[0].key, epochs=epochs).told())
        now[0] += 10.0 * (epochs < 4)
    # 8 of 36 epochs are through, 6 of them in 30 seconds, so that 28 take 140; one before it was told of 5 in 30
    assert pace.left_s() == 140.0
    assert told[-1] == "finals: 7 of 36 epochs, 0 of 3 through, about 2 min 54 s left"


def test_a_training_that_went_on_does_not_count_its_old_epochs(tmp_path: Path) -> None:
    stages = stages_of(draft(tmp_path), tmp_path)
    now, told = [0.0], list[str]()
    pace = Pace(
        [Line(candidate_id="0badcafe", method="student", seed=0, stages=stages)],
        say=told.append,
        slots=1,
        clock=lambda: now[0],
    )
    pace.hear(Beat(key=stages[0].key, epochs=1).told())
    now[0] = 10.0
    pace.hear(Beat(key=stages[0].key, epochs=2).told())
    assert math.isnan(pace.left_s())
    assert told == [
        "finals: 2 of 12 epochs, 0 of 1 through, about 20 s of training, as long as an epoch took in the search"
    ]
    now[0] = 20.0
    pace.hear(Beat(key=stages[0].key, epochs=3).told())
    assert pace.left_s() == 90.0, "two epochs in 20 seconds, and 9 are left"


def test_a_beat_survives_as_a_line() -> None:
    assert Beat.heard(Beat(key="a1", epochs=7).told()) == Beat(key="a1", epochs=7)
    assert Beat.heard("epochs are long") is None


def test_figures_are_known_again_as_long_as_the_metrics_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher beside them is measured anew then, too."""
    answers = tmp_path / "answers.txt"
    answers.write_text("red\n")
    order = Measuring(
        teacher="a", teacher_fingerprint="", dataset={"kind": "scenes"}, dataset_fingerprint="", split="test",
        tasks={"vqa": {"decode": "rank", "answers": str(answers)}}, evaluation={}, device="cpu",
    )  # fmt: skip
    asked = Asked(of=LONGER, order=order)
    before = asked.key
    assert Asked(of=LONGER, order=replace(order, device="cuda", student="elsewhere")).key == before
    answers.write_text("blue\n")
    edited = asked.key
    assert edited != before
    monkeypatch.setattr(Vqa, "version", Vqa.version + 1)
    assert asked.key not in (before, edited)
