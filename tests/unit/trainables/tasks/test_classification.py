"""Classification, worked by hand, by plain loops and by least squares; and that nothing finds itself."""

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tests.unit.trainables.small import CPU
from tests.unit.trainables.tasks.told import CLASSES, EMBEDDING, LOGITS, Told, pictures
from trainables.tasks.classification import (
    NEIGHBOURS,
    TEMPERATURE,
    Classification,
    knn_top1,
    probe_scores,
    tops,
)
from trainables.tasks.evaluation import chances, evaluate, make_tasks, reads_bank
from trainables.tasks.pool import EvaluationSize, Pool, PoolRows

ALL = EvaluationSize(images=10**6)
NAN = float("nan")


def measured(model: Told, val: list[int], train: list[int], **options: int) -> dict[str, float]:
    task = Classification(Classification.Config(**options))
    return evaluate(model, pictures(val), tasks=[task], size=ALL, bank=pictures(train, "train", shade=9))


def test_the_head_is_right_where_its_class_is_clearly_first_or_among_five() -> None:
    scores = torch.tensor(
        [
            [9.0, 1, 2, 3, 4, 5, 6],  # first
            [4.0, 1, 2, 3, 9, 8, 7],  # fourth
            [0.0, 1, 2, 3, 4, 5, 6],  # last
            [5.0, 5, 0, 0, 0, 0, 0],  # a tie for the first place: second
            [1.0, 1, 1, 1, 1, 1, 1],  # nothing said
            [NAN, 1, 1, 1, 1, 1, 1],
            [9.0, NAN, 0, 0, 0, 0, 0],  # what is no number is behind nothing
            [9.0, 9, 9, 9, 9, 9, 0],  # a tie of six: sixth
        ]
    )
    found = tops(scores, torch.zeros(8, dtype=torch.long))
    assert found == {"top1": 100 * 1 / 8, "top5": 100 * 4 / 8}


def test_a_class_that_the_head_does_not_have_is_never_told_right() -> None:
    assert tops(torch.ones(1, 3), torch.tensor([3])) == {"top1": 0.0, "top5": 0.0}


def votes(query: Tensor, bank: Tensor, labels: list[int]) -> dict[int, float]:
    """Return the votes of the nearest, neighbour by neighbour."""
    near = sorted(range(len(bank)), key=lambda place: -float(query @ bank[place]))[:NEIGHBOURS]
    found: dict[int, float] = defaultdict(float)
    for place in near:
        found[labels[place]] += math.exp(float(query @ bank[place]) / TEMPERATURE)
    return found


@pytest.mark.parametrize("count", [7, 90])
def test_neighbours_vote_as_counted_one_by_one(count: int) -> None:
    random = torch.Generator().manual_seed(count)
    bank = normalize(torch.randn(count, 5, generator=random), dim=1)
    queries = normalize(torch.randn(300, 5, generator=random), dim=1)
    labels = torch.randint(0, 6, (count,), generator=random)
    right = torch.randint(0, 7, (300,), generator=random)  # of class 6 there is no picture
    expected = 0
    for query, mine in zip(queries, right.tolist(), strict=True):
        found = votes(query.double(), bank.double(), labels.tolist())
        expected += mine in found and found[mine] > max(
            [v for c, v in found.items() if c != mine], default=0.0
        )
    assert knn_top1(queries, right, bank, labels) == pytest.approx(100 * expected / 300)
    assert 0 < expected < 300


def test_of_equally_near_pictures_those_of_other_classes_count() -> None:
    bank, labels = torch.ones(NEIGHBOURS + 5, 1), torch.tensor([0] * 5 + [1] * NEIGHBOURS)
    alike = torch.ones(2, 1)
    assert knn_top1(alike, torch.tensor([0, 1]), bank, labels) == 50.0  # 5 others leave 15 of its own class
    even = torch.tensor([0] * 5 + [1] * 5)
    assert knn_top1(alike, torch.tensor([0, 1]), bank[:10], even) == 0.0


