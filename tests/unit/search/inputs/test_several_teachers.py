"""A space that searches its teacher: each candidate follows from its own one, limits from the reference."""

from pathlib import Path
from typing import Any

import pytest

from analysis.run_json import check_facts
from search.candidates.admissions import StudentAdmissions
from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import fill_teacher_caches
from search.reporting.plan import describe
from spaces.errors import RunError
from spaces.load import load_space
from tests.unit.search.earlier_run import ONE_WORKER, SPACE, load_recorder
from tests.unit.trainables.small import silent, write_teacher
from trainables.signals import Want
from trainables.teachers.cache.contents import read_contents


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
    lines = describe(inputs)
    assert (
        f"limits refer to the teacher embedded, of embedded, {small}; retention to the student's own" in lines
    )
    for name in ("embedded", small):
        assert any(line.startswith(f"teacher {name}: ") and " FLOPs, " in line for line in lines)
        assert any(line.startswith(f"teacher {name} on the validation split, ") for line in lines)


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


def test_each_teacher_has_a_cache_of_its_own_and_retention_is_of_it(
    inputs: Inputs, small: str, tmp_path: Path
) -> None:
    caches = fill_teacher_caches(inputs)
    assert list(caches) == ["embedded", small]
    assert len(set(caches.values())) == 2
    for folder in caches.values():
        assert Want("image", "embedding") in read_contents(Path(folder)).wants
    admissions = StudentAdmissions(inputs, load_recorder(tmp_path, inputs), folder=tmp_path, rungs=(1,))
    admissions.open(caches=caches, launch=ONE_WORKER)
    values = inputs.space.default_values() or {}
    for name in ("embedded", small):
        candidate = admissions.build({**values, "teacher": name}, 0).candidate
        job = admissions.job(candidate, dict.fromkeys(("params", "flops", "latency_ms", "size_mib"), 1.0))
        assert job.teacher == name
        assert job.teacher_fingerprint == inputs.teachers[name].files.fingerprint
        assert job.cache == caches[name]
        assert job.teacher_metrics == inputs.figures_of_teachers[name].metrics
    assert inputs.figures is inputs.figures_of_teachers["embedded"]
    first, second = (inputs.figures_of_teachers[name].metrics["mean_recall"] for name in ("embedded", small))
    assert first > 2 * second  # the second was never trained


def test_run_json_tells_costs_and_figures_of_each_teacher(inputs: Inputs, small: str) -> None:
    facts = inputs.run_facts()
    check_facts(Path("run.json"), facts)
    assert list(facts["teachers"]) == ["embedded", small]
    for name, told in facts["teachers"].items():
        model = inputs.students.deployed(inputs.teachers[name].blueprint, inputs.teachers[name]).model
        assert told["params"] == sum(parameter.numel() for parameter in model.parameters())
        assert told["metrics"] == inputs.figures_of_teachers[name].metrics
        assert told["fingerprint"] == inputs.teachers[name].files.fingerprint
    # latency is not among them: nothing was measured yet
    shared = ("params", "flops", "size_mib", "metrics", "test_metrics", "guessing")
    assert {name: facts["teacher"][name] for name in shared} == {
        name: facts["teachers"]["embedded"][name] for name in shared
    }
    assert any(f"the teacher {small} is not clearly better than guessing" in one for one in facts["caveats"])
    facts["teachers"]["embedded"]["params"] = "many"
    with pytest.raises(RunError, match=r'teachers\.embedded\.params: got "many"; allowed: a number'):
        check_facts(Path("run.json"), facts)


def test_a_student_is_measured_in_what_it_can_do_and_compared_in_what_its_teacher_can(
    small: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dual = str(write_teacher(tmp_path_factory.mktemp("dual"), fusion=()))
    file = tmp_path_factory.mktemp("space") / "tiny.yaml"
    file.write_text(SPACE)
    changes = [
        f"teacher={{choice: ['{small}', '{dual}'], default: '{small}'}}",
        "tasks=[retrieval, captioning]",
        "student.fusion.layers={choice: [0, 1], default: 1}",
        "student.fusion.placement=last",
        "losses.lm.weight=0",
    ]
    told = Inputs(load_space(file, changes), say=silent)
    assert list(told.students.made) == ["retrieval", "captioning"]
    assert any(
        f"teacher {dual}: retention of its students is made of retrieval alone" in one for one in told.notes
    )
    assert "caption_token_accuracy" not in told.figures_of_teachers[dual].metrics
    assert "caption_token_accuracy" in told.figures_of_teachers[small].metrics
