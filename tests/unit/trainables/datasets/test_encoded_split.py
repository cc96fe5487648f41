"""A split as the training loop reads it, on four pictures told by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spaces.errors import DatasetError
from tests.unit.trainables.small import CPU
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit, fields_of
from trainables.preprocess import PreprocessConfig
from trainables.signals import Batch
from trainables.tokenizer import Tokenizer, write_word_tokenizer

WORDS = ("a", "red", "blue", "ring", "how", "many", "?", "one", "two")
PAD, CLS, SEP, DEC = 0, 2, 3, 4
IDS = {word: 6 + index for index, word in enumerate(WORDS)}
CAPTIONS = ["a red ring", "a ring", "a blue ring", "a ring", "red"]
CAPTION_IMAGES = [2, 0, 0, 3, 1]
QUESTIONS = ["how many ?", "how many ring ?", "red ?"]
ANSWERS = ["two", "one two", "one"]
QUESTION_IMAGES = [0, 2, 2]


PREPROCESS = PreprocessConfig(image_size=2, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))


def told(*, texts: bool = True) -> Split:
    none = np.zeros(0, dtype=np.int64)
    return Split(
        name="train",
        pixels=np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3),
        captions=CAPTIONS if texts else [],
        caption_images=np.array(CAPTION_IMAGES) if texts else none,
        questions=QUESTIONS if texts else [],
        answers=ANSWERS if texts else [],
        question_images=np.array(QUESTION_IMAGES) if texts else none,
    )


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return Tokenizer.from_folder(tmp_path, write_word_tokenizer(tmp_path, WORDS, 12), 12)


@pytest.fixture
def split(tokenizer: Tokenizer) -> EncodedSplit:
    return EncodedSplit(told(), tokenizer, PREPROCESS)


def texts(split: EncodedSplit, kind: str, rows: list[int]) -> Batch:
    """Return a batch of texts alone."""
    return split.batch({kind: np.array(rows)}, CPU)


def test_pictures_are_scaled_and_normalised_channel_by_channel(split: EncodedSplit) -> None:
    images = split.images(np.array([3, 1]), CPU)
    assert images.shape == (2, 3, 2, 2)
    # picture 3, row 0, column 1 holds 39, 40, 41; picture 1, row 1, column 0 holds 18, 19, 20
    expected = [(39 / 255 - 0.1) / 0.5, (40 / 255 - 0.2) / 1.0, (41 / 255 - 0.3) / 2.0]
    assert images[0, :, 0, 1].tolist() == pytest.approx(expected)
    assert images[1, 2, 1, 0].item() == pytest.approx((20 / 255 - 0.3) / 2.0)


def test_rows_of_an_image_are_found_and_wrap_around(split: EncodedSplit) -> None:
    images = np.array([0, 0, 0, 1, 2, 3])
    captions, questions = split.tables["caption"], split.tables["question"]
    assert captions.count(images).tolist() == [2, 2, 2, 1, 1, 1]
    assert captions.row(images, np.array([0, 1, 2, 7, 0, 0])).tolist() == [1, 2, 1, 4, 0, 3]
    assert questions.row(images, np.array([0, 1, 5, 0, 1, 2])).tolist() == [0, 0, 0, -1, 2, -1]


def test_first_rows_of_pictures_come_with_the_place_of_their_picture(split: EncodedSplit) -> None:
    def first(kind: str, images: list[int], most: int) -> tuple[list[int], list[int]]:
        rows, owners = split.tables[kind].first(np.array(images), most)
        return rows.tolist(), owners.tolist()

    assert first("caption", [0, 1, 2, 3], 1) == ([1, 4, 0, 3], [0, 1, 2, 3])
    assert first("caption", [3, 0], 2) == ([3, 1, 2], [0, 1, 1])
    assert first("question", [0, 1, 2], 9) == ([0, 1, 2], [0, 2, 2])


def test_captions_are_padded_to_the_longest_of_the_batch(split: EncodedSplit) -> None:
    batch = texts(split, "caption", [4, 1])
    ids, mask, targets = (batch[f"caption.{part}"] for part in ("ids", "mask", "targets"))
    assert ids.tolist() == [[CLS, IDS["red"], SEP, PAD], [CLS, IDS["a"], IDS["ring"], SEP]]
    assert mask.tolist() == [[True, True, True, False], [True] * 4]
    assert targets.tolist() == [[True, True, False, False], [True, True, True, False]], (
        "all words and their end"
    )
    assert ids.dtype == torch.int64


def test_questions_have_a_weight_where_the_data_gives_some(split: EncodedSplit, tokenizer: Tokenizer) -> None:
    weights = np.array([1.0, 0.25, 0.5], dtype=np.float32)
    weighed = EncodedSplit(replace(told(), question_weights=weights), tokenizer, PREPROCESS)
    found = texts(weighed, "question", [2, -1, 1])["question.weight"]
    assert (found.tolist(), found.dtype) == ([0.5, 0.0, 0.25], torch.float32)
    assert "caption.weight" not in texts(weighed, "caption", [0]).fields
    assert "question.weight" not in texts(split, "question", [0]).fields


def test_questions_are_drawn_as_often_as_the_data_says(tokenizer: Tokenizer) -> None:
    """Of picture 2 the second question three times as often as the third."""
    drawn = EncodedSplit(replace(told(), question_times=np.array([1, 3, 1])), tokenizer, PREPROCESS)
    table = drawn.tables["question"]
    images = np.array([2] * 8)
    assert table.row(images, np.arange(8)).tolist() == [1, 1, 1, 2, 1, 1, 1, 2]
    assert table.row(np.array([0, 1]), np.array([5, 5])).tolist() == [0, -1]
    assert drawn.num_rows("question") == 3


def test_equal_captions_have_equal_keys(split: EncodedSplit) -> None:
    keys = split.tables["caption"].keys.tolist()
    assert keys[1] == keys[3]
    assert len(set(keys)) == 4
    assert texts(split, "caption", [3, 0])["caption.key"].tolist() == [keys[3], keys[0]]


def test_targets_of_a_question_stand_before_each_answer_token_and_its_end(split: EncodedSplit) -> None:
    batch = texts(split, "question", [1, 0])
    ids, mask, answer = (batch[f"question.{part}"] for part in ("ids", "mask", "targets"))
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
    batch = texts(split, "question", [-1, 1])
    ids, mask, answer = (batch[f"question.{part}"] for part in ("ids", "mask", "targets"))
    assert ids[0].tolist() == [CLS, SEP] + [PAD] * 6, (
        "a decoder reads [DEC] in the first place whatever is there"
    )
    assert mask[0].tolist() == [True, True] + [False] * 6
    assert not bool(answer[0].any())
    assert int(answer[1].sum()) == 3
    keys = batch["question.key"].tolist()
    assert keys[0] == -1 != keys[1]
    alone = texts(split, "question", [-1, -1])
    assert alone["question.ids"].tolist() == [[CLS, SEP]] * 2
    assert bool(alone["question.mask"].all())
    assert not bool(alone["question.targets"].any())
    assert alone.rows["question"].tolist() == [-1, -1]


def test_a_picture_without_caption_predicts_nothing(split: EncodedSplit) -> None:
    batch = texts(split, "caption", [4, -1])
    assert batch["caption.ids"].tolist() == [[CLS, IDS["red"], SEP], [CLS, SEP, PAD]]
    assert batch["caption.mask"].tolist() == [[True] * 3, [True, True, False]]
    assert batch["caption.targets"].tolist() == [[True, True, False], [False] * 3]
    assert batch["caption.key"].tolist()[1] == -1


def test_a_batch_carries_the_rows_it_was_asked_for(split: EncodedSplit) -> None:
    rows = {"picture": np.array([0, 3]), "caption": np.array([1, 3]), "question": np.array([0, -1])}
    batch = split.batch(rows, CPU)
    assert {kind: numbers.tolist() for kind, numbers in batch.rows.items()} == {
        "picture": [0, 3], "caption": [1, 3], "question": [0, -1],
    }  # fmt: skip
    assert batch["caption.key"][0] == batch["caption.key"][1]
    assert torch.equal(batch["picture.pixels"], split.images(np.array([0, 3]), CPU))
    assert set(batch.fields) == split.fields
    without = split.batch({"picture": np.array([0]), "caption": np.array([1])}, CPU)
    assert not any(name.startswith("question") for name in [*without.fields, *without.rows])
    unseen = split.batch({"picture": np.array([0]), "caption": np.array([1])}, CPU, pixels=False)
    assert "picture.pixels" not in unseen
    assert unseen.rows["picture"].tolist() == [0], "the teacher cache still finds it"


def test_rows_are_counted_by_kind(split: EncodedSplit) -> None:
    assert [split.num_rows(kind) for kind in ("picture", "caption", "question", "statement")] == [4, 5, 3, 0]


@pytest.mark.parametrize("wordless", ["tokenizer", "data"])
def test_without_tokenizer_or_texts_there_are_pictures_alone(tokenizer: Tokenizer, wordless: str) -> None:
    split = EncodedSplit(
        told(texts=wordless != "data"), tokenizer if wordless == "data" else None, PREPROCESS
    )
    assert split.fields == {"picture.pixels"}
    assert split.tables == {}
    assert (split.num_rows("picture"), split.num_rows("caption")) == (4, 0)
    batch = split.batch({"picture": np.array([2, 1])}, CPU)
    assert set(batch.fields) == {"picture.pixels"}
    assert torch.equal(batch["picture.pixels"], split.images(np.array([2, 1]), CPU))
    assert split.texts["caption"] == (CAPTIONS if wordless == "tokenizer" else []), "texts stay to be read"


def test_texts_stay_beside_their_ids(split: EncodedSplit) -> None:
    assert split.texts["caption"] == CAPTIONS
    assert split.texts["question"] == ["how many ? two", "how many ring ? one two", "red ? one"]


@pytest.mark.parametrize("row", [-2, -1, 4, 4_000_000_000])
def test_a_picture_that_is_none_is_told(split: EncodedSplit, row: int) -> None:
    told = rf"train split: picture row {row} was asked for, it has 4\. The data has changed"
    with pytest.raises(DatasetError, match=told):
        split.images(np.array([0, row, 1]), CPU)
    with pytest.raises(DatasetError, match=told):
        split.batch({"picture": np.array([row])}, CPU)
    with pytest.raises(DatasetError, match=f"picture row {row} was asked for"):
        split.tables["caption"].row(np.array([0, row]), np.array([0, 0]))


@pytest.mark.parametrize(
    ("kind", "row", "count"), [("caption", 5, 5), ("caption", -2, 5), ("question", 3, 3)]
)
def test_a_text_that_is_none_is_told(split: EncodedSplit, kind: str, row: int, count: int) -> None:
    with pytest.raises(DatasetError, match=f"train split: {kind} row {row} was asked for, it has {count}"):
        texts(split, kind, [0, row])


def test_labels_of_pictures_are_a_field_of_their_batches() -> None:
    split = Split(
        name="train",
        pixels=np.zeros((3, 2, 2, 3), dtype=np.uint8),
        captions=[],
        caption_images=np.zeros(0, dtype=np.int64),
        questions=[],
        answers=[],
        question_images=np.zeros(0, dtype=np.int64),
        labels=np.array([4, 0, 2]),
    )
    encoded = EncodedSplit(split, None, PREPROCESS)
    assert encoded.fields == fields_of(["picture", "label"]) == {"picture.pixels", "picture.label"}
    batch = encoded.batch({"picture": np.array([2, 0])}, CPU, pixels=False)
    assert batch["picture.label"].tolist() == [2, 4]
