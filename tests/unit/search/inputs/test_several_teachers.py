"""A space that searches its teacher: each candidate follows from its own one, limits and retention from the reference."""

from pathlib import Path
from typing import Any

import pytest

from search.candidates.admissions import StudentAdmissions
from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import fill_teacher_caches
from search.reporting.plan import describe
from spaces.load import load_space
from tests.unit.search.earlier_run import ONE_WORKER, SPACE, load_recorder
from tests.unit.trainables.small import silent, write_teacher
from trainables.signals import Want
from trainables.teachers.cache.layout import array_path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of the second teacher: 32 wide, with 2 layers a side."""
    return str(write_teacher(tmp_path_factory.mktemp("teacher")))


@pytest.fixture(scope="module")
def inputs(small: str, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Return a space of the shipped teacher, which is the reference, and the small one."""
    file = tmp_path_factory.mktemp("space") / "tiny.yaml"
    teachers = f"teacher={{choice: ['{small}', embedded], default: embedded}}"
    losses = "losses.image_embedding={weight: 1}"
    file.write_text(SPACE)
    return Inputs(
        load_space(file, [teachers, losses, "student.image.depth=0.5x", "limits.params.max=0.5x"]), say=silent
    )


@pytest.fixture(scope="module")
def configs(inputs: Inputs, small: str) -> dict[str, dict[str, Any]]:
    """Return the config of the default candidate under each teacher."""
    values = {**(inputs.space.default_values() or {}), "student.image.width": "0.5x"}
    return {
        name: inputs.space.build({**values, "teacher": name}, inputs.students, 0).config
        for name in ("embedded", small)
    }


def test_the_default_is_the_reference_and_the_first(inputs: Inputs, small: str) -> None:
    assert inputs.space.teachers == ("embedded", small)
    assert list(inputs.teachers) == ["embedded", small]
    assert inputs.teacher is inputs.teachers["embedded"]
    assert f"limits and retention refer to the teacher embedded, of embedded, {small}" in describe(inputs)


def test_relative_sizes_refer_to_the_candidates_own_teacher(
    inputs: Inputs, small: str, configs: dict[str, dict[str, Any]]
) -> None:
    whole = inputs.teacher.blueprint.architecture
    one, other = configs["embedded"]["student"], configs[small]["student"]
    assert (one["image"]["width"], one["image"]["depth"]) == (whole.image.width // 2, whole.image.depth // 2)
    assert (other["image"]["width"], other["image"]["depth"]) == (16, 1)
    assert (one["embedding"], other["embedding"]) == (whole.embedding, 16)
    assert configs[small]["teacher"] == small


def test_the_teacher_is_part_of_the_id(inputs: Inputs, small: str) -> None:
    values = inputs.space.default_values() or {}
    absolute = {"student.image.width": "0.25x"}
    ids = {
        inputs.space.build({**values, **absolute, "teacher": name}, inputs.students, 0).candidate_id
        for name in ("embedded", small)
    }
    assert len(ids) == 2


def test_relative_limits_refer_to_the_reference(inputs: Inputs) -> None:
    costs = inputs.teacher_costs
    assert inputs.space.limits(costs) == {"params": (None, 0.5 * costs["params"])}
    model = inputs.students.deployed(inputs.teachers["embedded"].blueprint, inputs.teacher).model
    assert costs["params"] == sum(parameter.numel() for parameter in model.parameters())


def test_each_teacher_has_a_cache_of_its_own_and_retention_is_that_of_the_reference(
    inputs: Inputs, small: str, tmp_path: Path
) -> None:
    caches = fill_teacher_caches(inputs)
    assert list(caches) == ["embedded", small]
    assert len(set(caches.values())) == 2
    for folder in caches.values():
        assert array_path(Path(folder), Want("image", "embedding")).exists()
    admissions = StudentAdmissions(inputs, load_recorder(tmp_path, inputs), folder=tmp_path, rungs=(1,))
    admissions.open(caches=caches, launch=ONE_WORKER)
    values = inputs.space.default_values() or {}
    for name in ("embedded", small):
        candidate = admissions.build({**values, "teacher": name}, 0).candidate
        job = admissions.job(candidate, dict.fromkeys(("params", "flops", "latency_ms", "size_mib"), 1.0))
        assert job.teacher == name
        assert job.teacher_fingerprint == inputs.teachers[name].files.fingerprint
        assert job.cache == caches[name]
        assert job.teacher_metrics == inputs.figures.metrics


def test_a_split_is_in_the_encoding_of_the_teacher(inputs: Inputs, small: str) -> None:
    mine, theirs = inputs.split("val", "embedded"), inputs.split("val", small)
    assert mine is inputs.splits["val"]
    assert theirs is inputs.split("val", small)
    assert theirs.preprocess == inputs.teachers[small].preprocess != mine.preprocess
