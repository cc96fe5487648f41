"""Which pairs an epoch holds: a pure function of (seed, epoch), shared out over workers."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from trainables.datasets.encoded import EncodedSplit
from trainables.sampler import CHUNK_BATCHES, PairRows, PairSampler


def sampler(
    split: EncodedSplit, *, pairs: int = 24, batch: int = 8, seed: int = 3, **worker: int
) -> PairSampler:
    return PairSampler(split, seed=seed, batch_size=batch, pairs_per_epoch=pairs, **worker)


def rows(batch: PairRows) -> list[tuple[int, int, int]]:
    assert batch.questions is not None
    return list(zip(batch.images.tolist(), batch.captions.tolist(), batch.questions.tolist(), strict=True))


@pytest.mark.parametrize(("pairs", "batch"), [(24, 8), (25, 8), (7, 16), (100, 6), (40, 40)])
def test_an_epoch_holds_exactly_its_pairs_in_even_batches(
    train_split: EncodedSplit, pairs: int, batch: int
) -> None:
    made = sampler(train_split, pairs=pairs, batch=batch)
    for epoch in range(3):
        sizes = [len(b.images) for b in made.epoch(epoch)]
        assert len(sizes) == made.num_batches == -(-pairs // batch)
        assert sum(sizes) == pairs
        assert max(sizes) <= batch
        assert max(sizes) - min(sizes) <= 1


def test_no_image_comes_twice_before_all_came_once(train_split: EncodedSplit) -> None:
    made = sampler(train_split, pairs=24)  # 40 images: passes and epochs never end together
    seen: Counter[int] = Counter()
    for epoch in range(12):
        seen.update(image for batch in made.epoch(epoch) for image in batch.images.tolist())
        done = 24 * (epoch + 1)
        counts = [seen[image] for image in range(40)]
        assert min(counts) >= done // 40
        assert max(counts) <= -(-done // 40)


def test_passes_differ_in_order(train_split: EncodedSplit) -> None:
    made = sampler(train_split, pairs=40, batch=40)
    orders = [made._images(epoch).tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_captions_and_questions_belong_to_their_image_and_vary(train_split: EncodedSplit) -> None:
    made = sampler(train_split, pairs=40)
    captions: dict[int, set[int]] = {}
    assert train_split.questions is not None
    for epoch in range(20):
        for batch in made.epoch(epoch):
            for image, caption, question in rows(batch):
                assert train_split.captions.images[caption] == image
                assert train_split.questions.images[question] == image
                captions.setdefault(image, set()).add(caption)
    assert all(len(found) == 4 for found in captions.values()), "all four captions of an image get their turn"


def test_an_epoch_depends_on_seed_and_number_alone(train_split: EncodedSplit) -> None:
    straight = [[rows(b) for b in sampler(train_split).epoch(epoch)] for epoch in range(3)]
    np.random.seed(1)
    assert [rows(b) for b in sampler(train_split).epoch(2)] == straight[2], "no earlier epoch is needed"
    assert [rows(b) for b in sampler(train_split, seed=4).epoch(2)] != straight[2]
    assert straight[0] != straight[1]


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("pairs", [24, 25, 31])
def test_workers_together_see_what_one_sees(train_split: EncodedSplit, world: int, pairs: int) -> None:
    alone = sampler(train_split, pairs=pairs)
    workers = [sampler(train_split, pairs=pairs, rank=rank, world=world) for rank in range(world)]
    for epoch in range(2):
        for whole, *parts in zip(alone.epoch(epoch), *(w.epoch(epoch) for w in workers), strict=True):
            shares = [rows(part) for part in parts]
            assert Counter(row for share in shares for row in share) == Counter(rows(whole))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_batches_hold_captions_of_like_length(train_split: EncodedSplit) -> None:
    lengths = train_split.captions.lengths
    made = sampler(train_split, pairs=160, batch=8)
    for epoch in range(3):
        found = [lengths[b.captions] for b in made.epoch(epoch)]
        for first in range(0, len(found), CHUNK_BATCHES):
            chunk = sorted(found[first : first + CHUNK_BATCHES], key=lambda batch: batch.mean())
            for short, long in pairwise(chunk):
                assert short.max() <= long.min() + 1, "noise below one token decides among equals"
        spread = [int(batch.max() - batch.min()) for batch in found]
        assert np.mean(spread) < 0.5 * (lengths.max() - lengths.min())


def test_short_and_long_batches_come_in_random_order(train_split: EncodedSplit) -> None:
    made = sampler(train_split, pairs=64, batch=8)
    means = [[train_split.captions.lengths[b.captions].mean() for b in made.epoch(e)] for e in range(5)]
    assert any(mean != sorted(mean) for mean in means)
