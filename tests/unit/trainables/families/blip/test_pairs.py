"""Which image meets which caption: never a true pair as negative, harder ones more often."""

import pytest
import torch
from torch import Tensor

from trainables.families.blip.pairs import allowed_negatives, draw_negatives, fused_pairs
from trainables.signals import Batch


def batch_of(captions: list[int], images: list[int]) -> Batch:
    """Return a batch of which only the keys matter."""
    return Batch(fields={"caption.key": torch.tensor(captions)}, rows={"picture": torch.tensor(images)})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_same_caption_and_same_image_are_no_negatives() -> None:
    allowed = allowed_negatives(batch_of([7, 7, 8, 9], [0, 1, 2, 2]))
    assert allowed.int().tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0, 1e4, 1e30])
def test_drawn_negatives_are_never_true_pairs(scale: float) -> None:
    captions, images = [1, 1, 2, 3, 4, 5], [0, 1, 2, 3, 3, 4]
    batch = batch_of(captions, images)
    for seed in range(30):
        random = generator(seed)
        similarity = torch.randn(6, 6, generator=random) * scale
        pairs = fused_pairs(similarity, batch, random)
        assert pairs.captions_N[:6].tolist() == pairs.images_N[:6].tolist() == list(range(6))
        assert pairs.labels_N.tolist() == [1] * 6 + [0] * 12
        for caption, image in zip(pairs.captions_N[6:].tolist(), pairs.images_N[6:].tolist(), strict=True):
            assert captions[caption] != captions[image]
            assert images[caption] != images[image]


def test_each_caption_meets_one_image_and_each_image_one_caption() -> None:
    pairs = fused_pairs(torch.zeros(5, 5), batch_of([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]), generator())
    assert pairs.captions_N[5:10].tolist() == list(range(5))
    assert pairs.images_N[10:15].tolist() == list(range(5))


@pytest.mark.parametrize("broken", [float("inf"), float("-inf"), float("nan")])
def test_saturated_and_broken_similarities_draw_all_the_same(broken: float) -> None:
    similarity = torch.zeros(4, 4)
    similarity[0] = broken
    similarity[2, 3] = broken
    pairs = fused_pairs(similarity, batch_of([0, 1, 2, 3], [0, 1, 2, 3]), generator())
    assert len(pairs.labels_N) == 12
    assert bool((pairs.captions_N[4:] != pairs.images_N[4:]).all())


def test_half_precision_similarities_are_drawn_in_full_precision() -> None:
    similarity = torch.full((4, 4), -60000.0, dtype=torch.float16)
    similarity.fill_diagonal_(60000.0)
    pairs = fused_pairs(similarity, batch_of([0, 1, 2, 3], [0, 1, 2, 3]), generator())
    assert bool((pairs.captions_N[4:] != pairs.images_N[4:]).all())


def test_a_batch_without_any_negative_holds_its_pairs_alone() -> None:
    for batch in (batch_of([5, 5, 5], [0, 1, 2]), batch_of([0, 1, 2], [4, 4, 4])):
        pairs = fused_pairs(torch.randn(3, 3), batch, generator())
        assert pairs.captions_N.tolist() == pairs.images_N.tolist() == [0, 1, 2]
        assert pairs.labels_N.tolist() == [1, 1, 1]


def test_only_rows_that_have_a_negative_get_one() -> None:
    batch = batch_of([0, 1, 1], [9, 9, 3])  # row 1 shares with both others
    pairs = fused_pairs(torch.zeros(3, 3), batch, generator())
    negatives = list(zip(pairs.captions_N[3:].tolist(), pairs.images_N[3:].tolist(), strict=True))
    assert negatives == [(0, 2), (2, 0), (2, 0), (0, 2)]


def frequencies(similarity: Tensor, allowed: Tensor, draws: int = 4000) -> Tensor:
    """Return how often each column was drawn, per row."""
    random = generator()
    counts = torch.zeros(similarity.shape)
    for _ in range(draws):
        columns = draw_negatives(similarity, allowed, random)
        counts[torch.arange(len(counts)), columns] += 1
    return counts / draws


def test_harder_negatives_are_drawn_more_often_by_softmax() -> None:
    similarity = torch.tensor([[50.0, 2.0, 1.0, 0.0], [0.0, 50.0, 0.0, 3.0]])
    allowed = torch.tensor([[False, True, True, True], [True, False, True, True]])
    drawn = frequencies(similarity, allowed)
    assert drawn[0].tolist() == pytest.approx(
        [0.0, 0.665, 0.245, 0.090], abs=0.03
    )  # e**2, e, 1 over their sum
    assert drawn[1].tolist() == pytest.approx([0.045, 0.0, 0.045, 0.909], abs=0.03)


def test_rows_ask_for_captions_and_columns_for_images() -> None:
    similarity = torch.zeros(3, 3)  # row = image, column = caption
    similarity[0, 1], similarity[2, 0] = 20.0, 20.0
    batch, random = batch_of([0, 1, 2], [0, 1, 2]), generator()
    for _ in range(20):
        pairs = fused_pairs(similarity, batch, random)
        images_for_captions, captions_for_images = pairs.images_N[3:6], pairs.captions_N[6:9]
        assert captions_for_images[0] == 1, "image 0 finds caption 1 hard"
        assert images_for_captions[0] == 2, "caption 0 finds image 2 hard"


def test_draws_follow_the_generator() -> None:
    similarity, batch = torch.randn(8, 8, generator=generator(5)), batch_of(list(range(8)), list(range(8)))
    first, again, other = (fused_pairs(similarity, batch, generator(seed)).images_N for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
