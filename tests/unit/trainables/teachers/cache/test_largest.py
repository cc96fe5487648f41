"""Logits of which the largest are kept: these are exact at temperature 1, and all the rest together is."""

from pathlib import Path

import pytest
import torch

from tests.unit.trainables.small import EPS, silent
from tests.unit.trainables.teachers.cache.caches import opened, pairs, parts
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import Signals, Want
from trainables.teachers.cache.fill import Filling, fill_cache
from trainables.teachers.cache.largest import widened
from trainables.teachers.cache.part_file import PartFile
from trainables.teachers.cache.plan import Kept
from trainables.teachers.teacher import Teacher

WANTS = frozenset({Want("decoder", "logits"), Want("answer", "logits"), Want("fused", "logits")})
KEPT = 5


@pytest.fixture(scope="module")
def short(owner: Teacher, split: EncodedSplit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("short")
    fill_cache(made, owner, split, WANTS, Kept(precision="float32", top_k=KEPT), Filling(say=silent))
    return made


def test_the_largest_and_the_sum_of_the_others_are_the_teachers(
    owner: Teacher, split: EncodedSplit, short: Path
) -> None:
    batch = pairs(split)
    found, live = opened(short, owner).signals(batch, WANTS), owner.signals(batch, WANTS)
    torch.testing.assert_close(found[Want("fused", "logits")], live[Want("fused", "logits")])
    for mode, rows in (("decoder", "caption"), ("answer", "question")):
        real = batch[f"{rows}.mask"]
        mine, theirs = (one[Want(mode, "logits")][real].double() for one in (found, live))
        assert mine.shape == theirs.shape
        ids = theirs.topk(KEPT, dim=-1).indices
        tolerance = 64 * EPS * float(theirs.abs().max())
        torch.testing.assert_close(mine.gather(-1, ids), theirs.gather(-1, ids), atol=tolerance, rtol=0)
        # whatever the rest: the probabilities of the largest need its sum alone
        torch.testing.assert_close(
            mine.softmax(-1).gather(-1, ids), theirs.softmax(-1).gather(-1, ids), atol=tolerance, rtol=0
        )
        rest = mine.scatter(-1, ids, float("nan"))
        spread = rest.nan_to_num(-1e9).amax(-1) - rest.nan_to_num(1e9).amin(-1)
        assert float(spread.abs().max()) == 0.0


def test_a_file_holds_no_more_than_the_largest(owner: Teacher, short: Path) -> None:
    for path in parts(short):
        arrays = PartFile(path).arrays
        for mode in ("decoder", "answer"):
            values, ids, rest = (arrays[f"{mode}.logits{ending}"] for ending in ("", "/ids", "/rest"))
            assert values.shape == ids.shape == (*rest.shape, KEPT)
            assert (ids.dtype, rest.dtype) == ("uint16", "float32")
            assert int(ids.max()) < owner.offers[Want(mode, "logits")].size("V")
        assert "fused.logits/ids" not in arrays


def test_a_picture_without_a_question_has_zeros(owner: Teacher, split: EncodedSplit, short: Path) -> None:
    batch = pairs(split)
    batch = split.batch(
        {"picture": batch.rows["picture"].numpy(), "question": batch.rows["question"].numpy() * 0 - 1},
        batch.device,
    )
    found: Signals = opened(short, owner).signals(batch, frozenset({Want("answer", "logits")}))
    assert not bool(found[Want("answer", "logits")].any())


def test_widened_by_hand() -> None:
    found = widened(torch.tensor([[3.0, 2.0]]), torch.tensor([[4, 1]]), torch.tensor([-1.5]), size=6)
    assert found.tolist() == [[-1.5, 2.0, -1.5, -1.5, 3.0, -1.5]]
