"""Sizes that cannot be: each is told where the space is checked, before anything of that size is made."""

from pathlib import Path
from typing import Any

import pytest

from search.inputs.checks import loss_configs
from search.inputs.plugin_checks import check_plugins
from spaces.errors import IllegalCandidate, SpaceError
from spaces.load import Override, load_space
from tests.unit.search.earlier_run import SPACE
from trainables.families.blip.options import DEEPEST, WIDEST, resolved

TEACHER = {
    "image.width": 128, "image.depth": 6, "image.heads": 4, "text.width": 128, "text.depth": 12, "text.heads": 4,
    "fusion.layers": 6, "embedding": 64,
}  # fmt: skip
FIXED = {
    "training.epochs": 10**12,
    "evaluation.images": 10**15,
    "evaluation.captions_per_image": 10**9,
    "evaluation.questions_per_image": 10**9,
    "dataset.train_images": 10**12,
    "dataset.val_images": 10**9,
    "dataset.test_images": 10**9,
    "search.trials": 10**12,
    "search.stop.wall_hours": 1e300,
    "search.stop.device_hours": 1e300,
    "resources.workers_per_trial": 10**9,
    "resources.cpus_per_worker": 10**9,
    "resources.gpus_per_worker": 1e12,
    "latency.samples": 10**9,
}
SEARCHED = {
    "student.text.width": 10**9,
    "student.text.depth": 10**6,
    "student.text.heads": 10**9,
    "student.text.mlp_ratio": 1e12,
    "student.embedding": 10**9,
    "student.fusion.layers": 10**6,
    "training.batch_size": 10**9,
    "training.pairs_per_epoch": 10**12,
    "training.accumulate": 10**12,
    "training.warmup_steps": 10**15,
    "training.fused_every": 10**12,
}
RELATIVE = (
    "student.text.width",
    "student.text.depth",
    "student.text.heads",
    "student.embedding",
    "student.fusion.layers",
)


def told(folder: Path, path: str, value: Any) -> str:
    """Return the one problem of the tiny space with a value set."""
    file = folder / "tiny.yaml"
    file.write_text(SPACE)
    settings: list[Any] = [Override("--set", path, value)]
    if path == "student.fusion.layers":  # what looks at it would be told, too
        settings.append("student.fusion.placement=last")
    with pytest.raises(SpaceError) as caught:
        check_plugins(load_space(file, settings))
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("path", [*FIXED, *SEARCHED])
def test_a_size_that_cannot_be_is_told_with_the_most_and_why(tmp_path: Path, path: str) -> None:
    value = {**FIXED, **SEARCHED}[path]
    problem = told(tmp_path, path, value)
    assert problem.startswith(f"--set, {path}: got {value}; allowed: a ")
    assert "<= " in problem
    assert "Lower it: " in problem


@pytest.mark.parametrize("path", SEARCHED)
@pytest.mark.parametrize("kind", ["choice", "int"])
def test_nor_as_an_option_or_a_bound(tmp_path: Path, path: str, kind: str) -> None:
    value = int(SEARCHED[path])
    domain: dict[str, Any] = {kind: [2, value], "default": 2}
    problem = told(tmp_path, path, domain)
    assert f"got {value}; allowed: a " in problem
    assert "Lower it: " in problem


@pytest.mark.parametrize("path", RELATIVE)
@pytest.mark.parametrize("value", ["1000000x", "100.1x", "9" * 18 + "x"])
def test_nor_so_many_times_the_teacher(tmp_path: Path, path: str, value: str) -> None:
    for given in (value, {"choice": ["1x", value], "default": "1x"}):
        assert f"got '{value}'; allowed: " in told(tmp_path, path, given)


def test_a_relative_size_that_comes_out_too_large_is_no_student() -> None:
    side = {"width": "1x", "depth": 1}
    options = {"image": side, "text": {"width": 128, "depth": "100x"}, "fusion": {"layers": 1}}
    with pytest.raises(
        IllegalCandidate, match=f"text.depth: got 100x, which is 1200; allowed: at most {DEEPEST}"
    ):
        resolved(options, TEACHER)
    options["text"] = {"width": "100x", "depth": 1}
    assert resolved(options, TEACHER).options["text"]["width"] == 12_800 <= WIDEST


@pytest.mark.parametrize("kind", ["float", "log"])
def test_a_range_of_real_numbers_is_no_domain_of_a_whole_number(tmp_path: Path, kind: str) -> None:
    problem = told(tmp_path, "student.text.depth", {kind: [1.0, 3.0], "default": 1.0})
    assert "got a range of real numbers, [1.0, 3.0]; allowed: a whole number" in problem
    assert "Use int or choice." in problem


def test_so_many_draws_of_a_searcher_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(SPACE)
    space = load_space(file, ["search.searcher={kind: hyperopt, draws: 1000000000}"])
    with pytest.raises(SpaceError, match="draws: got 1000000000; allowed: a whole number >= 1 and <= 10000"):
        check_plugins(space)


def test_the_corners_of_a_loss_are_bounded(tmp_path: Path) -> None:
    numbers = {"choice": [number / 1000 for number in range(1, 1000)], "default": 0.5}
    file = tmp_path / "tiny.yaml"
    file.write_text(SPACE)
    space = load_space(
        file, [Override("--set", f"losses.itc.{one}", numbers) for one in ("weight", "soft_targets")]
    )
    found = [(config.weight, config.soft_targets) for name, _, config in loss_configs(space) if name == "itc"]
    assert sorted(found) == [(a, b) for a in (0.001, 0.999) for b in (0.001, 0.999)]
