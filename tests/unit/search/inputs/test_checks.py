"""What is refused before anything is trained: unknown plug-ins, options of others, tasks and losses that cannot be had."""

from collections.abc import Callable
from pathlib import Path

import pytest

from search.inputs.checks import (
    Ability,
    check_losses,
    check_measurable,
    chosen_tasks,
    data_lacks,
)
from search.inputs.plugin_checks import check_plugins
from spaces.errors import SpaceError
from spaces.load import load_space
from spaces.schema import Space
from tests.unit.trainables.small import write_teacher
from trainables.datasets.encoded import fields_of
from trainables.signals import CAPTION, QUESTION, Offers
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher

# the lines count: messages name them
LINES = """\
name: toy
teacher: embedded
dataset: {kind: scenes}
student:
  kind: blip
  image: {width: 0.5x, depth: 1}
  text: {width: 0.5x, depth: 1}
  fusion: {layers: 1}
losses:
  itc: {weight: 1}
  lm: {weight: {log: [0.1, 1], zero: 0.2}}
training: {epochs: 3, pairs_per_epoch: 64, batch_size: 16, lr: 1e-3}
objectives: {retention: max, params: min}
search: {searcher: {kind: random}, scheduler: {kind: moasha, rungs: [1]}, trials: 4}
"""
TWO_KINDS = """\
  kind: {choice: [blip, convnet]}
  blip: {image: {width: 0.5x, depth: 1}, text: {width: 0.5x, depth: 1}, fusion: {layers: 1}}
  convnet: {width: {choice: [8, 16]}, depth: 2}
"""
ONE_KIND = LINES[LINES.index("  kind: blip") : LINES.index("losses:")]
EVERYTHING = fields_of((CAPTION, QUESTION))
Load = Callable[..., Space]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a function that loads the space above with pieces of its text replaced, as `toy.yaml`."""
    monkeypatch.chdir(tmp_path)

    def loaded(**replaced: str) -> Space:
        text = LINES
        for piece, other in replaced.items():
            assert text.count(PIECES[piece]) == 1
            text = text.replace(PIECES[piece], other)
        Path("toy.yaml").write_text(text)
        return load_space(Path("toy.yaml"), [])

    return loaded


PIECES = {
    "dataset": "{kind: scenes}",
    "student": ONE_KIND,
    "kind": "kind: blip",
    "image": "{width: 0.5x, depth: 1}\n  text",
    "fusion": "{layers: 1}",
    "losses": "  itc: {weight: 1}\n  lm: {weight: {log: [0.1, 1], zero: 0.2}}\n",
    "objectives": "{retention: max, params: min}",
    "searcher": "{kind: random}",
    "scheduler": "{kind: moasha, rungs: [1]}",
    "training": "training:",
    "batches": "pairs_per_epoch: 64, batch_size: 16",
}


def tasks(names: str) -> dict[str, str]:
    """Return what names tasks in line 12 of the space."""
    return {"training": f"tasks: {names}\ntraining:"}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    """Return a small untrained teacher that can do everything."""
    return load_teacher(str(write_teacher(tmp_path_factory.mktemp("teacher"))))


@pytest.fixture(scope="module")
def dual(tmp_path_factory: pytest.TempPathFactory) -> Offers:
    """Return the offers of a teacher that neither captions nor answers."""
    return load_teacher(str(write_teacher(tmp_path_factory.mktemp("dual"), fusion=()))).offers


def one(offers: Offers, fields: frozenset[str]) -> dict[str, Ability]:
    """Return what the only teacher of a space can do."""
    return {"embedded": Ability(offers=offers, fields=fields)}


def refused(space: Space) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        check_plugins(space)
    return str(caught.value).splitlines()


def test_a_space_of_known_plugins_passes(load: Load) -> None:
    check_plugins(load())


@pytest.mark.parametrize(
    ("replaced", "place", "got", "meant"),
    [
        ({"kind": "kind: blipp"}, "5, student.kind: families", "blipp", "blip"),
        ({"kind": "kind: {choice: [blip, bilp]}"}, "5, student.kind: families", "bilp", "blip"),
        ({"dataset": "{kind: scene}"}, "3, dataset: datasets", "scene", "scenes"),
        ({"losses": "  itcc: {weight: 1}\n"}, "10, losses.itcc: losses", "itcc", "itc"),
        ({"searcher": "{kind: randm}"}, "14, search.searcher: searchers", "randm", "random"),
        ({"scheduler": "{kind: asah}"}, "14, search.scheduler: schedulers", "asah", "asha"),
        (tasks("[retrieval, captoining]"), "12, tasks.captoining: tasks", "captoining", "captioning"),
    ],
)
def test_an_unknown_plugin_is_told_with_its_line_and_the_near_miss(
    replaced: dict[str, str], place: str, got: str, meant: str, load: Load
) -> None:
    (line,) = refused(load(**replaced))
    said = f"toy.yaml:{place}: no plug-in is called {got!r}. Did you mean {meant!r}? Known: "
    assert line.startswith(said)


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"image": "{width: 0.5x, dept: 1}\n  text"}, "toy.yaml:6, student.image.dept: "),
        ({"fusion": "{layers: 1, place: last}"}, "toy.yaml:8, student.fusion.place: "),
        ({"losses": "  itc: {weight: 1, soft: 1}\n"}, "toy.yaml:10, losses.itc.soft: "),
        ({"dataset": "{kind: scenes, images: 9}"}, "toy.yaml:3, dataset.images: "),
        (tasks("{retrieval: {deep: 3}}"), "toy.yaml:12, tasks.retrieval.deep: "),
    ],
)
def test_an_option_that_a_plugin_does_not_take_is_told_with_its_line(
    replaced: dict[str, str], said: str, load: Load
) -> None:
    lines = refused(load(**replaced))
    assert any(line.startswith(said) for line in lines), lines


def test_all_problems_are_told_at_once(load: Load) -> None:
    lines = refused(load(kind="kind: blipp", dataset="{kind: scene}", searcher="{kind: randm}"))
    assert [line.partition(",")[0] for line in lines] == ["toy.yaml:3", "toy.yaml:5", "toy.yaml:14"]


def test_an_objective_that_no_task_of_the_space_measures_is_told(load: Load) -> None:
    check_plugins(load(objectives="{vqa_accuracy: max, params: min}"))
    replaced = {"objectives": "{vqa_accuracy: max, params: min}", **tasks("[retrieval]")}
    (line,) = refused(load(**replaced))
    assert line.startswith("toy.yaml:14, objectives.vqa_accuracy: got 'vqa_accuracy', which nothing produces")


@pytest.mark.usefixtures("toy")
def test_each_kind_takes_its_own_options_under_its_name(load: Load) -> None:
    check_plugins(load(student=TWO_KINDS))


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("convnet: {width: 8, dept: 2}", "toy.yaml:7, student.convnet.dept: "),
        (
            "convnet: {width: 8, depth: 2}\n  fusion: {layers: 1}",
            "toy.yaml:8, student.fusion of the kind convnet: ",
        ),
        ("convnet: {width: wide, depth: 2}", "toy.yaml:7, student.convnet.width: "),
    ],
)
def test_an_option_under_a_kinds_name_is_checked_against_that_kind(own: str, said: str, load: Load) -> None:
    lines = refused(load(student=TWO_KINDS.replace("convnet: {width: {choice: [8, 16]}, depth: 2}", own)))
    assert any(line.startswith(said) for line in lines), lines


@pytest.mark.usefixtures("toy")
def test_options_of_a_kind_that_no_student_is_of_are_told_as_such(load: Load) -> None:
    assert refused(load(fusion="{layers: 1}\n  convnet: {width: 8, depth: 2}")) == [
        "toy.yaml:9, student.convnet: got options of the kind 'convnet', which no student here is of; allowed: blip. "
        "Delete them, or add 'convnet' to student.kind."
    ]


def test_what_teacher_and_data_allow_is_chosen_and_told(load: Load, teacher: Teacher, dual: Offers) -> None:
    space = load()
    assert space.tasks is None
    able, notes = chosen_tasks(space, one(teacher.offers, EVERYTHING))
    assert list(able) == ["retrieval", "vqa", "captioning"]
    assert notes == ["tasks: retrieval, vqa, captioning (all that teacher and data allow)"]
    able, notes = chosen_tasks(space, one(teacher.offers, fields_of((CAPTION,))))
    assert list(able) == ["retrieval", "captioning"]
    (note,) = notes
    assert note.startswith(
        "tasks: retrieval, captioning (all that teacher and data allow; without vqa: it needs question"
    )
    able, notes = chosen_tasks(space, one(dual, EVERYTHING))
    assert list(able) == ["retrieval"]
    assert notes == [
        "tasks: retrieval (all that teacher and data allow; without vqa: it needs answer.logits, which the teacher does not "
        "have; without captioning: it needs decoder.logits, which the teacher does not have)"
    ]


def test_a_named_task_that_cannot_be_done_is_told_with_its_line_and_the_reason(
    load: Load, dual: Offers
) -> None:
    space = load(**tasks("\n  retrieval: {}\n  captioning: {}\n  vqa: {}"))
    with pytest.raises(SpaceError) as caught:
        chosen_tasks(space, one(dual, fields_of((CAPTION,))))
    captioning, vqa = str(caught.value).splitlines()
    assert captioning == (
        "toy.yaml:14, tasks.captioning: got captioning, but it needs decoder.logits, which the teacher does not have; "
        "allowed here: retrieval. Drop it, or change teacher or data."
    )
    assert vqa.startswith(
        "toy.yaml:15, tasks.vqa: got vqa, but it needs answer.logits, which the teacher does not have; it needs question"
    )


def test_without_any_task_there_is_no_search(load: Load, dual: Offers) -> None:
    said = r"can do no task of the usual ones \(retrieval: .*caption.*allowed here: neighbours\. Name one"
    with pytest.raises(SpaceError, match=said):
        chosen_tasks(load(), one(dual, fields_of(())))


def test_of_several_teachers_one_that_can_do_a_named_task_is_enough_and_what_others_lack_is_told(
    load: Load, teacher: Teacher, dual: Offers
) -> None:
    space = load(**tasks("[retrieval, captioning]"))
    both = {
        "dual": Ability(offers=dual, fields=EVERYTHING),
        "embedded": Ability(offers=teacher.offers, fields=EVERYTHING),
    }
    able, notes = chosen_tasks(space, both)
    assert list(able) == ["retrieval", "captioning"]
    assert notes == [
        "teacher dual: retention of its students is made of retrieval alone (without captioning: it needs decoder.logits, "
        "which the teacher does not have)"
    ]
    able, notes = chosen_tasks(load(), both)  # none are named: the reference decides
    assert list(able) == ["retrieval"]
    assert len(notes) == 1


def test_a_named_task_that_no_teacher_can_do_is_told_once(load: Load, dual: Offers) -> None:
    ability = Ability(offers=dual, fields=EVERYTHING)
    with pytest.raises(SpaceError) as caught:
        chosen_tasks(load(**tasks("[retrieval, captioning]")), {"one": ability, "two": ability})
    assert str(caught.value) == (
        "toy.yaml:12, tasks.captioning: got captioning, but it needs decoder.logits, which no teacher has; allowed here: "
        "retrieval. Drop it, or change teacher or data."
    )
    blind = Ability(offers=dual, fields=fields_of((QUESTION,)))
    with pytest.raises(
        SpaceError, match=r"captioning, but one: it needs decoder\.logits.*; two: it .*it needs caption"
    ):
        chosen_tasks(load(**tasks("[captioning]")), {"one": ability, "two": blind})


def test_a_teacher_that_can_do_no_task_of_the_space_is_told_with_the_reason(
    load: Load, teacher: Teacher, dual: Offers
) -> None:
    both = {
        "embedded": Ability(offers=teacher.offers, fields=EVERYTHING),
        "dual": Ability(offers=dual, fields=EVERYTHING),
    }
    with pytest.raises(SpaceError) as caught:
        chosen_tasks(load(**tasks("[captioning]")), both)
    assert str(caught.value) == (
        "toy.yaml:2, teacher: got 'dual', which can do no task of this space (captioning: it needs decoder.logits, which the "
        "teacher does not have); allowed: teachers that can do one or more. Drop it, or name a task that it can do in `tasks:`."
    )


def test_tasks_that_are_named_are_not_told_again(load: Load, teacher: Teacher) -> None:
    able, notes = chosen_tasks(load(**tasks("[matching, retrieval]")), one(teacher.offers, EVERYTHING))
    assert (list(able), notes) == (["matching", "retrieval"], [])


def test_a_loss_that_the_teacher_can_feed_for_no_student_is_told(
    load: Load, tmp_path_factory: pytest.TempPathFactory
) -> None:
    space = load(
        losses="  itc: {weight: 1}\n  lm_logit: {weight: {log: [1, 2]}}\n  decoder_hidden: {weight: 0}\n"
        "  answer_logit: {weight: {log: [1, 2], zero: 0.5}}\n"
    )
    dual = load_teacher(str(write_teacher(tmp_path_factory.mktemp("dual"), fusion=())))
    with pytest.raises(SpaceError) as caught:
        check_losses(space, {"embedded": dual})
    (line,) = str(
        caught.value
    ).splitlines()  # decoder_hidden is off, answer_logit may be: `left_out` tells of it
    assert line.startswith("toy.yaml:11, losses.lm_logit: needs decoder.logits of the teacher")
    assert line.endswith("(--set losses.lm_logit.weight=0)")


def test_losses_that_the_data_cannot_feed_are_left_out_with_the_reason(load: Load, teacher: Teacher) -> None:
    space = load(
        losses="  itc: {weight: 1}\n  vqa: {weight: 1}\n  image_embedding: {weight: 1}\n  answer_logit: {weight: 1}\n"
    )
    assert data_lacks(space, teacher.offers, EVERYTHING) == {}
    lacking = data_lacks(space, teacher.offers, fields_of((CAPTION,)))
    assert sorted(lacking) == ["answer_logit", "vqa"]
    assert all("question." in why for why in lacking.values())
    assert sorted(data_lacks(space, teacher.offers, fields_of(()))) == ["answer_logit", "itc", "vqa"]


def test_an_objective_that_the_teacher_does_not_have_is_told(load: Load) -> None:
    space = load(objectives="{mean_recall: max, retention_above_blind: max, vqa_accuracy: max, params: min}")
    with pytest.raises(SpaceError) as caught:
        check_measurable(space, {"mean_recall": 50.0})
    blind, vqa = str(caught.value).splitlines()
    assert "is known only when the blind student is through" in blind
    assert vqa.startswith(
        "toy.yaml:13, objectives.vqa_accuracy: got vqa_accuracy, which this teacher does not have on this data; allowed: "
        "retention, accuracy, mean_recall, "
    )


@pytest.mark.parametrize(
    ("training", "workers", "told"),
    [
        ("batch_size: 16, pairs_per_epoch: 64", 8, ""),
        (
            "batch_size: 8, pairs_per_epoch: 64",
            8,
            "got 8, of which batches of 8 come for the 8 workers",
        ),
        ("batch_size: 16, pairs_per_epoch: 17", 8, "got 16, of which batches of 8 come"),
        ("batch_size: {choice: [8, 32]}, pairs_per_epoch: 64", 8, "got 8, of which"),
        ("batch_size: {int: [16, 64]}, pairs_per_epoch: 64", 8, ""),
    ],
)
def test_batches_too_small_for_the_workers_of_a_trial_are_told_before_anything_is_trained(
    training: str, workers: int, told: str, load: Load
) -> None:
    space = load(training=f"resources: {{workers_per_trial: {workers}}}\ntraining:", batches=training)
    if not told:
        check_plugins(space)
        return
    with pytest.raises(SpaceError) as caught:
        check_plugins(space)
    assert f"training.batch_size: {told}" in str(caught.value)
