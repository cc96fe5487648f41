"""Image-text matching, worked by hand on models that know which caption belongs to which picture."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.trainables.small import CPU, encoded, lively, measured, small_config
from tests.unit.trainables.tasks.fake_speaker import FakeSpeaker
from trainables.datasets.encoded import EncodedSplit
from trainables.tasks.matching import Matching
from trainables.tasks.pool import EvaluationSize, Pool
from trainables.teachers.teacher import Teacher

SIZE = EvaluationSize(images=8, captions_per_image=2)


@pytest.fixture(scope="module")
def split(teacher: Teacher) -> EncodedSplit:
    return encoded(teacher, "val")


def accuracy(
    split: EncodedSplit, matches: Callable[[Tensor, Tensor], Tensor], size: EvaluationSize = SIZE
) -> float | None:
    pool = Pool(FakeSpeaker(small_config(), {}, matches=matches), split, CPU, size=size)
    return Matching(Matching.Config()).evaluate(pool).get("match_accuracy")


class Knowing:
    """Knows pictures by their pixels and captions by their ids, and notes which of them it was shown together."""

    def __init__(self, split: EncodedSplit) -> None:
        self.pixels = split.images(np.arange(8), CPU)
        table = split.tables["caption"]
        self.owners = {tuple(table.ids[r, : table.lengths[r]].tolist()): r // 4 for r in range(32)}
        self.shown: list[tuple[int, int]] = []

    def places(self, pixels: Tensor, ids: Tensor) -> list[tuple[int, int]]:
        """Return the picture that is seen, and the one that the text is about."""
        seen = [next(k for k in range(8) if torch.equal(self.pixels[k], one)) for one in pixels]
        pad = small_config().vocabulary.pad
        said = [self.owners[tuple(token for token in row if token != pad)] for row in ids.tolist()]
        self.shown += zip(seen, said, strict=True)
        return list(zip(seen, said, strict=True))

    def __call__(self, pixels: Tensor, ids: Tensor) -> Tensor:
        return torch.tensor([seen == said for seen, said in self.places(pixels, ids)])


def test_who_knows_scores_100_and_who_says_the_opposite_0(split: EncodedSplit) -> None:
    knowing = Knowing(split)
    assert accuracy(split, knowing) == 100.0
    assert accuracy(split, lambda *pair: ~knowing(*pair)) == 0.0


def test_half_of_the_pairs_are_given_and_in_the_others_each_caption_meets_the_next_picture(
    split: EncodedSplit,
) -> None:
    knowing = Knowing(split)
    accuracy(split, knowing)
    given = [(place, place) for place in range(8) for _ in range(2)]
    others = [((place + 1) % 8, place) for place in range(8) for _ in range(2)]
    assert knowing.shown == given + others


@pytest.mark.parametrize("answer", [True, False])
def test_guessing_scores_50(split: EncodedSplit, answer: bool) -> None:
    assert accuracy(split, lambda pixels, ids: torch.full((len(ids),), answer)) == 50.0


def test_each_pair_counts_once(split: EncodedSplit) -> None:
    knowing = Knowing(split)

    def wrong_about_two_pictures(pixels: Tensor, ids: Tensor) -> Tensor:
        return torch.tensor([(seen == said) != (seen < 2) for seen, said in knowing.places(pixels, ids)])

    # pictures 0 and 1 are seen in 4 of 16 given pairs and in 4 of 16 others
    assert accuracy(split, wrong_about_two_pictures) == 100 * 24 / 32

    def wrong_about_one_given_caption(pixels: Tensor, ids: Tensor) -> Tensor:
        pairs = knowing.places(pixels, ids)
        return torch.tensor([seen == said and place != 5 for place, (seen, said) in enumerate(pairs)])

    assert accuracy(split, wrong_about_one_given_caption) == 100 * 31 / 32


def test_pictures_with_an_equal_caption_are_no_false_pairs(split: EncodedSplit) -> None:
    twins = copy.copy(split)
    table = split.tables["caption"]
    keys = table.keys.copy()
    keys[4:8] = keys[0:4]  # picture 1 has the captions of picture 0
    twins.tables = {"caption": replace(table, keys=keys)}
    knowing = Knowing(split)
    accuracy(twins, knowing)
    given = [(place, place) for place in range(8) for _ in range(2)]
    others = [(other, place) for place, other in enumerate([2, 2, 3, 4, 5, 6, 7, 0]) for _ in range(2)]
    assert knowing.shown == given + others
    keys[:] = 7
    assert accuracy(twins, knowing) is None, "every caption fits every picture"


def test_one_picture_has_no_other_to_be_told_from(split: EncodedSplit) -> None:
    assert accuracy(split, Knowing(split), EvaluationSize(images=1)) is None


def test_a_real_model_is_asked_by_its_matching_head(split: EncodedSplit) -> None:
    model = lively(small_config())
    assert model.itm_head is not None
    with torch.no_grad():
        model.itm_head.weight.zero_()
        model.itm_head.bias.copy_(torch.tensor([0.0, 1.0]))  # always yes
    assert measured(model, split, SIZE, ["matching"]) == {"match_accuracy": 50.0}
    assert measured(lively(small_config(matching=False)), split, SIZE, ["matching"]) == {}
    blank = copy.copy(split)
    blank.tables = {}
    assert measured(model, blank, SIZE, ["matching"]) == {}
