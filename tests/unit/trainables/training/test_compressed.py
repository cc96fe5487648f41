"""Models quantised to int8 and pruned by magnitude, against what can be counted by hand."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.unit.trainables.small import lively, make_job, small_config, write_teacher
from trainables.costs.subject import Subject
from trainables.costs.target import Target
from trainables.families.base import Blueprint
from trainables.tasks.base import servings_of
from trainables.tasks.evaluation import make_tasks
from trainables.training.compressed import (
    FLOAT32,
    INT8,
    Forms,
    disk_mib,
    measure_forms,
    num_weights,
    pruned,
    quantised,
)
from trainables.training.measuring import Measuring, measure_model

TASKS = {"retrieval": {}, "vqa": {}}


def test_the_largest_weights_stay_and_no_more_than_were_asked_for() -> None:
    model = lively(small_config())
    whole = num_weights(model)
    keep = whole // 2
    made = pruned(model, keep)
    assert num_weights(made) == keep
    assert num_weights(model) == whole, "the model itself is left alone"
    layers = [
        (one, other)
        for one, other in zip(model.modules(), made.modules(), strict=True)
        if isinstance(one, nn.Linear | nn.Conv2d | nn.Embedding)
    ]
    left = torch.cat([one.weight[other.weight != 0].abs() for one, other in layers])
    gone = torch.cat([one.weight[other.weight == 0].abs() for one, other in layers])
    assert len(gone)
    assert left.min() >= gone.max()
    assert all(
        torch.equal(one.weight[other.weight != 0], other.weight[other.weight != 0]) for one, other in layers
    )
    assert num_weights(pruned(model, 10 * whole)) == whole


def test_weights_in_int8_differ_by_half_a_step_at_most_and_take_a_quarter_of_the_room() -> None:
    model = lively(small_config())
    made = quantised(model)
    assert made.text_network.layers[0].intermediate.__class__ is not nn.Linear
    for name, layer in model.named_modules():
        if type(layer) is nn.Linear:
            weight = made.get_submodule(name).weight().dequantize()
            step = float(layer.weight.detach().abs().max()) / 127
            assert float((weight - layer.weight.detach()).abs().max()) <= step * 0.51 + 1e-6, name
    linear = nn.Sequential(*(nn.Linear(256, 256) for _ in range(8)))
    share = disk_mib(quantised(linear)) / disk_mib(linear)  # type: ignore[arg-type]
    assert 0.2 < share < 0.35
    zeros = nn.Linear(512, 512)
    nn.init.zeros_(zeros.weight)
    assert disk_mib(zeros, compressed=True) < 0.1 * disk_mib(zeros)


def test_all_forms_are_rows_with_the_figures_of_the_same_evaluation(tmp_path: Path) -> None:
    job = make_job(write_teacher(tmp_path / "teacher"), tmp_path)
    order = Measuring(
        teacher=job.teacher,
        teacher_fingerprint="",
        dataset=job.dataset,
        dataset_fingerprint="",
        split="test",
        tasks=TASKS,
        evaluation=job.evaluation,
        device="cpu",
    )
    blueprint = Blueprint("blip", small_config())
    subject = Subject(blueprint=blueprint, servings=servings_of(make_tasks(TASKS).values(), blueprint.offers))
    whole = num_weights(lively(small_config()))
    rows = measure_forms(Forms(order=order, subject=subject, keep={"all": 10 * whole, "none": 0}), Target())
    found = {row["form"]: row for row in rows}
    assert list(found) == [FLOAT32, INT8, "all", "none"]
    assert found[FLOAT32]["metrics"] == measure_model(order) == found["all"]["metrics"]
    assert found["none"]["costs"]["params"] < 0.2 * whole
    assert all(row["costs"]["latency_ms"] > 0 and row["costs"]["size_mib"] > 0 for row in rows)


@pytest.mark.parametrize("form", [quantised, lambda model: pruned(model, 1000)])
def test_other_forms_say_what_the_model_says_in_the_same_shapes(form: object) -> None:
    model = lively(small_config())
    made = form(model)  # type: ignore[operator]
    inputs = model.pass_inputs("image", 0)
    with torch.no_grad():
        mine, theirs = made.run_pass("image", inputs), model.run_pass("image", inputs)
    assert str(type(mine)) == str(type(theirs))
