"""The accuracy inside a batch, worked by hand, and what it cannot be taken in by."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from spaces.errors import PluginError
from tests.unit.trainables.small import CPU, PREPROCESS, tokenizer
from tests.unit.trainables.tasks.told import Told
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.scenes import language
from trainables.signals import Want
from trainables.tasks.evaluation import make_tasks
from trainables.tasks.matching import BatchMatching
from trainables.tasks.pool import EvaluationSize, Pool, PoolRows

IMAGE, TEXT = Want("image", "embedding"), Want("text", "embedding")


def pool_of(folder: Path, captions: list[str], image: Tensor, text: Tensor) -> Pool:
    """Return pictures with a caption each, and a model that says these embeddings."""
    count, nothing = len(captions), np.zeros(0, np.int64)
    split = Split(
        name="val", pixels=np.zeros((count, 1, 1, 3), np.uint8), captions=captions, caption_images=np.arange(count),
        questions=[], answers=[], question_images=nothing,
    )  # fmt: skip
    encoded = EncodedSplit(split, tokenizer(folder), PREPROCESS)
    size = EvaluationSize(images=count)
    return Pool(Told({"val": {IMAGE: image, TEXT: text}}), encoded, CPU, size=size)


def texts(count: int) -> list[str]:
    """Return captions that differ from one another."""
    words = [word for word in language.VOCABULARY if word.isalpha()]
    pairs = [f"{a} {b}" for a in words for b in words]
    assert len(pairs) >= count
    return pairs[:count]


def accuracy(pool: Pool, batch_size: int) -> float | None:
    task = BatchMatching(BatchMatching.Config(batch_size=batch_size))
    return task.evaluate(pool).get("batch_matching_top1")


def test_each_picture_is_asked_once_among_the_captions_of_its_batch(tmp_path: Path) -> None:
    # the second caption is as near to pictures 0 and 1; picture 4 is nearest to caption 1, which is in its batch
    # only where the last batch is filled up with the pairs before it
    image = torch.tensor([[0.0, 1], [0, 1], [1, 0], [-1, 0], [0, 1]])
    text = torch.tensor([[0.6, 0.8], [0, 1], [1, 0], [-1, 0], [0.1, 0.9]])
    pool = pool_of(tmp_path, texts(5), image, text)
    assert accuracy(pool, 5) == pytest.approx(100 * 3 / 5)  # 1, 2, 3
    # {0, 1}, {2, 3}, {3, 4}: 1, 2, 3 and 4
    assert accuracy(pool, 2) == pytest.approx(100 * 4 / 5)
    # {0, 1, 2, 3}, {1, 2, 3, 4}: caption 1 is before picture 4's own again
    assert accuracy(pool, 4) == pytest.approx(100 * 3 / 5)
    assert accuracy(pool, 100) == accuracy(pool, 5)


def test_equal_captions_are_right_and_ties_and_nan_are_not(tmp_path: Path) -> None:
    captions = [*texts(2), texts(1)[0]]
    turned = torch.eye(3)[[2, 1, 0]]
    assert accuracy(pool_of(tmp_path, captions, torch.eye(3), turned), 3) == 100.0
    assert accuracy(pool_of(tmp_path, texts(3), torch.eye(3), turned), 3) == pytest.approx(100 / 3)
    constant = torch.ones(3, 3)
    assert accuracy(pool_of(tmp_path, texts(3), constant, constant), 3) == 0.0
    assert accuracy(pool_of(tmp_path, texts(3), constant * math.nan, constant), 3) == 0.0
    assert accuracy(pool_of(tmp_path, [texts(1)[0]] * 3, torch.eye(3), torch.eye(3)), 3) is None


def test_embeddings_that_know_nothing_score_as_guessing_does(tmp_path: Path) -> None:
    """An untrained projection of pictures compared with themselves would score 100, as in a published 1.00."""
    random = torch.Generator().manual_seed(3)
    image, text = (normalize(torch.randn(600, 16, generator=random), dim=1) for _ in range(2))
    pool = pool_of(tmp_path, texts(600), image, text)
    task = BatchMatching(BatchMatching.Config(batch_size=20))
    chance = task.chance(pool.asked)
    assert chance is not None
    assert (chance.level, chance.count) == (pytest.approx(5.0), 600)
    found = accuracy(pool, 20)
    assert found is not None
    assert abs(found - 5.0) < 3 * 100 * math.sqrt(0.05 * 0.95 / 600)


def test_captions_belong_to_the_pictures_that_are_drawn_where_there_are_classes(tmp_path: Path) -> None:
    captions = [*texts(30), texts(1)[0]]
    split = Split(
        name="val", pixels=np.zeros((31, 1, 1, 3), np.uint8), captions=captions, caption_images=np.arange(31),
        questions=[], answers=[], question_images=np.zeros(0, np.int64), labels=np.arange(31) // 10,
    )  # fmt: skip
    rows = PoolRows(EncodedSplit(split, tokenizer(tmp_path), PREPROCESS), EvaluationSize(images=12))
    said = [captions[row] for row in rows.pictures]
    assert rows.rows("caption")[0].tolist() == rows.pictures.tolist() != list(range(12))
    assert rows.belongs("caption").tolist() == [[mine == other for other in said] for mine in said]


def test_the_plan_says_the_size_of_a_batch() -> None:
    (task,) = make_tasks({"batch_matching": {"batch_size": 64}}).values()
    assert "among those of 64 pictures" in str(task.remark())
    with pytest.raises(PluginError, match=r"tasks\.batch_matching\.batch_size: got 1"):
        make_tasks({"batch_matching": {"batch_size": 1}})
