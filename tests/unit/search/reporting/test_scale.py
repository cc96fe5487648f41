"""The shipped space at the paper's scale, planned without weights, data and network: sizes against what was published."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from search.inputs.inputs import Inputs
from search.reporting.plan import describe, plan_lines
from search.reporting.scale import _teacher_flops
from spaces.errors import SpaceError
from spaces.load import load_space
from trainables.costs.subject import Subject
from trainables.signals import Serving, Want

SPACE = Path(__file__).parents[4] / "spaces" / "dlip_coco.yaml"
PUBLISHED_PARAMS = 223_744_258  # of BlipForImageTextRetrieval at 384 pixels
PAIR = (Serving(mode="image"), Serving(mode="fused", tokens=30))  # what published FLOPs count, with 30 tokens
WHOLE = frozenset({Want("image", "embedding"), Want("text", "embedding"), Want("fused", "logits")})
MIDDLE: dict[str, Any] = {
    "student.image.width": "0.75x",
    "student.text.width": "0.75x",
    "student.text.depth": "0.67x",
    "student.text.mlp_ratio": 5.334,
}
SMALL: dict[str, Any] = {}  # the default candidate


def planned(*changes: str) -> Inputs:
    return Inputs(load_space(SPACE, changes), say=lambda line: None, planned=True)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return planned()


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample few candidates: each is counted on the meta device."""
    monkeypatch.setattr("search.reporting.plan.SAMPLE", 4)


def costs(inputs: Inputs, values: dict[str, Any]) -> tuple[int, float]:
    """Return params and FLOPs of a pair of the student at a point of the space."""
    default = inputs.space.default_values()
    assert default is not None
    assert values.keys() <= default.keys(), "a point of the space"
    candidate = inputs.space.build({**default, **values}, inputs.students, 0)
    part = inputs.students.plan(candidate.config).training.deployed(WHOLE)
    found = inputs.store.static(Subject(blueprint=part, servings=PAIR))
    return found.params, found.flops


def teacher_costs(inputs: Inputs) -> tuple[int, float]:
    found = inputs.store.static(Subject(blueprint=inputs.teacher.blueprint.deployed(WHOLE), servings=PAIR))
    return found.params, found.flops


def test_the_teacher_has_the_published_size(inputs: Inputs) -> None:
    """Multiply-adds of a pair; at 224 pixels its table of positions has 197 rows instead of 577."""
    params, flops = teacher_costs(planned("teacher=Salesforce/blip-itm-base-coco"))
    assert params == PUBLISHED_PARAMS
    assert flops / 2 == pytest.approx(66.96e9, rel=2e-3)
    params, flops = teacher_costs(inputs)
    assert params == PUBLISHED_PARAMS - (577 - 197) * 768
    assert flops / 2 == pytest.approx(23.45e9, rel=2e-3)


def test_the_small_student_of_the_paper_is_a_point_of_the_space(inputs: Inputs) -> None:
    """22.4 % of the params and 24.8 % of the FLOPs; its sizes are not published, so that two points are left open."""
    whole, small = teacher_costs(inputs), costs(inputs, SMALL)
    assert small[0] / whole[0] == pytest.approx(0.224, abs=0.012)
    assert small[1] / whole[1] == pytest.approx(0.248, abs=0.021)


def test_the_middle_student_of_the_paper_is_a_point_of_the_space(inputs: Inputs) -> None:
    """108 million params, which beside "213M" for the teacher are 2**20 each."""
    whole, middle = teacher_costs(inputs), costs(inputs, MIDDLE)
    assert middle[0] == pytest.approx(108 * 2**20, rel=0.01)
    assert middle[0] / whole[0] == pytest.approx(0.51, abs=0.01)


def test_a_plan_says_what_it_takes_for_granted(inputs: Inputs) -> None:
    told = "\n".join(describe(inputs, measure=False))
    assert "teacher Salesforce/blip-itm-base-coco" in told
    assert "planned from its config alone" in told
    assert (
        "data/coco is not here; planned with what plan.data says, 4,073,287 images with 5,195,747 captions"
        in told.replace(str(Path.cwd()) + "/", "")
    )


def numbers(lines: list[str], pattern: str) -> list[float]:
    (found,) = [match for line in lines if (match := re.search(pattern, line))]
    return [float(one.replace(",", "")) for one in found.groups()]


