"""What finals are asked for: mistakes are told in a line each, before anything is trained."""

from pathlib import Path
from typing import Any

import pytest

import spaces
from search.arguments import parse
from search.finalise import _parser, _request
from search.finals.recipe import changed
from search.finals.request import (
    Request,
    domain_settings,
    final_size,
    final_tasks,
    heard,
    settings_of,
    worker_notes,
    workers_of,
)
from spaces.errors import RunError, StudentSearchError
from spaces.load import load_space, read_recipe
from tests.unit.search.earlier_run import SPACE, prepare, write_run
from tests.unit.trainables.small import candidate_config
from trainables.configs import plain
from trainables.tasks.base import Task
from trainables.tasks.evaluation import make_tasks


def request_of(**changes: Any) -> Request:
    return Request(**({"folder": Path("runs/dlip"), "epochs": 4} | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": 0}, "--epochs: got 0; allowed: 1 to 10,000."),
        ({"epochs": -3}, "--epochs: got -3;"),
        ({"epochs": 10**9}, "--epochs: got 1000000000;"),
        ({"fine_tune": -1}, "--fine-tune: got -1; allowed: 0 to"),
        ({"seeds": 0}, "--seeds: got 0; allowed: 1 to"),
        ({"members": 0}, "--members: got 0;"),
        ({"workers": 0}, "--workers-per-trial: got 0; allowed: 1 to"),
        ({"controls": ("plan",)}, "--controls: got plan; allowed: plain, random, or none."),
    ],
)
def test_numbers_that_no_training_can_have_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(RunError) as caught:
        request_of(**changes).check()
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def everything(task: Task) -> None:
    """Nothing is lacking."""


def test_tasks_are_measured_as_papers_do_unless_somebody_says_otherwise() -> None:
    own = {"retrieval": {}, "vqa": {}, "captioning": {"decode": "beam", "beams": 5, "tokenizer": "plain"}}
    assert final_tasks(request_of(), own, everything)[0] == {
        "retrieval": {"rerank": 32},
        "vqa": {"decode": "generate"},
        "captioning": {"decode": "beam", "beams": 5, "tokenizer": "plain"},
    }
    asked = request_of(tasks=("retrieval",), settings=("tasks.retrieval.rerank=8", "training.lr=1e-3"))
    assert final_tasks(asked, own, everything) == ({"retrieval": {"rerank": 8}}, [])


def test_what_is_left_to_a_machine_is_settled_before_others_measure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {"captioning": {}, "vqa": {"decode": "rank", "answers": "answers.txt"}}
    for java, tokenizer in ((None, "plain"), ("/usr/bin/java", "ptb")):
        monkeypatch.setattr("trainables.tasks.caption_metrics.shutil.which", lambda name, found=java: found)
        found, _ = final_tasks(request_of(), own, everything)
        assert found["captioning"] == {"decode": "beam", "tokenizer": tokenizer}
        assert found["vqa"]["answers"] == str(tmp_path / "answers.txt")


def test_options_that_every_task_has_are_none_that_somebody_chose() -> None:
    cheap = {name: plain(task.config) for name, task in make_tasks({"retrieval": {}, "vqa": {}}).items()}
    assert cheap["retrieval"]["rerank"] == 0, "a candidate tells all options of its tasks"
    found, notes = final_tasks(request_of(), cheap, everything)
    assert found == {"retrieval": {"rerank": 32}, "vqa": {"decode": "generate"}}
    assert notes == [
        "measured as papers do: tasks.retrieval.rerank=32, tasks.vqa.decode=generate; otherwise: --set tasks.NAME.OPTION=VALUE"
    ]
    ranked = {"vqa": {**cheap["vqa"], "decode": "rank", "candidates": 64}}
    assert final_tasks(request_of(), ranked, everything)[0] == {"vqa": {"decode": "rank", "candidates": 64}}


def test_options_that_say_all_of_it_are_left_alone() -> None:
    both = {"rerank_texts": 8, "rerank_pictures": 4}
    assert final_tasks(request_of(), {"retrieval": both}, everything)[0] == {"retrieval": both}
    asked = request_of(settings=tuple(f"tasks.retrieval.{name}={value}" for name, value in both.items()))
    assert final_tasks(asked, {"retrieval": {}}, everything)[0] == {"retrieval": both}
    with pytest.raises(RunError, match="leave it nothing to say"):
        final_tasks(
            request_of(settings=(*asked.settings, "tasks.retrieval.rerank=2")), {"retrieval": {}}, everything
        )


