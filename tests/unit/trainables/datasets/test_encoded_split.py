"""A split as the training loop reads it, on four pictures told by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.trainables.small import CPU
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.models.config import PreprocessConfig
from trainables.tokenizer import Tokenizer, write_word_tokenizer

WORDS = ("a", "red", "blue", "ring", "how", "many", "?", "one", "two")
PAD, CLS, SEP, DEC = 0, 2, 3, 4
IDS = {word: 6 + index for index, word in enumerate(WORDS)}
CAPTIONS = ["a red ring", "a ring", "a blue ring", "a ring", "red"]
CAPTION_IMAGES = [2, 0, 0, 3, 1]
QUESTIONS = ["how many ?", "how many ring ?", "red ?"]
ANSWERS = ["two", "one two", "one"]
QUESTION_IMAGES = [0, 2, 2]


@pytest.fixture
def split(tmp_path: Path) -> EncodedSplit:
    tokenizer = Tokenizer.from_folder(tmp_path, write_word_tokenizer(tmp_path, WORDS, 12), 12)
    pixels = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
    told = Split(
        name="train",
        pixels=pixels,
        captions=CAPTIONS,
        caption_images=np.array(CAPTION_IMAGES),
        questions=QUESTIONS,
        answers=ANSWERS,
        question_images=np.array(QUESTION_IMAGES),
    )
    return EncodedSplit(
        told, tokenizer, PreprocessConfig(image_size=2, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    )


def test_pictures_are_scaled_and_normalised_channel_by_channel(split: EncodedSplit) -> None:
    images = split.images(np.array([3, 1]), CPU)
    assert images.shape == (2, 3, 2, 2)
    # picture 3, row 0, column 1 holds 39, 40, 41; picture 1, row 1, column 0 holds 18, 19, 20
    expected = [(39 / 255 - 0.1) / 0.5, (40 / 255 - 0.2) / 1.0, (41 / 255 - 0.3) / 2.0]
    assert images[0, :, 0, 1].tolist() == pytest.approx(expected)
    assert images[1, 2, 1, 0].item() == pytest.approx((20 / 255 - 0.3) / 2.0)


def test_rows_of_an_image_are_found_and_wrap_around(split: EncodedSplit) -> None:
    images = np.array([0, 0, 0, 1, 2, 3])
    assert split.captions.count(images).tolist() == [2, 2, 2, 1, 1, 1]
    assert split.captions.row(images, np.array([0, 1, 2, 7, 0, 0])).tolist() == [1, 2, 1, 4, 0, 3]
    assert split.questions is not None
    assert split.questions.row(images, np.array([0, 1, 5, 0, 1, 2])).tolist() == [0, 0, 0, -1, 2, -1]


def test_captions_are_padded_to_the_longest_of_the_batch(split: EncodedSplit) -> None:
    ids, mask = split.caption_tokens(np.array([4, 1]), CPU)
    assert ids.tolist() == [[CLS, IDS["red"], SEP, PAD], [CLS, IDS["a"], IDS["ring"], SEP]]
    assert mask.tolist() == [[True, True, True, False], [True] * 4]
    assert ids.dtype == torch.int64


def test_equal_captions_have_equal_keys(split: EncodedSplit) -> None:
    keys = split.caption_keys.tolist()
    assert keys[1] == keys[3]
    assert len(set(keys)) == 4


def test_answer_mask_stands_before_each_answer_token_and_its_end(split: EncodedSplit) -> None:
    ids, mask, answer = split.question_tokens(np.array([1, 0]), CPU)
    ring = [IDS[word] for word in ["how", "many", "ring", "?", "one", "two"]]
    assert ids.tolist() == [
        [DEC, *ring, SEP],
        [DEC, *(IDS[w] for w in ["how", "many", "?", "two"]), SEP, PAD, PAD],
    ]
    assert mask.sum(1).tolist() == [8, 6]
    for row, said in enumerate((["one", "two", "SEP"], ["two", "SEP"])):
        following = ids[row, 1:][answer[row, :-1]].tolist()
        assert following == [SEP if word == "SEP" else IDS[word] for word in said]
    assert not bool(answer[:, -1].any())


def test_a_picture_without_question_asks_nothing(split: EncodedSplit) -> None:
    ids, mask, answer = split.question_tokens(np.array([-1, 1]), CPU)
    assert ids[0].tolist() == [DEC, SEP] + [PAD] * 6
    assert mask[0].tolist() == [True, True] + [False] * 6
    assert not bool(answer[0].any())
    assert int(answer[1].sum()) == 3
    alone = split.question_tokens(np.array([-1, -1]), CPU)
    assert alone[0][:, :2].tolist() == [[DEC, SEP]] * 2
    assert not bool(alone[2].any())


def test_a_batch_carries_the_keys_of_its_rows(split: EncodedSplit) -> None:
    batch = split.batch(np.array([0, 3]), np.array([1, 3]), np.array([0, -1]), CPU)
    assert batch.image_keys.tolist() == [0, 3]
    assert batch.caption_rows.tolist() == [1, 3]
    assert batch.caption_keys[0] == batch.caption_keys[1]
    assert batch.question_rows is not None
    assert batch.question_rows.tolist() == [0, -1]
    assert torch.equal(batch.images, split.images(np.array([0, 3]), CPU))
    without = split.batch(np.array([0]), np.array([1]), None, CPU)
    assert (
        without.question_ids is without.question_mask is without.answer_mask is without.question_rows is None
    )
