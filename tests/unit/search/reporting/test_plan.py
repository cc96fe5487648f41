"""The dry run: what it says of dimensions, of what they depend on, and of candidates that will not be trained."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from search.inputs.inputs import FLOPS_PER_CPU_S, Inputs
from search.reporting.plan import describe, plan_lines
from tests.unit.search.earlier_run import prepare


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the space file."""
    return tmp_path_factory.mktemp("space")


@pytest.fixture(scope="module")
def lines(place: Path) -> list[str]:
    """Return the plan of the tiny space."""
    return plan_lines(prepare(place))


def count(lines: list[str], pattern: str) -> tuple[int, ...]:
    """Return the numbers in the one line that a pattern matches."""
    (found,) = [match for line in lines if (match := re.fullmatch(pattern, line))]
    return tuple(map(int, found.groups()))


def test_each_dimension_is_told_with_what_it_depends_on(lines: list[str]) -> None:
    dimensions = lines[1 : lines.index(next(line for line in lines if line.startswith("roundings")))]
    assert [line.strip().partition(":")[0] for line in dimensions] == [
        "student.image.width",
        "student.image.depth",
        "student.fusion.layers",
        "student.fusion.placement",
        "losses.itc.weight",
        "losses.lm.weight",
    ]
    conditions = [line.rpartition("  ")[2] for line in dimensions if line.endswith("]")]
    assert conditions == ["[only where student.fusion.layers is not 0]"]


def test_options_of_a_loss_depend_on_its_weight(place: Path) -> None:
    hidden = "losses.image_hidden={weight: {choice: [1], zero: 0.5}, layers: {choice: [last, all]}}"
    huge = "training.warmup_steps={int: [1, 3000000], default: 50}"  # told by its ends, and listed nowhere
    lines = plan_lines(
        prepare(place, hidden, huge, "student.fusion.placement={choice: [last, first], default: last}")
    )
    assert "  training.warmup_steps: {'int': [1, 3000000], 'default': 50}" in lines
    assert max(map(len, lines)) < 1000
    (told,) = [line for line in lines if "[only where" in line]
    assert told.startswith("  losses.image_hidden.layers: ")
    assert told.endswith("  [only where losses.image_hidden.weight is not 0]")


def test_what_was_rounded_is_told(place: Path) -> None:
    assert "roundings: none" in plan_lines(prepare(place))
    lines = plan_lines(prepare(place, "student.text.depth=0.25x"))
    (told,) = [line for line in lines if line.startswith("  student.text.depth 0.25x of ")]
    assert lines[lines.index(told) - 1] == "roundings:"


def test_all_of_the_sample_is_admitted_or_rejected_with_a_reason(place: Path) -> None:
    free = plan_lines(prepare(place))
    admitted, total = count(free, r"admitted: (\d+) of (\d+) random candidates")
    assert admitted == total > 0
    tight = plan_lines(prepare(place, "limits.params.max=10"))
    admitted, total = count(tight, r"admitted: (\d+) of (\d+) random candidates")
    assert (admitted, count(tight, r"  rejected (\d+): params <= 10\b.*")) == (0, (total,))


def test_students_that_can_feed_no_loss_are_counted_as_rejected(place: Path) -> None:
    # without a fusion layer nothing feeds the caption loss, which is the only one
    only_lm = (
        "losses.itc.weight=0",
        "losses.lm.weight=1",
        "student.fusion.layers={choice: [0, 1], default: 1}",
    )
    lines = plan_lines(prepare(place, *only_lm))
    admitted, total = count(lines, r"admitted: (\d+) of (\d+) random candidates")
    (rejected,) = count(lines, r"  rejected (\d+): losses: .*")
    assert admitted + rejected == total
    assert admitted > 0 < rejected
    assert any(line.startswith("estimated time: ") for line in lines)


def test_a_run_begins_with_what_decides_its_results(place: Path) -> None:
    inputs: Inputs = prepare(place, "losses.vqa.weight=1", "training.warmup_steps=2")
    lines = describe(inputs)
    assert lines[0].startswith("teacher embedded: ")
    assert "tasks: retrieval, vqa, captioning (all that teacher and data allow)" in lines
    assert any("rungs [1]" in line for line in lines)
    assert not any("left out" in line or "WARNING" in line for line in lines)


def test_what_checkpoints_of_every_epoch_take_on_disk_is_told(place: Path) -> None:
    by_default = plan_lines(prepare(place))
    assert not any("checkpoints of every epoch" in line for line in by_default)
    assert any(
        "of the students on a front" in line and "(checkpoints.keep: fronts)" in line for line in by_default
    )
    inputs = prepare(place, "checkpoints.every_epoch=true")
    lines = plan_lines(inputs)
    assert "weights that are kept: of all that were trained (checkpoints.keep: all)" in lines
    (line,) = [line for line in lines if line.startswith("checkpoints of every epoch: ")]
    found = re.fullmatch(
        r".*: about ([\d.]+) MiB each, up to ([\d.]+) GiB for (\d+) trials of (\d+) epochs", line
    )
    assert found is not None
    each, whole, trials, epochs = map(float, found.groups())
    assert (trials, epochs) == (inputs.space.search.trials, inputs.space.training.epochs)
    assert whole == pytest.approx(each * trials * epochs / 1024, abs=0.01 + 0.05 * trials * epochs / 1024)


