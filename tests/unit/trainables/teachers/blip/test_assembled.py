"""Parts of several checkpoints as one teacher: each says what it was trained for, as it would alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BlipForConditionalGeneration, BlipForQuestionAnswering

from spaces.errors import TeacherError
from tests.unit.trainables.teachers.blip.asked import EQUAL, KINDS, batch_of, close
from tests.unit.trainables.teachers.published import edit, save
from trainables.costs.flops import flops_by_mode
from trainables.costs.subject import Subject
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.options import BlipOptions, FusionOptions, ImageOptions, TextOptions
from trainables.signals import PIXELS, Serving, Signals, Want, modes
from trainables.tasks.decoding import Decoder
from trainables.teachers.blip.assembled import interpolated
from trainables.teachers.kept import open_teacher
from trainables.teachers.loading import load_teacher

LOGITS, ANSWERS = Want("decoder", "logits"), Want("answer", "logits")
IMAGE, TEXT, TOKENS = Want("image", "embedding"), Want("text", "embedding"), Want("image", "tokens")
LARGE = ({**EQUAL[0], "image_size": 48}, EQUAL[1])


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("parts")
    for task, kind in KINDS.items():
        save(root / task, *(LARGE if task == "vqa" else EQUAL), kind=kind)
    return {task: str(root / task) for task in KINDS}


def named(parts: dict[str, str]) -> str:
    return ",".join(f"{task}={place}" for task, place in parts.items())


def test_each_part_says_what_it_says_alone(parts: dict[str, str]) -> None:
    whole = load_teacher(named(parts))
    batch = batch_of(whole)
    assert modes(whole.offers) == {
        "image",
        "text",
        "fused",
        "contrast",
        "decoder",
        "answer",
        "captioning",
        "vqa",
    }
    said = whole.signals(batch, frozenset({IMAGE, TEXT, TOKENS, LOGITS}))
    for task, wants in (("retrieval", {IMAGE, TEXT, TOKENS}), ("captioning", {LOGITS})):
        alone = load_teacher(parts[task]).signals(batch, frozenset(wants))
        for want in wants:
            assert torch.equal(said[want], alone[want])
    known = {want: whole.signals(batch, frozenset({want}))[want] for want in whole.model.reusable}
    seen = {name: one for name, one in batch.fields.items() if name != PIXELS}
    blind = type(batch)(fields=seen, rows=batch.rows)
    for want in (LOGITS, ANSWERS, Want("fused", "logits")):
        again = whole.signals(blind, frozenset({want}), Signals(known))
        torch.testing.assert_close(again[want], whole.signals(batch, frozenset({want}))[want])


@torch.no_grad()
def test_a_part_of_another_size_is_interpolated_as_the_library_does(parts: dict[str, str]) -> None:
    whole = load_teacher(named(parts))
    theirs = BlipForQuestionAnswering.from_pretrained(parts["vqa"]).eval()
    batch, want = batch_of(whole), Want("vqa", "tokens")
    ours = whole.signals(batch, frozenset({want}))[want]
    assert whole.preprocess.image_size == 32
    close(ours, theirs.vision_model(batch[PIXELS], interpolate_pos_encoding=True).last_hidden_state)
    assert any(
        "vqa was trained on pictures of 48 px and gets those of retrieval, 32 px" in one
        for one in whole.files.notes
    )
    assert f"captioning={parts['captioning']} says decoder" in whole.files.notes
    table = torch.randn(1, 10, 4)
    assert interpolated(table, 3) is table


def test_a_student_has_all_that_the_parts_say(parts: dict[str, str]) -> None:
    teacher = load_teacher(named(parts))
    taught = teacher.blueprint.architecture.taught
    assert isinstance(taught, BlipArchitecture)
    assert (taught.captions, taught.answers, taught.contrast, taught.answerer) == (True, True, True, False)
    student = Blueprint("blip", taught)
    assert set(student.offers) >= {LOGITS, ANSWERS, IMAGE, TEXT, Want("fused", "logits")}
    two = load_teacher(
        named({task: parts[task] for task in ("captioning", "vqa")})
    ).blueprint.architecture.taught
    assert (two.captions, two.answers, two.contrast, two.has_matching) == (True, True, False, False)
    made = student.build()
    made.inherit(teacher.model, options("inherit"))
    own, source = made.text_network, teacher.model.part("captioning").text_network
    assert torch.equal(
        own.layers[0].decoder_attention.query.weight, source.layers[0].decoder_attention.query.weight
    )
    assert torch.equal(own.words.weight, teacher.model.part("retrieval").text_network.words.weight)


def options(init: str) -> object:
    side: dict[str, Any] = {"width": "1x", "depth": "1x", "init": init}
    return BlipOptions(
        image=ImageOptions(**side), text=TextOptions(**side), fusion=FusionOptions(layers="1x")
    )


def test_costs_are_of_the_parts_that_are_deployed(parts: dict[str, str]) -> None:
    teacher = load_teacher(named(parts))
    count = sum(one.numel() for one in teacher.model.parameters())
    alone = {task: load_teacher(place).model for task, place in parts.items()}
    grids = (10 - 5) * EQUAL[0]["hidden_size"]  # rows of positions that the larger pictures had
    assert count + grids == sum(one.numel() for model in alone.values() for one in model.parameters())
    part = teacher.blueprint.deployed(frozenset({LOGITS}))
    assert list(part.architecture.parts) == ["captioning"]
    assert Blueprint.from_dict(part.to_dict()) == part
    two = teacher.blueprint.deployed(frozenset({LOGITS, IMAGE}))
    once, twice = (
        flops_by_mode(Subject(blueprint=one, servings=[Serving(mode="image")]))["image"]
        for one in (part, two)
    )
    assert once < twice < 2.1 * once  # the second image side, with its projection


def test_it_is_kept_and_found_again(
    parts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("trainables.teachers.kept.SETTLED_S", -1e9)  # the folders were written just now
    name = f"{named(parts)},temperature=0.05"
    first = open_teacher(name)
    again = open_teacher(name)
    assert first.is_read
    assert not again.is_read
    assert (again.files, again.temperature) == (first.files, 0.05)
    want = Want("contrast", "temperature")
    assert float(again.signals(batch_of(again), frozenset({want}))[want]) == pytest.approx(0.05)


def test_what_cannot_be_one_teacher_is_told(parts: dict[str, str], tmp_path: Path) -> None:
    other = save(tmp_path / "other", *EQUAL, kind=BlipForConditionalGeneration).folder
    words = (
        (other / "tokenizer.json")
        .read_text()
        .replace('"circle"', '"square "')
        .replace('"square"', '"circle"')
    )
    (other / "tokenizer.json").write_text(words.replace('"square "', '"square"'))
    grey = save(tmp_path / "grey", *EQUAL, kind=BlipForConditionalGeneration).folder
    edit(grey, "image_mean", [0.5, 0.5, 0.5], "preprocessor_config.json")
    for changes, told in (
        ({"captioning": str(other)}, "captioning reads texts as other tokens than retrieval"),
        ({"captioning": str(grey)}, "captioning normalises or resizes pictures otherwise than retrieval"),
        ({"captioning": parts["vqa"]}, "has no decoder.logits, which captioning needs; it can do vqa"),
        ({"vqa": "embedded-dino"}, "is a teacher of kind 'vision_transformer'; allowed: checkpoints of BLIP"),
    ):
        with pytest.raises(TeacherError) as caught:
            load_teacher(named({**parts, **changes}))
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_temperature_is_told_once_and_asked_for_never_in_vain(parts: dict[str, str]) -> None:
    want = Want("contrast", "temperature")
    teacher = load_teacher(parts["retrieval"])
    before = teacher.files.fingerprint
    with pytest.raises(TeacherError, match=r"holds no ITC temperature.*,temperature=0\.05"):
        teacher.signals(batch_of(teacher), frozenset({want}))
    told = load_teacher(f"{parts['retrieval']},temperature=0.05")
    assert float(told.signals(batch_of(told), frozenset({want}))[want]) == pytest.approx(0.05)
    assert told.files.fingerprint != before
    teacher.tell_temperature(0.05, origin="as a test says")
    assert teacher.files.fingerprint == told.files.fingerprint
    for name, why in (("embedded", "its checkpoint holds one"), (parts["vqa"], "it has no ITC similarities")):
        with pytest.raises(TeacherError, match=why):
            load_teacher(f"{name},temperature=0.05")


def test_only_the_part_that_is_asked_makes_tokens_of_pictures(parts: dict[str, str]) -> None:
    """Of several image sides a decoder needs one; all of them would cost as often as there are parts."""
    whole = load_teacher(named(parts))
    assert whole.model.reused(frozenset({LOGITS})) == {Want("captioning", "tokens")}
    assert whole.model.reused(frozenset({Want("fused", "logits"), ANSWERS})) == {
        TOKENS,
        Want("vqa", "tokens"),
    }
    looked: list[str] = []
    for task, part in whole.model.parts.items():
        part.image_encoder.register_forward_pre_hook(lambda *_, task=task: looked.append(task))
        part.image_encoder.vit.register_forward_pre_hook(lambda *_, task=task: looked.append(task))
        part.image_encoder.vit.blocks[0].register_forward_pre_hook(lambda *_, task=task: looked.append(task))
    assert whole.tokenizer is not None
    reader = Decoder(
        model=whole.model, logits=LOGITS, rows="caption", vocabulary=whole.tokenizer.vocabulary, longest=8
    )
    known = reader.known(batch_of(whole)[PIXELS])
    assert set(known) == {Want("captioning", "tokens")}
    assert set(looked) == {"captioning"}