def test_nan_and_a_bank_without_the_class_are_wrong() -> None:
    bank, labels = torch.eye(2), torch.tensor([0, 1])
    assert knn_top1(torch.eye(2), torch.tensor([0, 1]), bank, labels) == 100.0
    assert knn_top1(torch.full((1, 2), NAN), torch.tensor([0]), bank, labels) == 0.0
    assert knn_top1(torch.eye(2), torch.tensor([0, 1]), torch.tensor([[1.0, 0], [NAN, 0]]), labels) == 0.0
    assert knn_top1(torch.eye(2), torch.tensor([5, 6]), bank, labels) == 0.0


def test_the_probe_is_the_ridge_regression_of_the_classes() -> None:
    random = torch.Generator().manual_seed(1)
    bank = normalize(torch.randn(50, 4, generator=random), dim=1)
    queries = normalize(torch.randn(9, 4, generator=random), dim=1)
    labels = torch.randint(0, 3, (50,), generator=random)
    x, y = bank.double().numpy(), np.eye(3)[labels.numpy()]
    mean = x.mean(axis=0)
    ridge = 1e-3 * (x - mean).var(axis=0).mean()
    # the penalty as rows of zeros beside the data, the offset as a column: ordinary least squares then
    rows = np.vstack(
        [
            np.hstack([x - mean, np.ones((50, 1))]) / math.sqrt(50),
            np.hstack([math.sqrt(ridge) * np.eye(4), np.zeros((4, 1))]),
        ]
    )
    weights = np.linalg.lstsq(rows, np.vstack([y / math.sqrt(50), np.zeros((4, 3))]), rcond=None)[0]
    expected = np.hstack([queries.double().numpy() - mean, np.ones((9, 1))]) @ weights
    torch.testing.assert_close(probe_scores(queries, bank, labels, 3), torch.from_numpy(expected))


def test_a_probe_of_broken_embeddings_tells_nothing() -> None:
    labels = torch.tensor([0, 0, 1])
    assert probe_scores(torch.ones(2, 2), torch.full((3, 2), NAN), labels, 2).isnan().all()
    constant = probe_scores(torch.ones(2, 2), torch.ones(3, 2), labels, 2)
    torch.testing.assert_close(constant, torch.tensor([[2 / 3, 1 / 3]] * 2, dtype=torch.double))


def separable(labels: list[int]) -> Tensor:
    return torch.eye(len(CLASSES))[torch.tensor(labels).clamp(min=0)]


def test_a_model_is_measured_by_its_head_and_by_its_embedding() -> None:
    val, train = [0, 1, 2, 3, 4, 5, 6, -1], [6, 5, 4, 3, 2, 1, 0, -1] * 2
    wrong = separable([1, 1, 1, 1, 1, 1, 1, 1])
    told = {
        "val": {EMBEDDING: separable(val), LOGITS: wrong},
        "train": {EMBEDDING: separable(train), LOGITS: separable(train)},
    }
    found = measured(Told(told), val, train)
    assert found == {"top1": 100 / 7, "top5": 100 / 7, "knn_top1": 100.0, "probe_top1": 100.0}
    foreign = measured(Told(told, classes=CLASSES[::-1]), val, train)
    assert foreign == {"top1": 100.0, "top5": 100.0, "knn_top1": 100.0, "probe_top1": 100.0}
    head_alone = {name: {LOGITS: one[LOGITS]} for name, one in told.items()}
    assert measured(Told(head_alone), val, train) == {"top1": 100 / 7, "top5": 100 / 7}
    assert measured(Told(head_alone, classes=CLASSES[::-1]), val, train) == {}


def test_pictures_without_a_class_are_neither_asked_about_nor_compared_with() -> None:
    told = {"val": {EMBEDDING: separable([0, 1])}, "train": {EMBEDDING: separable([0, 1])}}
    assert measured(Told(told), [-1, -1], [0, 1]) == {}
    assert measured(Told(told), [0, 1], [-1, -1]) == {}
    assert measured(Told(told), [0, -1], [0, 1])["knn_top1"] == 100.0


