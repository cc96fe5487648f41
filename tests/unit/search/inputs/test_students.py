"""What a space's plug-ins make of a candidate: absolute sizes and defaults, what it cannot do, what of it is deployed."""

from pathlib import Path
from typing import Any

import pytest

from search.inputs.students import Students
from spaces.errors import IllegalCandidate, PluginError
from spaces.load import load_space
from spaces.schema import Space
from tests.unit.search.earlier_run import SPACE
from tests.unit.trainables.small import write_teacher
from trainables.signals import Want
from trainables.tasks.evaluation import make_tasks
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher

# the teacher is 32 wide on both sides, with 2 layers, 2 heads and 2 fusion layers; its joint embedding is 16 wide
HALF = {
    "kind": "blip",
    "image": {"width": "0.5x", "depth": "0.5x"},
    "text": {"width": "0.5x", "depth": 2},
    "fusion": {"layers": 1},
}
DUAL = HALF | {"fusion": {"layers": 0}}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    """Return a small untrained teacher of scenes."""
    return load_teacher(str(write_teacher(tmp_path_factory.mktemp("teacher"))))


def make(teacher: Teacher, *tasks: str, allow_partial: bool = False, name: str = "embedded") -> Students:
    return Students(make_tasks({task: {} for task in tasks}), {name: teacher}, allow_partial=allow_partial)


def tiny(folder: Path, *changes: str) -> Space:
    (folder / "tiny.yaml").write_text(SPACE)
    return load_space(folder / "tiny.yaml", changes)


def config(student: dict[str, Any], *losses: str, **more: Any) -> dict[str, Any]:
    made = {name: {"weight": 1.0} for name in losses}
    return {"student": student, "losses": made, "training": {}, "blind": False, **more}


def test_sizes_become_absolute_and_defaults_are_filled_in(teacher: Teacher) -> None:
    found = make(teacher, "retrieval").student(HALF, "embedded")
    assert found == {
        "kind": "blip",
        "image": {"width": 16, "depth": 1, "heads": 1, "mlp_ratio": 4.0, "init": "random"},
        "text": {"width": 16, "depth": 2, "heads": 1, "mlp_ratio": 4.0, "init": "random"},
        "fusion": {"layers": 1, "placement": "last"},
        "embedding": 16,
    }
    assert HALF["image"] == {"width": "0.5x", "depth": "0.5x"}  # what was given is as it was


def test_what_had_to_be_rounded_is_told(teacher: Teacher) -> None:
    students = make(teacher, "retrieval")
    assert students.roundings(HALF, "embedded") == []
    # 24 lies half way between 16 and 32; halves go up
    odd = HALF | {"image": {"width": "0.75x", "depth": "0.3x"}, "embedding": "0.6x"}
    assert students.roundings(odd, "embedded") == [
        "student.image.width 0.75x of 32 -> 32 (multiple of head dim 16)",
        "student.image.depth 0.3x of 2 -> 1 (whole number)",
        "student.embedding 0.6x of 16 -> 10 (whole number, at least 1)",
    ]
    broken = HALF | {"image": {"width": 17, "depth": 1, "heads": 2}}
    assert students.roundings(broken, "embedded") == []


def test_a_student_that_cannot_do_every_task_is_rejected_with_the_reason(teacher: Teacher) -> None:
    with pytest.raises(IllegalCandidate) as caught:
        make(teacher, "retrieval", "vqa", "captioning").student(DUAL, "embedded")
    text = (
        "got a student that cannot do vqa, captioning (vqa needs answer.logits; captioning needs decoder.logits); "
        "allowed: one that does every task of the space. Change its sizes, name fewer `tasks:`, or set allow_partial: true."
    )
    assert str(caught.value) == f"student: {text}"
    assert list(caught.value.problems) == [("", text)]


@pytest.mark.parametrize(("tasks", "partial"), [(("retrieval",), False), (("retrieval", "vqa"), True)])
def test_a_dual_encoder_is_a_student_where_that_is_enough(
    tasks: tuple[str, ...], partial: bool, teacher: Teacher
) -> None:
    students = make(teacher, *tasks, allow_partial=partial)
    found = students.student(DUAL, "embedded")
    assert found["fusion"] == {"layers": 0, "placement": "last"}
    offers = students.plan(config(found, "itc")).training.offers
    assert [type(task).__name__ for task in students.able(offers)] == ["Retrieval"]


@pytest.mark.parametrize(
    ("section", "path", "said"),
    [
        ({"image": {"width": 30, "depth": 1, "heads": 4}}, "image.heads", "got 4 with width 30"),
        ({"fusion": {"layers": 3}}, "fusion.layers", "got 3 with text depth 2"),
        ({"text": {"width": "2x", "depth": 2, "init": "inherit"}}, "text.init", "got inherit with width 64"),
    ],
)
def test_sizes_that_do_not_fit_together_are_told_with_their_option(
    section: dict[str, Any], path: str, said: str, teacher: Teacher
) -> None:
    with pytest.raises(IllegalCandidate, match=f"student.{path}: ") as caught:
        make(teacher, "retrieval").student(HALF | section, "embedded")
    ((where, text),) = caught.value.problems
    assert (where, text.startswith(said)) == (path, True)


def test_the_defaults_of_a_loss_are_part_of_its_options(teacher: Teacher) -> None:
    students = make(teacher, "retrieval")
    assert students.loss("image_hidden", {"weight": 2}) == {
        "weight": 2, "layers": "last", "kind": "mse", "tokens": "all",
    }  # fmt: skip
    with pytest.raises(PluginError, match=r"losses\.image_hidden\.layer: got an unknown option"):
        students.loss("image_hidden", {"weight": 2, "layer": "all"})


