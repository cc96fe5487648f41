"""What a loaded student says about raw pictures and texts, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from spaces.errors import ExportError
from tests.unit.trainables.export.students import (
    CAPTIONS,
    CPU,
    MAX_TOKENS,
    export,
    make_split,
    metrics,
    pictures,
    said,
)
from trainables.datasets.encoded import EncodedSplit
from trainables.datasets.jsonl import JsonlDataset
from trainables.datasets.texts import TextForm
from trainables.export import Deployed, Student, export_student, load
from trainables.families.base import Blueprint
from trainables.families.blip.model import Blip
from trainables.preprocess import Framing
from trainables.signals import QUESTION, Want
from trainables.tasks.decoding import ANSWERS, Decoder
from trainables.teachers.teacher import Teacher
from trainables.tokenizer import Tokenizer

IMAGE, TEXT, MATCH = Want("image", "embedding"), Want("text", "embedding"), Want("fused", "logits")
ROUNDINGS = 64 * torch.finfo(torch.float32).eps  # entries of unit vectors and probabilities


def tokenizer_of(student: Student) -> Tokenizer:
    assert student.tokenizer is not None
    return student.tokenizer


def test_embeddings_are_those_of_the_training_pipeline(student: Student, model: Blip) -> None:
    split = make_split(student.tokenizer)
    assert torch.equal(student.embed_images(pictures(4)), said(model, split, IMAGE))
    told = student.embed_texts(CAPTIONS)
    assert torch.allclose(told, said(model, split, TEXT), atol=ROUNDINGS, rtol=0)
    assert torch.allclose(told.norm(dim=-1), torch.ones(4), atol=ROUNDINGS, rtol=0)


def test_pictures_of_any_size_and_mode_are_taken(student: Student) -> None:
    large = Image.fromarray(pictures(1, side=40)[0])
    resized = np.asarray(large.resize((16, 16), Image.Resampling.BICUBIC))
    assert torch.equal(student.embed_images([large]), student.embed_images([resized]))
    grey = large.convert("L")
    assert torch.equal(student.embed_images([grey]), student.embed_images([grey.convert("RGB")]))


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), "picture.png"])
def test_what_is_no_picture_is_refused(student: Student, image: Any) -> None:
    with pytest.raises(ExportError, match="allowed: PIL images or uint8 arrays"):
        student.embed_images([image])


def test_one_picture_or_text_that_is_no_list_is_refused(student: Student) -> None:
    """A text is a sequence of letters, each of which would be embedded."""
    with pytest.raises(ExportError, match=r"images: got one picture; allowed: a list .* Write \[picture\]"):
        student.embed_images(Image.new("RGB", (8, 8)))  # type: ignore[arg-type]
    for texts in ("a red circle", ["a red circle", None], [3]):
        with pytest.raises(ExportError, match=r"texts: got .*; allowed: a list of texts"):
            student.embed_texts(texts)  # type: ignore[arg-type]
    picture: Any = Image.new("RGB", (8, 8))
    for question in ("x", "what color is the circle ?", None):
        with pytest.raises(ExportError, match=r"texts: got .*; allowed: a list of texts"):
            student.answer([picture], question)  # type: ignore[arg-type]
    for ask in (student.answer, student.match):
        with pytest.raises(ExportError, match=r"images: got one picture; allowed: a list"):
            ask(picture, ["a"])
    for nothing in (None, 3):
        with pytest.raises(ExportError, match=r"images: got .*; allowed: a list of pictures"):
            student.caption(nothing)  # type: ignore[arg-type]


def test_nothing_given_is_nothing_said(student: Student) -> None:
    assert student.embed_images([]).shape == (0, 8)
    assert student.embed_images(pictures(0)).shape == (0, 8)
    assert student.embed_texts([]).shape == (0, 8)
    assert student.match([], []).shape == (0,)
    assert student.caption([]) == []
    assert student.answer([], []) == []


def test_matching_is_the_probability_of_the_image_grounded_encoder(student: Student, model: Blip) -> None:
    logits = said(model, make_split(student.tokenizer), MATCH, count=2)
    told = student.match(pictures(4)[:2], CAPTIONS[:2])
    assert torch.allclose(told, logits.softmax(dim=-1)[:, 1], atol=ROUNDINGS, rtol=0)


def test_a_picture_too_few_is_refused(student: Student) -> None:
    with pytest.raises(ExportError, match="got 2 images and 1 texts"):
        student.match(pictures(2), ["a"])
    with pytest.raises(ExportError, match="got 1 images and 2 texts"):
        student.answer(pictures(1), ["how many ?", "a ?"])
    with pytest.raises(ExportError, match="signals: got 1 images and 2 texts"):
        student.signals(pictures(1), ["a", "a"], wants={MATCH})


def test_signals_are_all_that_it_offers_about_pictures_texts_and_pairs(student: Student, model: Blip) -> None:
    split = make_split(student.tokenizer)
    hidden, tokens = Want("text", "hidden", 1), Want("image", "tokens")
    of_pictures = student.signals(pictures(4), wants={IMAGE, tokens})
    assert set(of_pictures) == {IMAGE, tokens}
    assert torch.equal(of_pictures[tokens], said(model, split, tokens))
    assert set(student.signals(texts=CAPTIONS, wants={hidden})) == {hidden}
    maps = Want("decoder", "cross_attention", 1)
    found = student.signals(pictures(4), CAPTIONS, wants={maps, MATCH})
    assert torch.allclose(found[maps], said(model, split, maps), atol=ROUNDINGS, rtol=0)
    alone = student.signals(wants={Want("contrast", "temperature")})
    assert [float(value) for value in alone.values()] == [pytest.approx(0.07)]
    assert not any(value.requires_grad for value in (*of_pictures.values(), *found.values(), *alone.values()))
    probe = torch.nn.Linear(of_pictures[IMAGE].shape[1], 2)
    probe(of_pictures[IMAGE]).sum().backward()  # which tensors of inference_mode refuse
    assert probe.weight.grad is not None


def test_what_gives_pictures_or_texts_one_by_one_is_read_to_its_end(student: Student) -> None:
    assert torch.equal(student.embed_texts(iter(CAPTIONS)), student.embed_texts(CAPTIONS))  # type: ignore[arg-type]
    assert torch.equal(student.embed_texts(map(str, CAPTIONS)), student.embed_texts(CAPTIONS))  # type: ignore[arg-type]
    assert torch.equal(student.embed_images(iter(pictures(4))), student.embed_images(pictures(4)))  # type: ignore[arg-type]
    assert torch.equal(student.match(iter(pictures(4)), iter(CAPTIONS)), student.match(pictures(4), CAPTIONS))  # type: ignore[arg-type]
    assert student.answer(iter(pictures(4)), iter(CAPTIONS)) == student.answer(pictures(4), CAPTIONS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "want", "told"),
    [
        ({}, IMAGE, r"image\.embedding is made of picture\.pixels"),
        ({"texts": ["a"]}, MATCH, r"fused\.logits is made of picture\.pixels"),
        ({"images": pictures(1)}, MATCH, r"fused\.logits is made of caption\.ids, caption\.mask"),
        ({"images": pictures(1), "texts": ["a"]}, ANSWERS, r"answer\.logits is made of question\.ids"),
        (
            {"images": pictures(1), "texts": ["a"]},
            Want("fused", "labels"),
            r"fused\.labels is made of caption\.key, contrast\.temperature of its teacher, image\.embedding of",
        ),
        ({"texts": ["a"]}, Want("text", "hidden", 7), r"has no text\.hidden\.7; it was not made for that"),
    ],
)
def test_signals_about_what_is_not_there_are_refused(
    student: Student, given: dict[str, Any], want: Want, told: str
) -> None:
    with pytest.raises(ExportError, match=told):
        student.signals(**given, wants={want})


def decoder_of(student: Student) -> Decoder:
    tokenizer = tokenizer_of(student)
    return Decoder(
        model=student.model,
        logits=ANSWERS,
        rows=QUESTION,
        vocabulary=tokenizer.vocabulary,
        longest=tokenizer.max_tokens,
    )


def test_greedy_answers_equal_a_search_token_by_token(student: Student, model: Blip) -> None:
    """Independent of the batched code: one row at a time, the whole prefix each time, no padding."""
    v = model.architecture.vocabulary
    questions = ["how many ?", "a", "how many red circle ?"]
    prompts = [row[:-1] for row in tokenizer_of(student).questions(questions, [""] * 3)[0]]
    pixels = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    expected = []
    with torch.no_grad():
        tokens = model.encode_image(pixels)
        for index, prompt in enumerate(prompts):
            row = list(prompt)
            while len(row) < MAX_TOKENS:
                ids = torch.tensor([row])
                logits = model.decode(ids, torch.ones_like(ids, dtype=torch.bool), tokens[index : index + 1])
                token = int(logits[0, -1].argmax())
                if token == v.sep:
                    break
                row.append(token)
            expected.append(row[len(prompt) :])
    assert decoder_of(student).greedy(prompts, pixels) == expected
    assert any(expected)
    assert len({len(row) for row in prompts}) == 3


def test_an_answer_is_right_exactly_where_the_vqa_task_says_so(student: Student, model: Blip) -> None:
    split = make_split(student.tokenizer)
    answers = student.answer(pictures(4), ["how many ?"] * 4)
    asked = replace_answers(split, student, answers)
    table, unknown = asked.tables[QUESTION], tokenizer_of(student).unknown
    known = [unknown not in table.ids[row, table.starts[row] : table.lengths[row]] for row in range(4)]
    assert any(known), "this student says words, too"
    assert metrics(model, asked)["vqa_accuracy"] == 100.0 * np.mean(known)


def replace_answers(split: EncodedSplit, student: Student, answers: list[str]) -> EncodedSplit:
    """The same split, its reference answers being what the student said (ids, since words may join)."""
    tokenizer = tokenizer_of(student)
    rows, _ = tokenizer.questions(["how many ?"] * 4, [""] * 4)
    prompts = [row[:-1] for row in rows]
    found = decoder_of(student).greedy(prompts, split.images(np.arange(4), CPU))
    assert [tokenizer.decode(ids) for ids in found] == answers
    table = split.tables[QUESTION]
    table.ids.resize((4, MAX_TOKENS), refcheck=False)
    table.ids[:] = tokenizer.vocabulary.pad
    for index, (prompt, answer) in enumerate(zip(prompts, found, strict=True)):
        row = [*prompt, *answer, tokenizer.vocabulary.sep][:MAX_TOKENS]
        table.ids[index, : len(row)] = row
        table.lengths[index] = len(row)
        table.starts[index] = len(prompt)
    return split


def test_captions_are_words_without_special_tokens(student: Student) -> None:
    captions = student.caption([Image.fromarray(picture) for picture in pictures(3)])
    assert len(captions) == 3
    assert all("[" not in caption for caption in captions)


def test_a_dual_encoder_says_what_it_can_do(model: Blip, teacher: Teacher, tmp_path: Path) -> None:
    dual = Blip(replace(model.architecture, fusion=())).eval()
    student = load(export(dual, teacher, tmp_path / "dual"))
    assert student.embed_images(pictures(2)).shape == (2, 8)
    with pytest.raises(ExportError, match="task 'matching'; compare embed_images with embed_texts"):
        student.match(pictures(1), ["a"])
    with pytest.raises(ExportError, match=r"caption: this student has no decoder; it offers .*image, text"):
        student.caption(pictures(1))
    with pytest.raises(ExportError, match="answer: this student has no decoder"):
        student.answer(pictures(1), ["a ?"])


def test_a_student_that_was_not_made_to_match_captions_all_the_same(
    model: Blip, teacher: Teacher, tmp_path: Path
) -> None:
    speaker = Blip(replace(model.architecture, matching=False)).eval()
    student = load(export(speaker, teacher, tmp_path / "speaker"))
    with pytest.raises(ExportError, match=r"search with `tasks: \[matching, \.\.\.\]`"):
        student.match(pictures(1), ["a"])
    assert len(student.caption(pictures(2))) == 2


def odd_pictures(folder: Path) -> list[str]:
    """Write a picture of 16 bits, one with a transparent ground, one with a transparent colour, and one taken upright."""
    ramp = np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16)
    Image.fromarray(ramp).save(folder / "sixteen.png")
    alpha = Image.new("RGBA", (20, 20))
    alpha.paste((0, 0, 0, 255), (5, 5, 9, 15))
    alpha.save(folder / "alpha.png")
    Image.fromarray(pictures(1, side=20)[0]).quantize(8).save(folder / "palette.png", transparency=3)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pictures(1, side=40)[0]).save(folder / "turned.jpg", exif=exif)
    return ["sixteen.png", "alpha.png", "palette.png", "turned.jpg"]


def test_a_student_sees_the_pixels_that_it_was_trained_on(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = odd_pictures(tmp_path)
    rows = [{"image": name, "caption": name, "split": "train"} for name in names]
    rows[0]["split"] = "val"
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = JsonlDataset(JsonlDataset.Config(file=str(tmp_path / "data.jsonl")))
    side = student.preprocess.image_size
    trained = {}
    for split in ("train", "val"):
        read = data.split(split, framing=Framing(side), progress=lambda line: None)
        trained |= dict(zip(read.captions, read.pixels, strict=True))
    found = student.embed_images([Image.open(tmp_path / name) for name in names])
    assert torch.equal(found, student.embed_images([np.array(trained[name]) for name in names]))
    plain = student.embed_images([Image.open(tmp_path / name).convert("RGB") for name in names])
    assert not torch.allclose(found[:3], plain[:3], atol=1e-3), "Pillow's conversion alone loses them"


@pytest.mark.parametrize("kind", ["floats", "cut off", "no pixels"])
def test_a_picture_that_cannot_be_used_is_told_by_number_and_name(
    student: Student, tmp_path: Path, kind: str
) -> None:
    good = Image.fromarray(pictures(1, side=20)[0])
    if kind == "floats":
        bad, told = (
            Image.new("F", (4, 4), 200),
            "image 1: cannot be used (mode F holds floats from 200 to 200",
        )
    elif kind == "cut off":
        good.save(tmp_path / "cut.png")
        (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
        bad, told = Image.open(tmp_path / "cut.png"), f"image 1 ({tmp_path}/cut.png): cannot be used ("
    else:
        bad, told = Image.new("RGB", (0, 4)), "image 1: cannot be used ("
    with pytest.raises(ExportError) as caught:
        student.embed_images([good, bad])
    assert told in str(caught.value)


def test_a_long_question_leaves_room_for_its_answer(
    student: Student, model: Blip, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def greedy(self: Decoder, prompts: list[list[int]], pixels: torch.Tensor) -> list[list[int]]:
        asked.extend(prompts)
        return [[] for _ in prompts]

    monkeypatch.setattr(Decoder, "greedy", greedy)
    student.answer(pictures(2), ["how many ?", "a red blue circle " * 9 + "how many ?"])
    words = tokenizer_of(student).backend
    ids = [words.token_to_id(word) for word in ("how", "many", "?")]
    assert asked[0][1:] == ids
    assert len(asked[1]) == 5, f"half of {MAX_TOKENS}"
    assert asked[1][0] == asked[0][0] == model.architecture.vocabulary.dec
    assert asked[1][2:] == ids, "its end stays"


def test_texts_are_read_as_the_data_of_its_training_read_them(
    student: Student, model: Blip, teacher: Teacher, tmp_path: Path
) -> None:
    loud = ["A Red: CIRCLE!", "a BLUE (square).", "two blue circle.", "one red square a circle circle"]
    plain = ["a red circle", "a blue square", "two blue circle", "one red square a"]
    form = TextForm(form="plain", max_words=4)
    out = tmp_path / "plain"
    deployed = Deployed(blueprint=Blueprint("blip", model.architecture), texts=form)
    export_student(model, teacher, deployed=deployed, measured={}, out=out, card="")
    found = load(out)
    assert torch.equal(found.embed_texts(loud), student.embed_texts(plain))
    assert torch.equal(found.match(pictures(4), loud), student.match(pictures(4), plain))
    asked = ["How MANY?", "how (many)?", "HOW many?", "how many?"]
    assert found.answer(pictures(4), asked) == student.answer(pictures(4), ["how many?"] * 4)
    assert not torch.equal(student.embed_texts(loud), student.embed_texts(plain)), (
        "as they are is the default"
    )
    assert "texts" not in json.loads((tmp_path / "student" / "config.json").read_text())
    settings = json.loads((out / "config.json").read_text())
    for wrong in ({"form": "loud"}, {"form": "plain", "max_words": -1}, {"shape": "plain"}, ["plain"]):
        (out / "config.json").write_text(json.dumps({**settings, "texts": wrong}))
        with pytest.raises(ExportError, match=r"config.json: texts: .*Export the model again"):
            load(out)
