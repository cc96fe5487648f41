"""The benchmark of a step at the size of a published teacher: it runs, on a CPU in small, and tells what it measured."""

import json
import math
from pathlib import Path

import pytest
import torch

from tests.benchmarks import device_step
from tests.benchmarks.paper_scale.made import SCALES, candidate, made_world, teacher_architecture
from trainables.families.base import Blueprint
from trainables.training.build import student_plan


def test_the_sizes_are_those_of_the_publications() -> None:
    """BLIP-base and its tied decoder; a student of 22.4 % of 213 Mi parameters (Kuang et al. 2023), as far as known."""
    scale = SCALES["paper"]
    teacher = Blueprint("blip", teacher_architecture(scale))
    around = made_world("tiny", torch.device("cpu"), Path()).teacher.around(())
    assert around.sizes["image.width"] == SCALES["tiny"].image[0]
    plan = student_plan(candidate(scale, "cached"), _around(teacher), ())

    def count(blueprint: Blueprint) -> int:
        return sum(one.numel() for one in blueprint.on_meta().parameters())

    assert count(teacher) == pytest.approx(252.1e6, rel=0.001)
    assert 0.2 < count(plan.training) / count(teacher) < 0.25


def _around(teacher: Blueprint) -> object:
    from tests.unit.trainables.small import around

    return around(teacher.architecture)


def test_it_measures_and_writes_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--device", "cpu", "--scale", "tiny", "--quick", "--parts", "steps"]
    words += ["--trainings", "cached", "straightforward"]
    assert device_step.main([*words, "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    rows = {row["name"]: row for row in found["steps"]["rows"]}
    assert list(rows) == ["cached", "straightforward"]
    for row in rows.values():
        assert row["step_ms"] > 0
        assert math.isfinite(row["loss"])
        assert row["mfu"] is None
    assert rows["straightforward"]["tflops"] > rows["cached"]["tflops"] > 0, (
        "the teacher's passes are counted"
    )
    assert "pairs/s" in capsys.readouterr().out


def test_a_gpu_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_step.main([]) == 2
    assert "--device: got cuda, and there is no GPU here; allowed: cpu" in capsys.readouterr().err