def test_device_hours_follow_from_the_printed_formula(inputs: Inputs) -> None:
    lines = plan_lines(inputs)
    (student, visits) = numbers(lines, r"student: ([\d.]+) GFLOPs .* x ([\d.e+]+) pairs")
    (teacher, seen) = numbers(lines, r"teacher: ([\d.]+) GFLOPs .* x ([\d.e+]+) pairs")
    (epochs,) = numbers(lines, r"trials: 24, about (\d+) epochs")
    hours, eighth, most, one = numbers(
        lines,
        r": ([\d,]+) device-hours, ([\d,]+) hours on the 8 devices .*; ([\d,]+) device-hours where .* end ([\d,]+)",
    )
    rate = 0.35 * 312e12 * 3600
    assert visits == seen == pytest.approx(epochs * 4e6, rel=0.01)
    assert hours == pytest.approx((3 * student + teacher) * 1e9 * visits / rate, rel=0.02)
    assert eighth == pytest.approx(hours / 8, abs=0.6)  # both are whole numbers
    assert one == pytest.approx((3 * student + teacher) * 1e9 * 20 * 4e6 / rate, abs=0.7)
    assert most == pytest.approx(24 * one, abs=24 * 0.7)


def test_a_cache_is_filled_once_and_its_size_told() -> None:
    """Of an embedding loss alone: 256 numbers of two bytes for each picture."""
    losses = "losses={itc: {weight: 1}, image_embedding: {weight: 1}}"
    as_they_are = ("dataset.vary=false", "dataset.least_part=0.5")
    lines = plan_lines(planned(losses, *as_they_are, "teacher_cache={kind: cached}", "plan.mfu=0.5"))
    (size,) = numbers(lines, r"disk for teacher caches: ([\d.,]+) GiB at float16")
    assert size == pytest.approx(4_073_287 * 256 * 2 / 2**30, abs=0.06)
    (seen,) = numbers(lines, r"once, into the cache: .* x ([\d.e+]+) pairs")
    assert seen == pytest.approx(5_195_747, rel=0.01)
    assert any("at 0.5 (plan.mfu, assumed) of A100 of 312 TFLOP/s" in line for line in lines)


def test_of_several_checkpoints_those_that_losses_ask_are_counted() -> None:
    losses = "losses={itc: {weight: 1}, image_embedding: {weight: 1}}"
    one, more = "Salesforce/blip-itm-base-coco", "captioning=Salesforce/blip-image-captioning-base"
    found = [
        _teacher_flops(planned(losses, f"teacher='{name},image_size=224'"))
        for name in (one, f"retrieval={one},{more}")
    ]
    assert found[0] == found[1]


def test_sizes_of_data_that_is_here_are_told_not_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache is then filled for the captions that there are: two of each picture."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = []
    for number in range(6):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(tmp_path / f"{number}.png")
        split = "val" if number > 3 else "train"
        captions = [f"a picture {number}", f"another {number}"]
        rows.append({"image": f"{number}.png", "captions": captions, "split": split})
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = f"dataset={{kind: jsonl, file: {tmp_path / 'pairs.jsonl'}}}"
    losses = "losses={itc: {weight: 1}, image_embedding: {weight: 1}}"
    lines = plan_lines(planned(data, losses, "teacher_cache={kind: cached}"))
    assert "plan.data (coco, vg, cc, sbu) is not read: the data is here, and counts itself" in lines
    (seen,) = numbers(lines, r"once, into the cache: .* x ([\d.e+]+) pairs")
    assert seen == 2 * 4


def test_without_plan_data_what_is_not_here_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"data/coco"):
        planned("plan.data={}")


def test_options_of_a_plan_are_checked() -> None:
    for change, message in (
        ("plan.device=TPU", "allowed: A100, H100, H200, L4, L40S, V100"),
        ("plan.mfu=1.2", "got 1.2"),
        ("plan.mfu=0", "got 0"),
        ("plan.peak_tflops=-3", "got -3"),
        ("plan.data={coco: {images: 0}}", "got 0"),
        ("plan.data={coco: {pictures: 3}}", "pictures"),
    ):
        with pytest.raises(SpaceError, match=re.escape(message)):
            planned(change)