def test_a_task_that_cannot_be_measured_as_papers_do_is_measured_as_in_the_search_and_that_is_said() -> None:
    own = {"retrieval": {"rerank": 0}, "vqa": {}}

    def lack(task: Task) -> str | None:
        return "the teacher has no matching" if "itm" in task.losses else None

    found, notes = final_tasks(request_of(), own, lack)
    assert found == {"retrieval": {"rerank": 0}, "vqa": {"decode": "generate"}}
    assert notes[0] == "retrieval is measured as in the search, not as papers do: the teacher has no matching"
    asked = request_of(settings=("tasks.retrieval.rerank=4",))
    found, notes = final_tasks(asked, own, lack)
    assert found["retrieval"] == {"rerank": 4}, (
        "what is asked for is refused where it cannot be done, not changed"
    )
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tasks": ("retreival",)}, "--tasks: .*retreival.*Did you mean 'retrieval'"),
        ({"settings": ("tasks.vqa.decode=rank",), "tasks": ("retrieval",)}, "--set tasks.vqa.decode"),
        ({"settings": ("tasks.retrieval.rerank=-1",)}, "rerank"),
        ({"settings": ("tasks.retrieval.reranks=1",)}, "reranks"),
    ],
)
def test_tasks_that_there_are_not_are_told(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(RunError, match=told):
        final_tasks(request_of(**changes), {"retrieval": {}, "vqa": {}}, everything)


def test_what_is_wrong_is_told_of_the_form_in_which_finals_measure() -> None:
    """Captions are said whole there, so that advice to set `decode: beam` would lead nowhere."""
    with pytest.raises(RunError) as caught:
        final_tasks(request_of(settings=("tasks.captioning.longest=3",)), {"captioning": {}}, everything)
    assert str(caught.value).startswith(
        "tasks.captioning.shortest: got 5 with longest 3; allowed: at most that."
    )


@pytest.mark.parametrize("name", ["scenes,variant=harder,variant=plain", "jsonl:a.jsonl,file=b.jsonl"])
def test_an_option_of_other_data_stands_once(name: str) -> None:
    with pytest.raises(RunError, match=r"(variant|file) stands twice; allowed: each option once"):
        domain_settings(name, {})
    assert domain_settings("scenes,variant=harder,seed=3", {"kind": "scenes", "variant": "plain"}) == {
        "kind": "scenes",
        "variant": "harder",
        "seed": 3,
    }


def test_other_data_of_the_same_kind_is_read_as_the_students_read_their_own() -> None:
    own = {"kind": "prepared", "root": "a", "text": "plain", "max_words": 30, "answers": "drawn"}
    assert domain_settings("prepared:b", own) == {
        "kind": "prepared",
        "root": "b",
        "text": "plain",
        "max_words": 30,
    }
    assert domain_settings("prepared:b,text=as_is", own)["text"] == "as_is"
    assert domain_settings("jsonl:b", own) == {"kind": "jsonl", "file": "b"}


def test_how_much_is_measured_is_told_and_may_be_set() -> None:
    own = {"images": 1000, "captions_per_image": 1, "questions_per_image": 2}
    assert final_size(request=request_of(), own=own, split="test") == (
        own,
        "measured on 1,000 pictures of the test split, or all of fewer, with 1 caption and 2 questions of each; otherwise: "
        "--set evaluation.images=N evaluation.captions_per_image=N",
    )
    asked = request_of(settings=("evaluation.images=5000", "evaluation.captions_per_image=5"))
    assert final_size(request=asked, own=own, split="test")[0] == {
        **own,
        "images": 5000,
        "captions_per_image": 5,
    }
    for wrong in ("evaluation.images=0", "evaluation.pictures=5", "evaluation.images=many"):
        with pytest.raises(
            RunError, match=r"--set, --recipe: (evaluation\.)?(images|pictures): got .*allowed: "
        ):
            final_size(request=request_of(settings=(wrong,)), own=own, split="test")


def test_settings_are_read_as_in_a_space() -> None:
    found = list(settings_of(["losses.itc.weight=0.5", "training.lr=1e-3"]))
    assert found == [(("losses", "itc", "weight"), 0.5), (("training", "lr"), 1e-3)]


def test_what_epochs_say_is_not_set_beside_them() -> None:
    with pytest.raises(RunError, match="comes from --epochs and --fine-tune"):
        list(settings_of(["training.epochs=7"]))


def test_a_recipe_says_what_flags_would_and_flags_go_before_it(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "losses:\n  itc: {weight: 0.25}\ntasks: {vqa: {decode: rank}}\ntraining: {lr: 1.0e-3}\n"
    )
    asked = parse(_parser(), ["run", "--epochs", "2", "--recipe", str(recipe), "training.lr=0.5"])
    assert list(settings_of(_request(asked).settings)) == [
        (("losses", "itc", "weight"), 0.25),
        (("tasks", "vqa", "decode"), "rank"),
        (("training", "lr"), 1e-3),
        (("training", "lr"), 0.5),
    ]


def test_the_shipped_recipe_is_one_that_finals_take() -> None:
    recipe = read_recipe(Path(spaces.__file__).parent / "recipes" / "distilled.yaml")
    asked = list(settings_of([f"{one.path}={one.value}" for one in recipe]))
    config = changed(candidate_config(), asked)
    for path, value in asked:
        here: Any = config
        for key in path:
            here = here[key]
        assert here == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "got no readable file"),
        ("", "got an empty file; allowed: a recipe"),
        ("- 1", "allowed: `key: value` lines"),
        (
            "losses: {itc: {weight: 1}}\nstudent: {embedding: 4}",
            ":2: finals do not take student.embedding; allowed",
        ),
        ("losses: {itc: 3}", ":1: finals do not take losses.itc;"),
        ("losses: {}", ":1: finals do not take losses;"),
        ("training:\n  epochs: 3", ":2: how long a training is"),
        ("losses:\n  itc: {weight: 1}\n  itc: {weight: 2}", ":3, losses.itc: "),
        ("a: [", "recipe.yaml:1: "),
    ],
)
def test_a_recipe_of_another_form_is_told_with_its_line(tmp_path: Path, text: str | None, told: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    if text is not None:
        recipe.write_text(text)
    asked = parse(_parser(), ["run", "--epochs", "2", "--recipe", str(recipe)])
    with pytest.raises(StudentSearchError) as caught:
        _request(asked)
    assert told in str(caught.value)
    assert str(recipe) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "lr",
        "lr=3",
        "student.embedding=4",
        "losses.itc=3",
        "training=3",
        "training.lr.x=1",
        "=",
        "losses..x=1",
    ],
)
def test_settings_of_another_form_are_told(text: str) -> None:
    with pytest.raises(RunError, match=r"--set .*allowed: "):
        list(settings_of([text]))


