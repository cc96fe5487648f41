"""CLIP's tokenizer gives the ids of its own class, from every form in which it is saved."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from spaces.errors import ShapeError, TeacherError
from tests.unit.trainables.teachers.clip.small_clip import POSITIONS, Published
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import EncoderConfig
from trainables.families.blip.model import Blip
from trainables.families.blip.options import BlipOptions, FusionOptions, ImageOptions, TextOptions
from trainables.model_folder import Reading, read_model_folder, write_model_folder
from trainables.teachers.loading import load_teacher
from trainables.tokenizer import Tokenizer
from trainables.tokenizer_files import FILES, PAIR

TEXTS = [
    "a photo of a red circle",
    "",
    "   A   Photo\tof\nthe BLUE  square!!  ",
    "it's 2 cats' toys, we'll see: don't",
    "Ein Zébra naïve \u0041\u030a \u00c5 \ufb01",
    "日本語のテキスト و نص 🦓👩‍👩‍👧 €",
    "\u200b\x00\x07 control",
    "a" * 300,
    " ".join(["square"] * 60),
]


def tokenizer_of(folder: Path) -> Tokenizer:
    found = load_teacher(str(folder)).tokenizer
    assert found is not None
    return found


def expected(published: Published) -> list[list[int]]:
    theirs = AutoTokenizer.from_pretrained(published.folder)
    rows: list[list[int]] = theirs(TEXTS, truncation=True, max_length=POSITIONS).input_ids
    assert rows == published.tokenizer(TEXTS, truncation=True, max_length=POSITIONS).input_ids
    return rows


def split(folder: Path) -> None:
    """Save the tokenizer as older releases do, in two files."""
    backend = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(backend["vocab"]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in backend["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize("form", ["tokenizer.json", "the pair", "the pair alone"])
def test_ids_are_those_of_its_class(copied_clip: Path, small_clip: Published, form: str) -> None:
    if form != "tokenizer.json":
        split(copied_clip)
    if form == "the pair alone":  # the class then follows from config.json
        (copied_clip / "tokenizer_config.json").unlink()
    made = tokenizer_of(copied_clip)
    rows = made.captions(TEXTS)
    assert rows == expected(small_clip)
    assert max(map(len, rows)) == made.max_tokens == POSITIONS
    v, theirs = made.vocabulary, small_clip.tokenizer
    assert (v.cls, v.sep, v.pad) == (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id)
    assert v.size == len(theirs)
    assert (v.dec, v.enc) == (None, None)


def test_every_text_can_be_spelled_and_is_decoded_as_by_its_class(small_clip: Published) -> None:
    made = tokenizer_of(small_clip.folder)
    assert made.unknown_words(TEXTS)[0] == 0
    row = made.captions(["A photo of 2 cats"])[0]
    assert (
        made.decode(row) == small_clip.tokenizer.decode(row, skip_special_tokens=True) == "a photo of 2 cats"
    )


def test_a_letter_that_a_small_alphabet_lacks_is_unknown(copied_clip: Path) -> None:
    settings = json.loads((copied_clip / "tokenizer.json").read_text())
    vocabulary = settings["model"]["vocab"]
    for letter in ("z", "z</w>"):
        vocabulary[f"unused {letter}"] = vocabulary.pop(letter)
    (copied_clip / "tokenizer.json").write_text(json.dumps(settings))
    assert tokenizer_of(copied_clip).unknown_words(["a red zebra"])[::2] == (1, "z")


@pytest.mark.parametrize("form", ["tokenizer.json", "the pair"])
def test_a_student_takes_the_tokenizer_along(tmp_path: Path, copied_clip: Path, form: str) -> None:
    if form == "the pair":
        split(copied_clip)
    teacher = load_teacher(str(copied_clip))
    reading = Reading(preprocess=teacher.preprocess, tokenizer=teacher.tokenizer, folder=copied_clip)
    write_model_folder(tmp_path / "out", teacher.model, kind="clip", reading=reading, measured={})
    for name in PAIR if form == "the pair" else ():
        assert (tmp_path / "out" / name).read_bytes() == (copied_clip / name).read_bytes()
        (tmp_path / "out" / name).unlink()
    read = read_model_folder(tmp_path / "out")  # without a class of the library: its config names our format
    assert teacher.tokenizer is not None
    assert read.tokenizer is not None
    assert read.tokenizer.vocabulary == teacher.tokenizer.vocabulary
    assert read.tokenizer.captions(TEXTS) == teacher.tokenizer.captions(TEXTS)
    assert read.tokenizer.digest == teacher.tokenizer.digest
    assert read.fingerprint == teacher.files.fingerprint
    assert load_teacher(str(tmp_path / "out")).files.fingerprint == teacher.files.fingerprint
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {
        *FILES,
        "config.json",
        "model.safetensors",
    }


def test_questions_need_a_token_with_which_a_decoder_begins(small_clip: Published) -> None:
    made = tokenizer_of(small_clip.folder)
    assert not made.answers
    for call in (lambda: made.questions(["is it red?"], ["yes"]), made.prompt):
        with pytest.raises(TeacherError, match="has no token with which a decoder begins a text"):
            call()


def test_a_student_of_it_is_a_dual_encoder(small_clip: Published) -> None:
    around = load_teacher(str(small_clip.folder)).surroundings
    sides: dict[str, Any] = {
        "image": ImageOptions(width=16, depth=1, heads=2),
        "text": TextOptions(width=16, depth=1, heads=2),
    }
    made = Blip.draft(BlipOptions(**sides, fusion=FusionOptions(layers=0), embedding=8), around)
    assert (made.text, made.has_decoder) == (EncoderConfig(width=16, depth=1, heads=2), False)
    assert {want.mode for want in Blueprint("blip", made).offers} == {"image", "text", "contrast"}
    assert Blueprint.from_dict(json.loads(json.dumps(Blueprint("blip", made).to_dict()))).architecture == made
    with pytest.raises(
        ShapeError, match=r"student.fusion.layers: got 1 with a tokenizer that has no token .* allowed: 0"
    ):
        Blip.draft(BlipOptions(**sides, fusion=FusionOptions(layers=1), embedding=8), around)