def test_a_default_that_is_written_down_gives_the_same_candidate(teacher: Teacher, tmp_path: Path) -> None:
    students = make(teacher, "retrieval", "captioning")
    silent = tiny(tmp_path)
    spoken = tiny(
        tmp_path,
        "student.image.mlp_ratio=4",
        "student.text.init=random",
        "student.embedding=1x",
        "losses.itc.soft_targets=0",
        "training.weight_decay=0.02",
    )
    other = tiny(tmp_path, "student.image.mlp_ratio=2")
    values = silent.default_values()
    assert values is not None
    first, same, different = (space.build(values, students, 0) for space in (silent, spoken, other))
    assert first.config == same.config
    assert first.candidate_id == same.candidate_id != different.candidate_id
    assert first.config["losses"]["lm"]["weight"] == 0.3
    assert first.config["tasks"] == ["captioning", "retrieval"]


def test_a_placement_without_fusion_layers_does_not_make_another_candidate(
    teacher: Teacher, tmp_path: Path
) -> None:
    students, space = make(teacher, "retrieval"), tiny(tmp_path)
    off = {**(space.default_values() or {}), "student.fusion.layers": 0}
    one, other = (
        space.build({**off, "student.fusion.placement": placement}, students, 0).candidate_id
        for placement in ("first", "last")
    )
    assert one == other


def test_only_what_the_tasks_need_is_deployed(teacher: Teacher) -> None:
    found = make(teacher, "retrieval").student(HALF, "embedded")
    plan = make(teacher, "retrieval").plan(config(found, "itc"))
    whole, part = plan.training.architecture, plan.deployed.architecture
    assert (whole.fusion, whole.has_decoder, whole.has_matching) == ((1,), True, True)
    assert (part.fusion, part.has_decoder, part.has_matching) == ((), False, False)
    part = make(teacher, "retrieval", "captioning").plan(config(found, "itc")).deployed.architecture
    assert (part.fusion, part.has_decoder, part.has_matching) == ((1,), True, False)
    part = make(teacher, "matching").plan(config(found, "itc")).deployed.architecture
    assert (part.fusion, part.has_decoder, part.has_matching) == ((1,), False, True)


def test_costs_are_those_of_the_tasks(teacher: Teacher) -> None:
    found = make(teacher, "retrieval").student(HALF, "embedded")
    retrieval = make(teacher, "retrieval").subject(config(found, "itc"))
    captioning = make(teacher, "retrieval", "captioning").subject(config(found, "itc"))
    assert {one.mode for one in retrieval.servings} == {"image", "text"}
    assert {one.mode for one in captioning.servings} == {"image", "text", "decoder"}
    assert retrieval.tokenizer_bytes > 0


def test_a_loss_that_a_student_cannot_feed_is_named_with_the_reason(teacher: Teacher, tmp_path: Path) -> None:
    students, space = make(teacher, "retrieval"), tiny(tmp_path)
    values = space.default_values() or {}
    assert students.unfed(space.build(values, students, 0)) == {}
    dual = space.build({**values, "student.fusion.layers": 0}, students, 0)
    assert students.unfed(dual) == {
        "lm": "needs decoder.logits, which this student does not have; left out for it."
    }


def test_what_is_read_of_the_teacher_is_what_losses_and_the_model_read(teacher: Teacher) -> None:
    students = make(teacher, "retrieval")
    found = students.student(HALF, "embedded")
    embeddings = {Want("image", "embedding"), Want("text", "embedding")}
    assert students.taught(config(found, "itc")) == frozenset()
    assert students.taught(config(found, "image_embedding")) == {Want("image", "embedding")}
    hidden = config(found, "text_hidden")
    hidden["losses"]["text_hidden"]["layers"] = "all"
    assert students.taught(hidden) == {Want("text", "hidden", 0), Want("text", "hidden", 1)}
    # hard negatives are drawn by the teacher's similarities, unless the training says otherwise
    assert students.taught(config(found, "itm")) == embeddings | {Want("contrast", "temperature")}
    own = config(found, "itm", training={"itm_negatives": "student"})
    assert students.taught(own) == frozenset()


def test_training_passes_over_each_mode_that_a_loss_looks_at_once(teacher: Teacher, tmp_path: Path) -> None:
    students, space = make(teacher, "retrieval"), tiny(tmp_path)
    candidate = space.build(space.default_values() or {}, students, 0)  # itc and lm
    subject = students.trained(candidate)
    assert [(one.mode, one.repeats) for one in subject.servings] == [
        ("decoder", 1),
        ("image", 1),
        ("text", 1),
    ]


@pytest.mark.usefixtures("toy")
def test_a_family_from_outside_is_a_student_like_any_other(teacher: Teacher) -> None:
    students = make(teacher, "scene_shape")
    found = students.student({"kind": "convnet", "width": 8, "depth": 2}, "embedded")
    assert found == {"kind": "convnet", "width": 8, "depth": 2, "embedding": 16}
    subject = students.subject(config(found, "image_embedding"))
    assert [one.mode for one in subject.servings] == ["image"]
    assert subject.files_bytes == 0  # it reads no texts
    with pytest.raises(IllegalCandidate, match="cannot do retrieval"):
        make(teacher, "retrieval").student({"kind": "convnet", "width": 8, "depth": 2}, "embedded")