def test_what_the_options_of_a_task_make_of_its_figures_is_told(place: Path) -> None:
    lines = describe(prepare(place, "tasks={retrieval: {}, batch_matching: {batch_size: 16}}"))
    assert (
        "task batch_matching: batch_matching_top1 finds a caption among those of 16 pictures; it is no recall"
        in lines
    )


def test_what_the_teacher_can_do_is_told_beside_guessing(place: Path) -> None:
    (line,) = [line for line in describe(prepare(place)) if " on the validation split, in percent: " in line]
    # 32 pictures with a caption each, all of them different: (1 + 5 + 10) / 3 of 32
    assert re.search(r"mean_recall \d+\.\d \(guessing 16\.7\)", line)
    assert re.search(r"vqa_accuracy \d+\.\d \(guessing \d+\.\d\)", line)


def test_a_dry_run_measures_no_teacher_that_takes_long(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs: Inputs = prepare(place, "evaluation.images=31")  # of its own: nothing is kept of it
    assert inputs.is_soon_measured()
    monkeypatch.setattr(
        "search.inputs.inputs.PLAN_S", 31 * inputs.measures["embedded"].static.flops / FLOPS_PER_CPU_S
    )  # and data
    assert not inputs.is_soon_measured()
    lines = describe(inputs, measure=False)
    assert lines[1].startswith("teacher embedded: not measured on this data yet")
    assert "teacher_metrics" not in vars(inputs)  # nor behind the scenes
    assert inputs.teacher_metrics
    assert inputs.is_soon_measured()  # kept now


def test_a_teacher_at_chance_is_told_loudly_before_anything_is_trained(place: Path) -> None:
    inputs: Inputs = prepare(place, "search.seed=5")  # of its own: the figures are changed
    inputs.metrics_of_teachers = {
        "embedded": {"mean_recall": 17.0, "vqa_accuracy": 80.0, "caption_token_accuracy": 70.0}
    }
    *_, line = describe(inputs)
    assert line.startswith(
        "WARNING: the teacher embedded is not clearly better than guessing (mean_recall 17.0 %, guessing 16.7 %, "
    )
    assert "mean_recall should not count in retention" in line
    facts = inputs.run_facts()
    assert [f"WARNING: {one}" for one in facts["caveats"]] == [line]
    assert facts["teacher"]["guessing"]["mean_recall"] == pytest.approx(100 / 6)


def test_a_teacher_no_better_than_the_blind_student_is_told_once_that_is_known(place: Path) -> None:
    inputs: Inputs = prepare(place)
    sees = inputs.teacher_metrics["vqa_accuracy"]
    assert inputs.caveats({"mean_recall": 3.0, "vqa_accuracy": sees / 4, "retention": 30.0}) == []
    (sentence,) = inputs.caveats({"mean_recall": 3.0, "vqa_accuracy": sees, "retention": 30.0})
    told = f"not clearly better than a student that sees no image (vqa_accuracy {sees:.1f} %"
    assert told in sentence


def test_captions_that_are_too_few_to_tell_pictures_apart_are_told(place: Path) -> None:
    texts = {
        "train": ["a red circle"] * 2,
        "val": ["a red circle", "a blue ring", "a red circle", "a red circle"],
    }
    rows = []
    for split, captions in texts.items():
        for number, caption in enumerate(captions):
            name = f"{split}{number}.png"
            Image.new("RGB", (8, 8), (60 * number, len(split), 0)).save(place / name)
            rows.append({"image": name, "caption": caption, "split": split})
    (place / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = describe(prepare(place, f"dataset={{kind: jsonl, file: {place}/few.jsonl}}"))
    assert [line for line in lines if line.startswith("val split: ")] == [
        "val split: retrieval tells only 2 different captions of 4 pictures apart: equal captions count as right, so that "
        "its recalls rank kinds of pictures, not pictures"
    ]
    assert not [line for line in describe(prepare(place)) if " split: " in line]


def test_where_nobody_is_stopped_the_epochs_are_all_of_them(place: Path) -> None:
    assert "trials: 6, about 10 epochs with early stopping (at most 18)" in plan_lines(prepare(place))
    for scheduler in ("{kind: asha, rungs: [1], reduction_factor: 1}", "{kind: moasha, rungs: []}"):
        lines = plan_lines(prepare(place, f"search.scheduler={scheduler}"))
        assert "trials: 6, 18 epochs, nobody is stopped early" in lines


def test_what_is_trained_beside_the_trials_is_told(place: Path) -> None:
    sizes = "image: {width: 0.5x, depth: 4}, text: {width: 0.5x, depth: 2}, fusion: {layers: 1}"
    stock = f"baselines={{stock: {{kind: blip, {sizes}}}}}"
    told = (
        "baselines: stock (blip); trained as the default candidate is, within no limits, beside the 6 trials"
    )
    assert told in describe(prepare(place, stock), measure=False)
    assert not [line for line in describe(prepare(place), measure=False) if "come first" in line]
    lines = describe(prepare(place, "training.lr={log: [1e-4, 1e-2]}"), measure=False)
    assert "no blind student and no default candidate come first: training.lr has no default" in lines


def test_students_that_all_cost_more_than_the_teacher_are_told_to_have_no_hypervolume(place: Path) -> None:
    assert not [line for line in plan_lines(prepare(place)) if line.startswith("hypervolume")]
    head = ("student={kind: simple_projection}", "losses={image_logit: {weight: 1}}", "search.start=[]")
    (line,) = [one for one in plan_lines(prepare(place, *head, "tasks=[retrieval]")) if "hypervolume" in one]
    assert "none of which has less" in line
    assert "flops" in line
