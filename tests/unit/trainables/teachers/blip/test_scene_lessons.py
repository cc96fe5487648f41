"""What the embedded teacher is taught beyond the published task."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.trainables.datasets.scenes.scene_truth import answer, caption_is_true, things
from tests.unit.trainables.small import CPU, PREPROCESS, lively, silent, small_config
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.scenes import language
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.datasets.scenes.drawing import SHAPES
from trainables.families.blip.offers import LABELS, MATCH
from trainables.preprocess import Framing
from trainables.signals import CAPTION, PICTURE, QUESTION
from trainables.teachers.blip.scene_lessons import SceneLessons, with_questions
from trainables.tokenizer import Tokenizer, write_word_tokenizer
from trainables.training.sampler import ExampleSampler

SHAPE_NAMES = list(SHAPES)
THING = re.compile(rf"({'|'.join(language.COLOR_NAMES)}) ({'|'.join(SHAPES)})")
CLEAN = ScenesDataset(ScenesDataset.Config(train_images=60, mismatched=0.0, val_images=200, test_images=200))


@pytest.fixture(scope="module")
def scenes() -> list[list[int]]:
    return CLEAN.scenes("train", silent)


@pytest.fixture(scope="module")
def taught(scenes: list[list[int]], tmp_path_factory: pytest.TempPathFactory) -> SceneLessons:
    folder = tmp_path_factory.mktemp("words")
    tokenizer = Tokenizer.from_folder(folder, write_word_tokenizer(folder, language.VOCABULARY, 24), 24)
    split = CLEAN.split("train", framing=Framing(64), progress=silent)
    return SceneLessons(split, tokenizer, PREPROCESS, scenes=scenes, grid=4)


def rows(taught: EncodedSplit, count: int = 12) -> dict[str, np.ndarray]:
    sampler = ExampleSampler(taught, seed=1, batch_size=count, pairs_per_epoch=count)
    return next(iter(sampler.epoch(0)))


def test_more_questions_are_right_and_of_the_asked_kind(scenes: list[list[int]]) -> None:
    plain = CLEAN.split("train", framing=Framing(64), progress=silent)
    more = with_questions(plain, scenes, ("relation", "where"), seed=0)
    new = range(len(plain.questions), len(more.questions))
    asked = [(more.question_images[i], more.questions[i], more.answers[i]) for i in new]
    kinds = ["relation" if question.startswith("is ") else "where" for _, question, _ in asked]
    for (picture, question, said), kind in zip(asked, kinds, strict=True):
        assert answer(things(scenes[picture]), kind, question) == said, question
    several = sum(len(numbers) > 5 for numbers in scenes)
    assert kinds.count("relation") == several >= kinds.count("where") > several / 2
    assert {said for (_, _, said), kind in zip(asked, kinds, strict=True) if kind == "relation"} == {
        "yes",
        "no",
    }
    assert more.questions[: len(plain.questions)] == plain.questions
    again = with_questions(plain, scenes, ("relation", "where"), seed=0)
    assert again.questions == more.questions
    assert with_questions(plain, scenes, ("relation", "where"), seed=1).questions != more.questions


def test_batches_bring_each_caption_made_false(taught: SceneLessons, scenes: list[list[int]]) -> None:
    asked = rows(taught)
    batch = taught.batch(asked, CPU)
    assert batch["falsehood.ids"].shape == batch["caption.ids"].shape
    assert torch.equal(batch["falsehood.mask"], batch["caption.mask"])
    assert taught.tokenizer is not None
    for picture, ids in zip(asked[PICTURE].tolist(), batch["falsehood.ids"].tolist(), strict=True):
        text = taught.tokenizer.decode(ids[1:])
        assert not caption_is_true(things(scenes[picture]), text), text
    again, other = taught.batch(asked, CPU), taught.batch({**asked, QUESTION: asked[QUESTION] ^ 1}, CPU)
    assert torch.equal(batch["falsehood.ids"], again["falsehood.ids"])
    assert not torch.equal(batch["falsehood.ids"], other["falsehood.ids"])


def test_false_captions_do_not_hang_on_who_shares_the_batch(taught: SceneLessons) -> None:
    asked = rows(taught)
    whole = taught.batch(asked, CPU)["falsehood.ids"]
    part = taught.batch({kind: one[1::3] for kind, one in asked.items()}, CPU)["falsehood.ids"]
    assert torch.equal(part, whole[1::3, : part.shape[1]])


def test_each_picture_meets_its_caption_made_false_behind_the_other_negatives(taught: SceneLessons) -> None:
    model = lively(small_config())
    model.prepare_training({"itm_negatives": "student"})
    asked = rows(taught)
    with_false = taught.batch(asked, CPU)
    fields = {name: one for name, one in with_false.fields.items() if not name.startswith("falsehood")}
    without = replace(with_false, fields=fields)
    told, before = (model(batch, frozenset({MATCH, LABELS})) for batch in (with_false, without))
    count, pictures = len(before[LABELS]), len(asked[PICTURE])
    assert len(told[LABELS]) == len(told[MATCH]) == count + pictures
    assert torch.equal(told[LABELS][:count], before[LABELS])
    assert not told[LABELS][count:].any()
    torch.testing.assert_close(told[MATCH][:count], before[MATCH], rtol=1e-4, atol=1e-5)
    as_caption = replace(
        without,
        fields={
            **fields,
            f"{CAPTION}.ids": with_false["falsehood.ids"],
            f"{CAPTION}.mask": with_false["falsehood.mask"],
        },
    )
    alone = model(as_caption, frozenset({MATCH}))[MATCH]
    torch.testing.assert_close(told[MATCH][count:], alone, rtol=1e-4, atol=1e-5)


def test_batches_bring_the_places_of_things(taught: SceneLessons, scenes: list[list[int]]) -> None:
    asked = rows(taught)
    batch = taught.batch(asked, CPU)
    shown, pictures = batch["scene.patches"], asked[PICTURE].tolist()
    assert taught.tokenizer is not None
    words = taught.tokenizer.tokens()
    for row, picture in enumerate(pictures):
        numbers = scenes[picture]
        cells = {}
        for first in range(0, len(numbers), 5):
            color, shape, size, x, y = numbers[first : first + 5]
            cells[y // 16 * 4 + x // 16] = (color, shape, size)
        assert {
            place: tuple(one - 1 for one in what)
            for place, what in enumerate(shown[row].tolist())
            if any(what)
        } == cells
        for kind in (CAPTION, QUESTION):
            read = [words[number] for number in batch[f"{kind}.ids"][row].tolist()]
            for place, patch in enumerate(batch[f"scene.{kind}"][row].tolist()):
                if patch >= 0:
                    color, shape, _ = cells[patch]
                    assert read[place - 1 : place + 1] == [language.COLOR_NAMES[color], SHAPE_NAMES[shape]]
    told = [(batch[f"scene.{CAPTION}"][row] >= 0).sum().item() for row in range(len(pictures))]
    named = [len(THING.findall(taught.texts[CAPTION][one])) for one in asked[CAPTION].tolist()]
    assert told == named