def test_other_settings_of_the_cache_are_another_teaching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the key of before, a training would be taken for one that is through already."""
    (tmp_path / "space.yaml").write_text(SPACE + "teacher_cache: {kind: cached, top_k: 8}\n")
    monkeypatch.setattr(
        "search.finals.request.read_space",
        lambda folder, changes: load_space(folder / "space.yaml", changes),
    )
    for settings, told in (
        ((), ""),
        (("teacher_cache.top_k=8",), ""),
        (("teacher_cache.top_k=0", "training.lr=1e-3"), ", top_k 0"),
        (("teacher_cache.kind=live",), ", kind live"),
    ):
        request = request_of(folder=tmp_path, settings=settings)
        assert heard(request, "student") == told
        assert heard(request, "random") == f" at random{told}"
        assert heard(request, "plain") == ""


def test_finals_with_other_workers_than_the_search_say_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", prepare(tmp_path, "resources.workers_per_trial=2"), [])
    mined, every = (
        {"longer": {**candidate_config(negatives=drawn), "losses": {"itm": {"weight": 1.0}}}}
        for drawn in ("rank", "workers")
    )
    assert workers_of(request_of(folder=folder)) == 2
    assert worker_notes(request_of(folder=folder), mined) == []
    asked = request_of(folder=folder, workers=8)
    assert workers_of(asked) == 8
    (line,) = worker_notes(asked, mined)
    assert line.startswith(
        "WARNING: --workers-per-trial: got 8, the candidates of the search were trained with 2: hard neg"
    )
    assert worker_notes(asked, every) == []
    (normed,) = worker_notes(asked, {"longer": {**every["longer"], "student": {"kind": "resnet"}}})
    assert (
        "batch norms (students of kind resnet) are of 1/8 of each batch, not of 1/2 of each batch" in normed
    )