@pytest.mark.parametrize("name", ["knn_top1", "probe_top1"])
def test_embeddings_that_know_nothing_score_as_guessing_does(name: str) -> None:
    """Where a picture met itself, the nearest neighbour would be right each time, as in a published 1.00."""
    random = torch.Generator().manual_seed(5)
    val, train = (torch.randint(0, 7, (count,), generator=random).tolist() for count in (700, 1400))
    told = {
        "val": {EMBEDDING: normalize(torch.randn(700, 16, generator=random), dim=1)},
        "train": {EMBEDDING: normalize(torch.randn(1400, 16, generator=random), dim=1)},
    }
    level = 100 / 7
    error = 100 * math.sqrt(1 / 7 * 6 / 7 / 700)
    assert abs(measured(Told(told), val, train)[name] - level) < 3 * error


def test_a_picture_never_finds_itself_whatever_split_it_is_taken_from() -> None:
    random = torch.Generator().manual_seed(6)
    labels = torch.randint(0, 7, (400,), generator=random).tolist()
    said = {EMBEDDING: normalize(torch.randn(400, 16, generator=random), dim=1)}
    model, task = Told({"val": said, "train": said}), Classification(Classification.Config())
    same = pictures(labels, "train")  # the very pictures that are asked about
    assert evaluate(model, pictures(labels), tasks=[task], size=ALL, bank=same) == {}
    half = EvaluationSize(images=200)
    found = evaluate(model, pictures(labels), tasks=[task], size=half, bank=same)
    assert abs(found["knn_top1"] - 100 / 7) < 3 * 100 * math.sqrt(1 / 7 * 6 / 7 / 200)


def test_the_bank_is_drawn_over_the_whole_train_split_and_is_the_same_for_every_model() -> None:
    labels = sorted([number % 7 for number in range(700)])  # as folders of classes lie
    train, said = pictures(labels, "train", shade=3), {EMBEDDING: torch.ones(700, 1)}
    drawn = []
    for _ in range(2):
        pool = Pool(Told({"val": said, "train": said}), pictures([0]), CPU, size=ALL, bank=train)
        bank = pool.bank(140)
        assert pool.bank(140) is bank
        assert bank.split is train
        assert len(set(bank.pictures.tolist())) == 140
        assert set(bank.labels.tolist()) == set(range(7))
        drawn.append(bank.pictures.tolist())
        assert len(pool.bank(10**6).pictures) == 700
    assert drawn[0] == drawn[1]


def test_the_bank_keeps_nothing_for_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Told, "reusable", frozenset({LOGITS}))
    told = {"val": {EMBEDDING: torch.eye(2), LOGITS: torch.eye(2)}, "train": {EMBEDDING: torch.eye(2)}}
    pool = Pool(Told(told), pictures([0, 1]), CPU, size=ALL, bank=pictures([0, 1], "train", shade=1))
    assert torch.equal(pool.bank(2).of_pictures(EMBEDDING), torch.eye(2))
    with pytest.raises(KeyError):  # asked about, it is computed as ever
        pool.bank(2).of_pictures(LOGITS)


def test_what_is_asked_is_drawn_over_a_split_that_lies_class_by_class() -> None:
    split = pictures(sorted([number % 7 for number in range(700)]))
    rows = PoolRows(split, EvaluationSize(images=140))
    assert len(set(rows.pictures.tolist())) == 140
    assert set(split.labels[rows.pictures].tolist()) == set(range(7))  # type: ignore[index]
    assert PoolRows(split, ALL).pictures.tolist() == list(range(700))


def test_whoever_gives_no_train_split_is_told() -> None:
    task = Classification(Classification.Config())
    assert reads_bank([task])
    assert not reads_bank(make_tasks({"retrieval": {}}).values())
    said = {EMBEDDING: torch.ones(1, 1)}
    with pytest.raises(ValueError, match="no train split to compare with: give `bank`"):
        evaluate(Told({"val": said}), pictures([0]), tasks=[task], size=ALL)


def test_guessing_says_the_most_frequent_class() -> None:
    (found,) = chances(
        pictures([0, 0, 0, 1, 2, -1, -1, -1]), tasks=[Classification(Classification.Config())], size=ALL
    ).values()
    assert (found.level, found.count) == (60.0, 5)


def test_options_and_what_the_plan_says() -> None:
    (task,) = make_tasks({"classification": {"train_images": 250}}).values()
    assert "compare with 250 pictures of the train split" in str(task.remark())
