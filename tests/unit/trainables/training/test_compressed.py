"""Models quantised to int8 and pruned by magnitude, against what can be counted by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.unit.trainables.small import lively, make_job, small_config, write_teacher
from trainables.costs.subject import Subject
from trainables.costs.target import Target
from trainables.families.base import Blueprint
from trainables.families.towers.timm_backbone import measure
from trainables.signals import Serving
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
ALL = {"retrieval": {"rerank": 2}, "captioning": {}, "vqa": {}}


def servings() -> list[Serving]:
    """Return the passes of all tasks."""
    return servings_of(make_tasks(ALL).values(), Blueprint("blip", small_config()).offers)


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


class Whole(nn.Sequential):
    """Eight layers, in one pass."""

    def __init__(self) -> None:
        super().__init__(*(nn.Linear(256, 256) for _ in range(8)))

    def pass_inputs(self, mode: str, tokens: int) -> Tensor:
        return torch.zeros(1, 256)

    def run_pass(self, mode: str, inputs: Tensor) -> Tensor:
        found: Tensor = self(inputs)
        return found


def test_weights_in_int8_differ_by_half_a_step_at_most_and_take_a_quarter_of_the_room() -> None:
    model = lively(small_config())
    made = quantised(model, servings())
    assert made.text_network.layers[0].intermediate.__class__ is not nn.Linear
    for name, layer in model.named_modules():
        if type(layer) is nn.Linear:
            weight = made.get_submodule(name).weight().dequantize()
            step = float(layer.weight.detach().abs().max()) / 127
            assert float((weight - layer.weight.detach()).abs().max()) <= step * 0.51 + 1e-6, name
    linear = Whole()
    share = disk_mib(quantised(linear, [Serving(mode="all")])) / disk_mib(linear)  # type: ignore[arg-type]
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


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("beit_base_patch16_224", {"img_size": 32, "embed_dim": 32, "depth": 1, "num_heads": 2}),
        ("eva02_tiny_patch14_224", {"img_size": 28, "embed_dim": 32, "depth": 1, "num_heads": 2}),
    ],
)
def test_layers_whose_weights_are_read_from_outside_stay_as_they_are(
    name: str, sizes: dict[str, Any]
) -> None:
    side = sizes["img_size"]
    architecture = measure(name, {"num_classes": 3, "input_size": [3, side, side]}, sizes, ("a", "b", "c"))
    model = Blueprint("timm_backbone", architecture).build().eval()
    made = quantised(model, [Serving(mode="image")])
    inputs = model.pass_inputs("image", 0)
    with torch.no_grad():
        mine, theirs = made.run_pass("image", inputs), model.run_pass("image", inputs)
    assert str(type(mine)) == str(type(theirs))
    kinds = {type(layer) for path, layer in made.named_modules() if path.endswith(("qkv", "q_proj"))}
    assert kinds == {nn.Linear}
    assert any("quantized" in type(layer).__module__ for layer in made.modules())


@pytest.mark.parametrize(
    "form", [lambda model: quantised(model, servings()), lambda model: pruned(model, 1000)]
)
def test_other_forms_say_what_the_model_says_in_the_same_shapes(form: object) -> None:
    model = lively(small_config())
    made = form(model)  # type: ignore[operator]
    inputs = model.pass_inputs("image", 0)
    with torch.no_grad():
        mine, theirs = made.run_pass("image", inputs), model.run_pass("image", inputs)
    assert str(type(mine)) == str(type(theirs))
