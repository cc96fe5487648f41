"""Which pairs an epoch holds: a pure function of (seed, epoch), shared out over workers."""

import copy
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from trainables.datasets.encoded import EncodedSplit, Rows
from trainables.training.sampler import CHUNK_BATCHES, ExampleSampler


def sampler(
    split: EncodedSplit, *, pairs: int = 24, batch: int = 8, seed: int = 3, **worker: int
) -> ExampleSampler:
    return ExampleSampler(split, seed=seed, batch_size=batch, pairs_per_epoch=pairs, **worker)


def rows(batch: Rows) -> list[tuple[int, int, int]]:
    return list(zip(*(batch[kind].tolist() for kind in ("picture", "caption", "question")), strict=True))


@pytest.mark.parametrize(("pairs", "batch"), [(24, 8), (25, 8), (7, 16), (100, 6), (40, 40)])
def test_an_epoch_holds_exactly_its_pairs_in_even_batches(
    train_split: EncodedSplit, pairs: int, batch: int
) -> None:
    made = sampler(train_split, pairs=pairs, batch=batch)
    for epoch in range(3):
        sizes = [len(b["picture"]) for b in made.epoch(epoch)]
        assert len(sizes) == made.num_batches == -(-pairs // batch)
        assert sum(sizes) == pairs
        assert max(sizes) <= batch
        assert max(sizes) - min(sizes) <= 1


def test_no_image_comes_twice_before_all_came_once(train_split: EncodedSplit) -> None:
    made = sampler(train_split, pairs=24)  # 40 images: passes and epochs never end together
    seen: Counter[int] = Counter()
    for epoch in range(12):
        seen.update(image for batch in made.epoch(epoch) for image in batch["picture"].tolist())
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
    for epoch in range(20):
        for batch in made.epoch(epoch):
            for image, caption, question in rows(batch):
                assert train_split.tables["caption"].images[caption] == image
                assert train_split.tables["question"].images[question] == image
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
    lengths = train_split.tables["caption"].lengths
    made = sampler(train_split, pairs=160, batch=8)
    for epoch in range(3):
        found = [lengths[b["caption"]] for b in made.epoch(epoch)]
        for first in range(0, len(found), CHUNK_BATCHES):
            chunk = sorted(found[first : first + CHUNK_BATCHES], key=lambda batch: batch.mean())
            for short, long in pairwise(chunk):
                assert short.max() <= long.min() + 1, "noise below one token decides among equals"
        spread = [int(batch.max() - batch.min()) for batch in found]
        assert np.mean(spread) < 0.5 * (lengths.max() - lengths.min())


def test_short_and_long_batches_come_in_random_order(train_split: EncodedSplit) -> None:
    made = sampler(train_split, pairs=64, batch=8)
    means = [
        [train_split.tables["caption"].lengths[b["caption"]].mean() for b in made.epoch(e)] for e in range(5)
    ]
    assert any(mean != sorted(mean) for mean in means)


def without(split: EncodedSplit, *kinds: str) -> EncodedSplit:
    """Return the split as data without some kinds of text would be."""
    made = copy.copy(split)
    made.tables = {kind: table for kind, table in split.tables.items() if kind not in kinds}
    return made


def test_data_without_questions_draws_the_captions_that_it_would_have_drawn_with_them(
    train_split: EncodedSplit,
) -> None:
    whole, part = sampler(train_split), sampler(without(train_split, "question"))
    for one, other in zip(whole.epoch(1), part.epoch(1), strict=True):
        assert set(other) == {"picture", "caption"}
        assert one["picture"].tolist() == other["picture"].tolist()
        assert one["caption"].tolist() == other["caption"].tolist()


@pytest.mark.parametrize("world", [1, 3])
def test_data_without_texts_gives_pictures_in_random_order(train_split: EncodedSplit, world: int) -> None:
    bare = without(train_split, "caption", "question")
    workers = [sampler(bare, pairs=40, rank=rank, world=world) for rank in range(world)]
    seen = [batch for one in workers for batch in one.epoch(0)]
    assert all(set(batch) == {"picture"} for batch in seen)
    pictures = np.concatenate([batch["picture"] for batch in seen]).tolist()
    assert sorted(pictures) == list(range(40))
    assert pictures != sorted(pictures)
    other = np.concatenate([batch["picture"] for one in workers for batch in one.epoch(1)]).tolist()
    assert pictures != other


def test_a_picture_without_question_has_row_minus_1(train_split: EncodedSplit) -> None:
    partial = copy.copy(train_split)
    table = train_split.tables["question"]
    offsets = np.where(np.arange(41) <= 5, 0, table.offsets)  # the first 5 pictures ask nothing
    partial.tables = train_split.tables | {"question": replace(table, offsets=offsets)}
    assert partial.tables["question"].count(np.arange(7)).tolist() == [0, 0, 0, 0, 0, 24, 4]
    for batch in sampler(partial, pairs=40).epoch(0):
        assert ((batch["question"] < 0) == (batch["picture"] < 5)).all()
