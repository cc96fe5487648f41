"""What is said right counts as right however its tokens are spelled; what no token can say never does."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.trainables.small import CPU
from tests.unit.trainables.tasks.fake_speaker import FakeSpeaker
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.preprocess import PreprocessConfig
from trainables.tasks.evaluation import make_tasks
from trainables.tasks.pool import EvaluationSize, Pool, PoolRows
from trainables.tokenizer import Tokenizer, write_word_tokenizer

WORDS = tuple(
    [
        "what",
        "is",
        "it",
        "?",
        "10",
        ":",
        "30",
        "2",
        ".",
        "5",
        "man",
        "'",
        "s",
        "红",
        "色",
        "a",
        "hat",
        "on",
        "that",
        "नीला",
        "dog",
        "’",
        "cafe",
    ]
)
SIDE = EncoderConfig(width=32, depth=1, heads=2)
ALL = EvaluationSize(images=2)


def heard_of(folder: Path, text: str, tasks: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the figures of a speaker that says the tokens of `text` of two pictures and ends, and what chance gives."""
    tokenizer = Tokenizer.from_folder(folder, write_word_tokenizer(folder, WORDS, 20), 20)
    split = Split(
        name="val",
        pixels=np.zeros((2, 32, 32, 3), np.uint8),
        captions=[text, text],
        caption_images=np.arange(2),
        questions=["what is it ?"] * 2,
        answers=[text, text],
        question_images=np.arange(2),
    )
    architecture = BlipArchitecture(
        image=SIDE, text=SIDE, fusion=(0,), embedding=16, image_size=32, patch_size=16, max_tokens=20,
        vocabulary=tokenizer.vocabulary,
    )  # fmt: skip
    (ids,), (question,) = tokenizer.captions([text]), tokenizer.captions(["what is it ?"])
    begin = tokenizer.vocabulary.dec if "captioning" in tasks else question[-2]
    chain = [begin, *ids[1:]]
    speaker: Any = FakeSpeaker(architecture, dict(itertools.pairwise(chain)))
    encoded = EncodedSplit(split, tokenizer, PreprocessConfig(image_size=32))
    made = make_tasks(tasks).values()
    rows = PoolRows(encoded, ALL)
    levels = {one.counts: chance.level for one in made if (chance := one.chance(rows)) is not None}
    pool = Pool(speaker, encoded, CPU, size=ALL)
    return {name: figure for one in made for name, figure in one.evaluate(pool).items()}, levels


@pytest.mark.parametrize("answer", ["10:30", "2.5", "man's", "红色", "a hat", "नीला"])
def test_an_answer_of_the_right_tokens_is_right(answer: str, tmp_path: Path) -> None:
    found, _ = heard_of(tmp_path, answer, {"vqa": {"decode": "generate"}})
    assert found == {"vqa_accuracy": 100.0, "vqa_official_accuracy": pytest.approx(100.0)}


@pytest.mark.parametrize(
    "caption",
    [
        "a man's hat on that 红色 dog",
        "that नीला hat is on a dog",
        "a man’s hat on that dog",
        "a ca\u00adfé is on that hat",
    ],
)
def test_a_caption_of_the_right_tokens_is_the_reference(caption: str, tmp_path: Path) -> None:
    options = {"decode": "beam", "tokenizer": "plain", "shortest": 1}
    found, _ = heard_of(tmp_path, caption, {"captioning": options})
    assert found["caption_token_accuracy"] == 100.0
    assert found["rouge_l_plain"] == pytest.approx(100.0)
    assert found["bleu_4_plain"] == pytest.approx(100.0)


@pytest.mark.parametrize("decode", ["teacher_forced", "generate", "rank"])
def test_a_word_that_the_tokenizer_does_not_know_is_never_right(decode: str, tmp_path: Path) -> None:
    answers = tmp_path / "answers.txt"
    answers.write_text("ab12\nxyz\n")
    options = {"decode": decode} | ({"answers": str(answers)} if decode == "rank" else {})
    found, chance = heard_of(tmp_path, "ab12", {"vqa": options})
    assert set(found.values()) == {0.0}
    if decode == "teacher_forced":
        assert chance == {"vqa_accuracy": 0.0}


def test_unknown_words_of_captions_are_never_right(tmp_path: Path) -> None:
    """Of five tokens, [SEP] among them, one is unknown; two of the five are the same word."""
    found, chance = heard_of(tmp_path, "hat zebra on hat", {"captioning": {}})
    assert chance == {"caption_token_accuracy": pytest.approx(40.0)}
    assert found["caption_token_accuracy"] <= 80.0
