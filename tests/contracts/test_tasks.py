"""What every row of `TASKS` promises, asked of a model that knows the truth about some pictures."""

import dataclasses
import inspect
import math
from functools import cache
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

from spaces.errors import PluginError
from spaces.plugins import resolve
from tests.contracts import models
from tests.contracts.oracle import CLASSES, Oracle
from trainables.datasets.base import Split, Statements
from trainables.datasets.encoded import EncodedSplit
from trainables.families import FAMILIES
from trainables.preprocess import PreprocessConfig
from trainables.signals import CLASS, modes
from trainables.tasks import DEFAULT, TASKS
from trainables.tasks.base import Task
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize, PoolRows
from trainables.tokenizer import Tokenizer, write_word_tokenizer

NUM = len(CLASSES)
CPU = torch.device("cpu")
WORDS = ("a", "b", "c", "d", "which", "?")
MAX_TOKENS = 9


def words(number: int, least: int) -> str:
    """Return a text of its own for every number, of several lengths."""
    digits = [WORDS[number // 4**place % 4] for place in range(3)]
    return " ".join(digits + ["a"] * (number % 3) + ["b"] * least)


def make_split(
    folder: Path,
    *,
    captions: bool = True,
    questions: bool = True,
    labels: bool = True,
    statements: bool = True,
    first: int = 0,
    name: str = "val",
) -> EncodedSplit:
    """Return pictures with two captions, questions and statements and a class each, but those before `first`.

    Tasks read the first caption. Every picture is a class of its own, the same ones in every split.
    """
    vocabulary = write_word_tokenizer(folder, WORDS, MAX_TOKENS)
    owners = np.repeat(np.arange(first, NUM), 2)
    texts = len(owners)
    split = Split(
        name=name,
        pixels=np.arange(NUM, dtype=np.uint8).repeat(8 * 8 * 3).reshape(NUM, 8, 8, 3) + NUM * (name != "val"),
        captions=[words(n, least=0) for n in range(texts)] if captions else [],
        caption_images=owners if captions else owners[:0],
        questions=["which a ?", "which b c ?"] * (texts // 2) if questions else [],
        answers=[words(n, least=1) for n in range(texts)] if questions else [],
        question_images=owners if questions else owners[:0],
        statements=Statements(
            texts=[words(n, least=0) for n in range(texts)],
            images=np.stack([owners, (owners + 1) % NUM], axis=1),
            holds=np.arange(texts) % 3 == 0,
        )
        if statements
        else Statements(),
        labels=np.where(np.arange(NUM) < first, -1, np.arange(NUM)) if labels else None,
    )
    tokenizer = Tokenizer.from_folder(folder, vocabulary, MAX_TOKENS)
    return EncodedSplit(split, tokenizer, PreprocessConfig(image_size=8), classes=CLASSES)


@pytest.fixture
def split(tmp_path: Path) -> EncodedSplit:
    return make_split(tmp_path)


@cache
def train_split() -> EncodedSplit:
    """Return the same again, of other pictures."""
    with TemporaryDirectory() as folder:
        return make_split(Path(folder), name="train")


def one(name: str) -> Task:
    return make_tasks({name: {}})[name]


def measured(name: str, split: EncodedSplit, quality: float = 1.0, **changes: Any) -> dict[str, float]:
    """Return a task's metrics of an oracle that is right to some share: all, nothing, or between."""
    oracle = Oracle(split, round(quality * NUM))
    oracle.train(changes.pop("training", False))
    oracle.architecture = changes.pop("offers", Oracle.offers())
    options: dict[str, Any] = {"size": EvaluationSize(images=NUM), "bank": train_split()} | changes
    return evaluate(oracle, split, tasks=[one(name)], **options)


def test_table_is_sorted_and_no_two_tasks_share_a_metric() -> None:
    assert list(TASKS) == sorted(TASKS)
    assert set(DEFAULT) <= set(TASKS)
    names = {name: set(one(name).metrics) for name in TASKS}
    assert all(not names[a] & names[b] for a, b in combinations(names, 2))


def test_all_tasks_together_measure_what_each_measures_alone(split: EncodedSplit) -> None:
    oracle = Oracle(split, NUM // 3)
    together = evaluate(
        oracle,
        split,
        tasks=[one(name) for name in TASKS],
        size=EvaluationSize(images=NUM),
        bank=train_split(),
    )
    alone = [measured(name, split, 1 / 3) for name in TASKS]
    assert together == {name: value for found in alone for name, value in found.items()}


@pytest.mark.parametrize("name", TASKS)
class TestEveryTask:
    def test_is_a_final_task_that_says_what_it_is(self, name: str) -> None:
        kind = resolve(TASKS, name, "tasks")
        assert issubclass(kind, Task)
        assert not inspect.isabstract(kind)
        assert getattr(kind, "__final__", False)
        assert kind.__doc__
        assert dataclasses.is_dataclass(kind.Config)
        assert kind.Config.__dataclass_params__.frozen  # type: ignore[attr-defined]
        task = one(name)
        assert task.counts in task.metrics
        assert len(set(task.metrics)) == len(task.metrics)
        assert task.wants
        assert task.fields

    def test_options_are_checked(self, name: str) -> None:
        with pytest.raises(PluginError, match=rf"tasks\.{name}\.colour: got an unknown option"):
            make_tasks({name: {"colour": 1}})

    def test_is_100_where_everything_is_right(self, name: str, split: EncodedSplit) -> None:
        found = measured(name, split)
        assert set(found) == set(one(name).metrics)
        assert set(found.values()) == {100.0}

    def test_is_the_same_every_time_and_draws_no_random_number(self, name: str, split: EncodedSplit) -> None:
        before = torch.get_rng_state()
        assert measured(name, split, 0.5) == measured(name, split, 0.5)
        torch.manual_seed(99)
        other = measured(name, split, 0.5)
        torch.set_rng_state(before)
        assert measured(name, split, 0.5) == other
        assert torch.equal(torch.get_rng_state(), before)

    def test_does_not_hang_on_the_mode_that_the_model_is_in_and_leaves_it_there(
        self, name: str, split: EncodedSplit
    ) -> None:
        assert measured(name, split, 0.5, training=True) == measured(name, split, 0.5)
        for training in (True, False):
            oracle = Oracle(split, NUM).train(training)
            size = EvaluationSize(images=NUM)
            evaluate(oracle, split, tasks=[one(name)], size=size, bank=train_split())
            assert oracle.training == training

    def test_says_nothing_rather_than_a_wrong_figure_of_what_a_model_lacks(
        self, name: str, split: EncodedSplit
    ) -> None:
        task = one(name)
        assert task.model_lack(Oracle.offers()) is None
        for want in task.wants:
            rest = {other: offer for other, offer in Oracle.offers().items() if other != want}
            if task.model_lack(rest) is None:  # another one will do
                continue
            assert str(task.model_lack(rest)).startswith(f"needs {want}")
            assert measured(name, split, offers=rest) == {}
        none = {other: offer for other, offer in Oracle.offers().items() if other not in task.wants}
        assert str(task.model_lack(none)).startswith("needs ")
        assert measured(name, split, offers=none) == {}

    def test_says_nothing_rather_than_a_wrong_figure_of_what_the_data_lacks(
        self, name: str, tmp_path: Path, split: EncodedSplit
    ) -> None:
        task = one(name)
        assert task.fields <= split.fields
        assert task.data_lack(split.fields) is None
        for field in task.fields:
            assert (
                task.data_lack(split.fields - {field})
                == f"needs {field}, which not every split of this data has"
            )
        texts = ("captions", "questions", "statements")
        for lacking in (*({text: False} for text in texts), dict.fromkeys(texts, False)):
            bare = make_split(tmp_path, **lacking)
            expected = {} if task.data_lack(bare.fields) else measured(name, split, 0.5)
            assert measured(name, bare, 0.5) == expected

    def test_says_nothing_where_the_pictures_looked_at_have_no_texts(self, name: str, tmp_path: Path) -> None:
        labelled = CLASS in one(name).fields
        silent = make_split(tmp_path, first=3, labels=labelled)
        few = EvaluationSize(images=2)
        none = make_split(tmp_path, first=NUM) if labelled else silent
        assert measured(name, none, size=few) == {}
        assert set(measured(name, silent)) == set(one(name).metrics)

    def test_is_served_by_passes_that_such_a_model_has(self, name: str) -> None:
        task = one(name)
        families = [models.TEACHER, *(models.blueprint(kind) for kind in FAMILIES)]
        able = [plan.offers for plan in families if task.model_lack(plan.offers) is None]
        assert able, "no family can do it"
        offers = able[0]
        passes = task.serving(offers)
        assert passes
        assert modes(task.wants) <= {one_pass.mode for one_pass in passes} <= modes(offers)
        for one_pass in passes:
            assert one_pass.repeats >= 1
            assert 0 <= one_pass.tokens <= models.AROUND.max_tokens
        assert len({(one_pass.mode, one_pass.tokens) for one_pass in passes}) == len(passes)


@pytest.mark.parametrize("name", [name for name in TASKS if not one(name).taught])
class TestEveryTaskThatHasATruth:
    """Not of those that compare with the teacher: a model without one is its own truth there."""

    def test_is_0_where_everything_is_wrong(self, name: str, split: EncodedSplit) -> None:
        assert measured(name, split, 0.0)[one(name).counts] == 0.0

    @pytest.mark.parametrize("quality", [0.0, 0.25, 0.5])
    def test_is_a_finite_percentage_and_grows_with_quality(
        self, name: str, quality: float, split: EncodedSplit
    ) -> None:
        worse, better = measured(name, split, quality), measured(name, split, quality + 0.25)
        for key, value in worse.items():
            assert isinstance(value, float)
            assert math.isfinite(value)
            assert 0.0 <= value <= 100.0
            assert value <= better[key]
        assert any(worse[key] < better[key] for key in worse)

    def test_looks_at_the_first_pictures_only_or_at_drawn_ones_where_they_have_classes(
        self, name: str, tmp_path: Path
    ) -> None:
        labelled = CLASS in one(name).fields
        split, half = make_split(tmp_path, labels=labelled), EvaluationSize(images=NUM // 2)
        seen = PoolRows(split, half).pictures
        assert (seen.tolist() == list(range(NUM // 2))) is not labelled
        right = 100.0 * float((seen < NUM // 2).mean())
        assert measured(name, split, 0.5, size=half)[one(name).counts] == pytest.approx(right)
        assert measured(name, split, 0.5)[one(name).counts] < 100.0
