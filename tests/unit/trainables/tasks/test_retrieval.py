"""Recall both ways, worked by hand and by a plain loop."""

import pytest
import torch
from torch import Tensor

from trainables.tasks.retrieval import recalls


def of(similarity: Tensor, owners: list[int]) -> dict[str, float]:
    """Return the metrics of a similarity matrix (images, captions)."""
    return recalls(similarity, torch.tensor(owners))


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
