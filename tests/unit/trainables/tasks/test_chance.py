"""What guessing scores, worked by hand and by drawing at random."""

import math

import numpy as np
import pytest
import torch

from tests.unit.trainables.small import encoded
from trainables.tasks.captioning import Captioning
from trainables.tasks.chance import Chance, bound_above, first_hit, most_frequent
from trainables.tasks.evaluation import chances
from trainables.tasks.matching import Matching
from trainables.tasks.pool import EvaluationSize, PoolRows
from trainables.tasks.retrieval import Retrieval, random_recall, recalls
from trainables.tasks.vqa import Vqa
from trainables.teachers.teacher import Teacher


def test_one_right_answer_among_n_is_among_the_first_k_with_chance_k_over_n() -> None:
    assert first_hit(1000, 1, 10) == pytest.approx(0.01)
    assert first_hit(5, 2, 1) == pytest.approx(2 / 5)
    assert first_hit(5, 2, 2) == pytest.approx(1 - (3 / 5) * (2 / 4))  # both first places hold others
    assert first_hit(5, 2, 4) == first_hit(3, 3, 1) == 1.0


def belonging(keys: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Return which pictures have a caption that is worded like each caption, (n, m)."""
    words = [set(keys[owners == picture].tolist()) for picture in range(owners.max() + 1)]
    return np.array([[key in own for key in keys.tolist()] for own in words])


def test_random_recall_by_hand() -> None:
    # a thousand pictures with one caption each, all different: (1 + 5 + 10) / 3 in a thousand, both ways
    places = np.arange(1000)
    assert random_recall(belonging(places, places)) == pytest.approx(100 * (0.001 + 0.005 + 0.010) / 3)
    # two pictures, three captions: picture 0 finds 2 of 3, picture 1 finds 1 of 3; each caption finds 1 of 2
    found = random_recall(belonging(np.array([0, 1, 2]), np.array([0, 0, 1])))
    images, texts = (2 / 3 + 1 / 3) / 2, 1 / 2
    assert found == pytest.approx(100 * (images + 1 + 1 + texts + 1 + 1) / 6)
    # where all captions are worded alike every order is right, and nothing is asked
    assert random_recall(belonging(np.zeros(9, dtype=int), np.arange(9))) is None


def test_equal_captions_raise_it() -> None:
    # four pictures, captions a a b c: pictures 0 and 1 find either a; so do the two captions
    found = random_recall(belonging(np.array([7, 7, 8, 9]), np.arange(4)))
    assert found == pytest.approx(100 * (2 * (2 / 4 + 2 / 4 + 1 / 4 + 1 / 4) / 4 + 4) / 6)


def test_random_similarities_score_it() -> None:
    random = torch.Generator().manual_seed(0)
    owners = torch.arange(20).repeat_interleave(2)
    for keys in (torch.arange(40), torch.arange(40) % 15):  # all different, and some equal
        belongs = belonging(keys.numpy(), owners.numpy())
        right = torch.from_numpy(belongs)
        scored = [recalls(torch.rand(20, 40, generator=random), right)["mean_recall"] for _ in range(400)]
        level = random_recall(belongs)
        assert level is not None
        assert abs(np.mean(scored) - level) < 4 * np.std(scored) / math.sqrt(len(scored))


def test_the_most_frequent_answer() -> None:
    assert most_frequent(["yes", "no", "yes", "two"]) == 50.0
    assert most_frequent([]) == 0.0
    assert most_frequent(["yes", "yes", "no"], total=5) == 40.0, "two more are never right"


@pytest.mark.parametrize(
    ("level", "count", "expected"),
    [
        (50.0, 100, 60.0),  # 2 errors of 5 points, and a fifth of 50
        (50.0, 10_000, 60.0),  # 2 errors of half a point; a fifth of 50 is more
        (0.5, 1000, 0.5 + 2 * 100 * math.sqrt(0.005 * 0.995 / 1000)),  # 0.95
        (90.0, 100_000, 92.0),  # a fifth of what is left
        (0.0, 1000, 0.0),
        (100.0, 1000, 100.0),  # nobody can exceed it
    ],
)
def test_the_bound_is_two_standard_errors_or_a_fifth(level: float, count: int, expected: float) -> None:
    assert bound_above(level, count) == Chance(level=level, count=count).bound == pytest.approx(expected)


def test_each_task_says_its_level_of_a_split(teacher: Teacher) -> None:
    split = encoded(teacher, "val", val_images=24)
    size = EvaluationSize(images=24, captions_per_image=2, questions_per_image=4)
    tasks = [
        Retrieval(Retrieval.Config()),
        Captioning(Captioning.Config()),
        Vqa(Vqa.Config()),
        Matching(Matching.Config()),
    ]
    found = chances(split, tasks=tasks, size=size)
    assert list(found) == ["mean_recall", "caption_token_accuracy", "vqa_accuracy", "match_accuracy"]
    assert {name: one.count for name, one in found.items()} == {
        "mean_recall": 24,
        "caption_token_accuracy": 48,
        "vqa_accuracy": 96,
        "match_accuracy": 96,
    }
    assert found["match_accuracy"].level == 50.0
    # answers of scenes are one word, which stands before the end: counted on the texts themselves
    answers = [text.split()[-1] for text in split.texts["question"]]
    assert found["vqa_accuracy"].level == pytest.approx(100 * max(map(answers.count, answers)) / 96)
    # a caption's tokens are its words and its end, and the first two captions of each picture are asked
    words = [
        [*split.texts["caption"][row].split(), "[SEP]"] for row in PoolRows(split, size).rows("caption")[0]
    ]
    flat = [word for text in words for word in text]
    expected = 100 * max(map(flat.count, flat)) / len(flat)
    assert found["caption_token_accuracy"].level == pytest.approx(expected)
    assert 0 < found["mean_recall"].level < 40
