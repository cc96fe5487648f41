"""Recall both ways, worked by hand and by a plain loop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.trainables.small import CPU, PREPROCESS, small_config, tokenizer
from tests.unit.trainables.tasks.fake_speaker import FakeSpeaker
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.tasks.pool import EvaluationSize, Pool
from trainables.tasks.retrieval import Retrieval, recalls


def of(similarity: Tensor, owners: list[int]) -> dict[str, float]:
    """Return the metrics of a similarity matrix (images, captions), each caption of which is about one image."""
    images = torch.arange(len(similarity))
    return recalls(similarity, images[:, None] == torch.tensor(owners)[None, :])


def test_worked_by_hand_with_several_captions_per_image() -> None:
    similarity = torch.tensor(
        [
            [0.9, 0.1, 0.8, 0.2, 0.3],  # own captions 0 and 1: the best is first of all
            [0.7, 0.6, 0.5, 0.1, 0.2],  # own caption 2: two others are better
            [0.1, 0.2, 0.3, 0.4, 0.35],  # own captions 3 and 4: the best is first of all
        ]
    )
    found = of(similarity, [0, 0, 1, 2, 2])
    assert found["tr_at_1"] == pytest.approx(100 * 2 / 3)
    assert found["tr_at_5"] == found["tr_at_10"] == 100.0
    # captions 0, 3, 4 find their image first; caption 1 comes third, caption 2 second
    assert found["ir_at_1"] == pytest.approx(100 * 3 / 5)
    assert found["ir_at_5"] == 100.0
    assert found["mean_recall"] == pytest.approx((200 / 3 + 100 + 100 + 60 + 100 + 100) / 6)


def by_loop(similarity: Tensor, owners: list[int]) -> dict[str, float]:
    """Return the recalls by counting, caption by caption and image by image."""
    ranks: dict[str, list[int]] = {"tr": [], "ir": []}
    for image, row in enumerate(similarity.tolist()):
        best = max(value for value, owner in zip(row, owners, strict=True) if owner == image)
        ranks["tr"].append(sum(v >= best for v, owner in zip(row, owners, strict=True) if owner != image))
    for caption, owner in enumerate(owners):
        column = similarity[:, caption].tolist()
        ranks["ir"].append(sum(v >= column[owner] for image, v in enumerate(column) if image != owner))
    return {
        f"{way}_at_{k}": 100 * sum(r < k for r in rank) / len(rank)
        for way, rank in ranks.items()
        for k in (1, 5, 10)
    }


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_plain_loop(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    owners = [*range(30), *torch.randint(0, 30, (40,), generator=random).tolist()]
    similarity = torch.randn(30, 70, generator=random)
    similarity[torch.tensor(owners), torch.arange(70)] += 1.5
    found = of(similarity, owners)
    expected = by_loop(similarity, owners)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert 10 < found["mean_recall"] < 95


def test_perfect_embeddings_score_100() -> None:
    assert set(of(torch.eye(20), list(range(20))).values()) == {100.0}


def test_ties_go_against_the_model() -> None:
    assert set(of(torch.ones(30, 60), [i % 30 for i in range(60)]).values()) == {0.0}
    half = of(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), [0, 1])  # caption 1 fits both images alike
    assert half["tr_at_1"] == 50.0
    assert half["ir_at_1"] == 50.0


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float("-inf")])
def test_broken_embeddings_score_0(broken: float) -> None:
    similarity = torch.full((20, 4), broken) @ torch.ones(20, 4).T
    assert set(of(similarity, list(range(20))).values()) == {0.0}


def test_one_broken_image_loses_its_own_recall_alone() -> None:
    similarity = torch.eye(4)
    similarity[2] = float("nan")
    assert of(similarity @ torch.eye(4), list(range(4)))["tr_at_1"] <= 75.0


def test_an_image_without_caption_is_not_asked() -> None:
    similarity = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    assert of(similarity, [0, 2])["tr_at_1"] == 100.0


# pictures 0 and 2 are called "a", pictures 1 and 3 "b"
TWINS = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]).bool()


def test_equal_captions_of_several_pictures_are_right_for_each() -> None:
    assert set(recalls(TWINS.float(), TWINS).values()) == {100.0}
    assert recalls(1 - TWINS.float(), TWINS)["tr_at_1"] == recalls(1 - TWINS.float(), TWINS)["ir_at_1"] == 0.0


def test_equal_captions_worked_by_hand() -> None:
    similarity = torch.tensor(
        [
            [0.1, 0.5, 0.9, 0.2],  # an "a": its twin's caption comes first
            [0.6, 0.5, 0.7, 0.4],  # a "b": both captions "a" come before the better "b"
            [0.8, 0.9, 0.3, 0.1],  # an "a": one "b" comes before the better "a"
            [0.0, 0.2, 0.1, 0.3],  # a "b": first
        ]
    )
    found = recalls(similarity, TWINS)
    assert found["tr_at_1"] == 50.0
    assert found["tr_at_5"] == 100.0
    # column 0 is "a": picture 2 with 0.8 comes first; column 1 is "b": picture 2 with 0.9 is before picture 1;
    # column 2 is "a": picture 0 first; column 3 is "b": picture 1 with 0.4 first
    assert found["ir_at_1"] == 75.0


@pytest.mark.parametrize("seed", range(3))
def test_equal_captions_equal_a_plain_loop(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    texts = torch.randint(0, 9, (40,), generator=random)
    belongs = texts[:, None] == texts[None, :]
    similarity = torch.randn(40, 40, generator=random) + belongs
    ranks = []
    for picture in range(40):
        best = max(similarity[picture, k].item() for k in range(40) if belongs[picture, k])
        ranks.append(sum(similarity[picture, k].item() >= best for k in range(40) if not belongs[picture, k]))
    found = recalls(similarity, belongs)
    for k in (1, 5, 10):
        assert found[f"tr_at_{k}"] == pytest.approx(100 * sum(rank < k for rank in ranks) / 40)


def test_where_all_captions_are_equal_there_is_nothing_to_find() -> None:
    assert recalls(torch.eye(4), torch.ones(4, 4).bool()) == {}


def test_a_broken_model_scores_0_on_equal_captions_too() -> None:
    belongs = torch.arange(40)[:, None] % 2 == torch.arange(40)[None, :] % 2
    for value in (0.0, float("nan"), float("inf")):
        assert set(recalls(torch.full((40, 40), value), belongs).values()) == {0.0}


def test_too_few_captions_are_told_with_numbers() -> None:
    task = Retrieval(Retrieval.Config())
    note = task.note(5000, 52)
    assert note is not None
    assert "tells only 52 different captions of 5,000 pictures apart: equal captions count as right" in note
    assert task.note(1000, 990) is None
    assert task.note(1000, 1000) is None


def pool_of(tmp_path: Path, captions: list[list[str]], most: int = 1) -> Pool:
    """Return a pool of black pictures with captions, and a model that embeds a text by its tokens."""
    images = np.repeat(np.arange(len(captions)), [len(own) for own in captions])
    split = Split(
        name="val",
        pixels=np.zeros((len(captions), 64, 64, 3), np.uint8),
        captions=[text for own in captions for text in own],
        caption_images=images,
        questions=[],
        answers=[],
        question_images=np.zeros(0, np.int64),
    )
    encoded = EncodedSplit(split, tokenizer(tmp_path), PREPROCESS)
    size = EvaluationSize(images=len(captions), captions_per_image=most)
    return Pool(FakeSpeaker(small_config(), {}), encoded, CPU, size=size)


RED, BLUE, BOTH = "a red circle", "a blue circle", "a red circle left of a blue circle"


def test_a_caption_belongs_to_all_pictures_that_have_it_in_any_place(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [[RED], [BLUE, "A RED  circle"], [BLUE], [BOTH, BLUE]])
    # the columns are the first captions: red, blue, blue, both; the teacher's words know no case
    assert pool.asked.belongs("caption").tolist() == [
        [True, False, False, False],
        [True, True, True, False],
        [False, True, True, False],
        [False, True, True, True],
    ]
    # red: not picture 1 but 2; the first blue: not 2 and 3 but 0; the second: not 3 but 0; both: 0
    assert pool.asked.strangers("caption").tolist() == [2, 0, 0, 0]


def test_a_caption_of_all_pictures_meets_no_stranger(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [[RED, BLUE], [BLUE], [BLUE, RED]], most=2)
    assert pool.asked.strangers("caption").tolist() == [1, -1, -1, -1, 1]
    assert Retrieval(Retrieval.Config()).evaluate(pool_of(tmp_path, [[RED]] * 4)) == {}
