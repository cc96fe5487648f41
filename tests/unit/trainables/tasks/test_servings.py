"""What a task asks of a model, and which passes serve one example."""

from collections.abc import Sequence

import pytest

from spaces.errors import PluginError
from tests.unit.trainables.small import small_config
from trainables.families.blip.model import Blip
from trainables.signals import Offers, Serving
from trainables.tasks import DEFAULT, TASKS
from trainables.tasks.base import Task, servings_of, wants_of
from trainables.tasks.evaluation import make_tasks
from trainables.tasks.retrieval import Retrieval

LONG, SHORT = (Blip.offers(small_config(merged=(1,), max_tokens=length)) for length in (24, 8))
DUAL = Blip.offers(small_config(fusion=()))
IMAGE = Serving(mode="image")


def made(*names: str) -> list[Task]:
    return list(make_tasks({name: {} for name in names}).values())


@pytest.mark.parametrize(
    ("name", "long", "short"),
    [
        ("retrieval", Serving(mode="text", tokens=24), Serving(mode="text", tokens=8)),
        ("matching", Serving(mode="fused", tokens=24), Serving(mode="fused", tokens=8)),
        ("vqa", Serving(mode="answer", tokens=24, repeats=2), Serving(mode="answer", tokens=8, repeats=2)),
        # 20 tokens one after the other: 1 to 20 are 10.5 in the mean; 7 tokens fit behind the first of 8
        (
            "captioning",
            Serving(mode="decoder", tokens=10, repeats=20),
            Serving(mode="decoder", tokens=4, repeats=7),
        ),
    ],
)
def test_a_task_is_served_by_one_picture_and_its_own_pass(name: str, long: Serving, short: Serving) -> None:
    (task,) = made(name)
    assert list(task.serving(LONG)) == [IMAGE, long]
    assert list(task.serving(SHORT)) == [IMAGE, short]


def test_what_several_tasks_run_alike_is_run_once() -> None:
    assert servings_of(made(*TASKS), LONG) == [
        Serving(mode="answer", tokens=24, repeats=2),
        Serving(mode="decoder", tokens=10, repeats=20),
        Serving(mode="fused", tokens=24),
        Serving(mode="image", repeats=2),
        Serving(mode="paired", tokens=24),
        Serving(mode="text", tokens=24),
    ]
    assert servings_of(made("retrieval"), LONG) == [IMAGE, Serving(mode="text", tokens=24)]
    assert servings_of([], LONG) == []


class Twice(Retrieval):  # type: ignore[misc]
    """Looks at a picture twice."""

    def serving(self, offers: Offers) -> Sequence[Serving]:
        return (Serving(mode="image", repeats=2), Serving(mode="text", tokens=5))


def test_of_what_is_repeated_the_most_counts_and_other_lengths_are_other_passes() -> None:
    expected = [
        Serving(mode="image", repeats=2),
        Serving(mode="text", tokens=5),
        Serving(mode="text", tokens=24),
    ]
    for tasks in ([Twice(Twice.Config()), *made("retrieval")], [*made("retrieval"), Twice(Twice.Config())]):
        assert servings_of(tasks, LONG) == expected


def test_what_a_model_cannot_do_costs_it_nothing() -> None:
    assert servings_of(made(*TASKS), DUAL) == servings_of(made("retrieval"), DUAL)


def test_each_task_says_what_a_model_and_data_lack() -> None:
    tasks = make_tasks({name: {} for name in TASKS})
    assert all(task.model_lack(LONG) is None for task in tasks.values())
    assert {name: task.model_lack(DUAL) for name, task in tasks.items()} == {
        "batch_matching": None,
        "classification": None,
        "captioning": "needs decoder.logits",
        "matching": "needs fused.logits",
        "neighbours": None,
        "nlvr2": "needs paired.logits (students with `fusion.two_pictures: true` have it, and teachers that python -m "
        "trainables.teachers.pretrain trained on statements)",
        "retrieval": None,
        "vqa": "needs answer.logits",
    }
    pictures = {"picture.pixels"}
    for name, task in tasks.items():
        missing = {
            "vqa": "question.ids, question.targets",
            "captioning": "caption.ids, caption.targets",
            "classification": "picture.label",
            "nlvr2": "picture_2.pixels, statement.ids, statement.label",
        }
        if name == "neighbours":  # pictures are all that it needs
            assert task.data_lack(pictures) is None
            continue
        lack = f"needs {missing.get(name, 'caption.ids')}, which not every split of this data has"
        assert task.data_lack(pictures) == lack
        assert task.data_lack(task.fields) is None


def test_wants_are_those_of_all_tasks() -> None:
    assert {str(want) for want in wants_of(made("retrieval", "vqa"))} == {
        "image.embedding",
        "text.embedding",
        "answer.logits",
    }
    assert wants_of([]) == frozenset()


@pytest.mark.parametrize("name", TASKS)
def test_what_counts_is_one_of_the_metrics(name: str) -> None:
    (task,) = made(name)
    assert task.counts in task.metrics


def test_unknown_tasks_and_options_are_refused() -> None:
    assert set(DEFAULT) < set(TASKS)
    with pytest.raises(PluginError, match=r"tasks: no plug-in is called 'vqaa'. Did you mean 'vqa'\?"):
        make_tasks({"vqaa": {}})
    with pytest.raises(PluginError, match=r"tasks.vqa.rays: got an unknown option; allowed: decode, beams"):
        make_tasks({"vqa": {"rays": 3}})
