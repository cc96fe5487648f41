"""Figures of features on features whose figures are known."""

from typing import Any

import numpy as np
import pytest
import torch

from trainables.datasets.base import Split
from trainables.teachers.objects import usefulness as module
from trainables.teachers.objects.usefulness import mean_recall, nearest_top1, probe_top1, usefulness

CLASSES = 24


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def labelled(count: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(count) % CLASSES
    return torch.eye(CLASSES)[labels] + noise * torch.randn(count, CLASSES), labels


@pytest.mark.parametrize("figure", [nearest_top1, probe_top1])
def test_features_of_the_class_are_right_and_noise_is_at_chance(figure: Any) -> None:
    known, labels = labelled(480, 0.05)
    asked, truth = labelled(240, 0.05)
    assert figure(known, labels, asked, truth) == 100.0
    noise = figure(torch.randn(480, 8), labels, torch.randn(240, 8), truth)
    assert noise < 12.0  # 4.2 of a deviation of 1.3


def test_a_linear_model_reads_what_neighbours_cannot() -> None:
    known, labels = labelled(960, 0.1)
    asked, truth = labelled(240, 0.1)
    known = torch.cat([known, 3 * torch.randn(960, 40)], dim=1)
    asked = torch.cat([asked, 3 * torch.randn(240, 40)], dim=1)
    assert probe_top1(known, labels, asked, truth) == 100.0
    assert nearest_top1(known, labels, asked, truth) < 60.0


def test_recall_counts_ranks_of_both_directions() -> None:
    images, texts = torch.randn(12, 6), torch.randn(24, 6)
    own = torch.arange(24) // 2
    cosines = torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=-1).numpy()
    hits = []
    for k in (1, 5, 10):
        hits.append(np.mean([bool(set(np.argsort(-cosines[i])[:k]) & {2 * i, 2 * i + 1}) for i in range(12)]))
        hits.append(np.mean([j // 2 in np.argsort(-cosines[:, j])[:k] for j in range(24)]))
    assert mean_recall(images, texts, own) == pytest.approx(100 * np.mean(hits), abs=1e-4)


def test_figures_of_splits_are_those_of_their_first_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 7)

    def split(count: int) -> Split:
        labels = np.arange(count) % CLASSES
        pixels = np.zeros((count, 4, 4, 3), dtype=np.uint8)
        pixels[:, 0, 0, 0] = labels
        none = np.zeros(0, dtype=np.int64)
        return Split(
            name="val", pixels=pixels, captions=["a"] * count, caption_images=np.arange(count),
            questions=[], answers=[], question_images=none, labels=labels,
        )  # fmt: skip

    def features(pixels: torch.Tensor) -> torch.Tensor:
        assert len(pixels) <= 7
        return torch.eye(CLASSES)[pixels[:, 0, 0, 0].long()]

    found = usefulness(split(96), split(48), features, known=72)
    assert found == {"knn_top1": 100.0, "probe_top1": 100.0}
    texts = torch.eye(CLASSES)[torch.arange(48) % CLASSES] + 0.01 * torch.randn(48, CLASSES)
    assert 0 < usefulness(split(96), split(48), features, texts=texts, known=72)["mean_recall"] <= 100.0
