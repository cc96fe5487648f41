"""Each published class of BLIP gives the same numbers in our family as in its own class, at odd sizes and at real ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
    BlipTextConfig,
    BlipVisionConfig,
)

from spaces.errors import TeacherError
from tests.unit.trainables.teachers.blip.asked import (
    ANSWERS,
    EQUAL,
    KINDS,
    ODD,
    QUESTIONS,
    REAL,
    batch_of,
    close,
)
from tests.unit.trainables.teachers.published import Published, edit, save
from trainables.costs.flops import flops_by_mode
from trainables.costs.subject import Subject
from trainables.families.base import Blueprint, Sample
from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.model import Blip
from trainables.signals import PIXELS, Serving, Want, modes
from trainables.tasks.decoding import Decoder
from trainables.teachers.blip.huggingface import load_huggingface
from trainables.teachers.blip.huggingface_config import TEXT as TEXT_DEFAULTS
from trainables.teachers.blip.huggingface_config import VISION as VISION_DEFAULTS
from trainables.teachers.blip.huggingface_config import read_config


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classes")


def saved(folders: Path, kind: type[Any], size: tuple[dict[str, Any], dict[str, Any]]) -> Published:
    folder = folders / f"{kind.__name__}-{size[0]['hidden_size']}"
    if folder.exists():
        return Published(folder, kind.from_pretrained(folder).eval())
    return save(folder, *size, kind=kind)


@pytest.mark.parametrize("size", [ODD, REAL], ids=["odd", "real"])
@torch.no_grad()
def test_captions_equal_those_of_the_class(
    folders: Path, size: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    published = saved(folders, BlipForConditionalGeneration, size)
    teacher, theirs = load_huggingface(str(published.folder)), published.model
    batch = batch_of(teacher)
    logits, tokens = Want("decoder", "logits"), Want("image", "tokens")
    states, maps, crossed = (Want("decoder", what, 1) for what in ("hidden", "attention", "cross_attention"))
    ours = teacher.signals(batch, frozenset({logits, tokens, states, maps, crossed}))
    ids = batch["caption.ids"].clone()
    ids[:, 0] = theirs.config.text_config.bos_token_id  # what the class leaves to its caller
    seen = theirs.vision_model(pixel_values=batch[PIXELS]).last_hidden_state
    reference = theirs.text_decoder(
        input_ids=ids,
        attention_mask=batch["caption.mask"].long(),
        encoder_hidden_states=seen,
        output_hidden_states=True,
        output_attentions=True,
    )
    whole = theirs(
        pixel_values=batch[PIXELS], input_ids=ids, attention_mask=batch["caption.mask"].long()
    ).logits
    real = batch["caption.mask"]
    close(ours[tokens], seen)
    close(ours[logits][real], whole[real])
    close(ours[states][real], reference.hidden_states[2][real])
    places = real[:, None, :, None]
    close(ours[maps] * places, reference.attentions[1] * places)
    close(ours[crossed] * places, reference.cross_attentions[1] * places)


@pytest.mark.parametrize("size", [EQUAL, REAL], ids=["odd", "real"])
@torch.no_grad()
def test_answers_equal_those_of_the_class(folders: Path, size: tuple[dict[str, Any], dict[str, Any]]) -> None:
    published = saved(folders, BlipForQuestionAnswering, size)
    teacher, theirs = load_huggingface(str(published.folder)), published.model
    batch = batch_of(teacher)
    want = Want("answer", "logits")
    ours = teacher.signals(batch, frozenset({want}))[want]
    assert teacher.tokenizer is not None
    v = teacher.tokenizer.vocabulary
    for row, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
        asked = teacher.tokenizer.captions([question])[0]
        said = teacher.tokenizer.captions([answer])[0]
        reference = theirs(
            pixel_values=batch[PIXELS][row : row + 1],
            input_ids=torch.tensor([[v.enc, *asked[1:]]]),
            attention_mask=torch.ones(1, len(asked), dtype=torch.long),
            decoder_input_ids=torch.tensor([[v.dec, *said[1:-1]]]),
            labels=None,
        )
        del reference  # the class returns no logits of its decoder: it is asked by itself
        tokens = theirs.vision_model(pixel_values=batch[PIXELS][row : row + 1]).last_hidden_state
        states = theirs.text_encoder(
            input_ids=torch.tensor([[v.enc, *asked[1:]]]), encoder_hidden_states=tokens
        ).last_hidden_state
        logits = theirs.text_decoder(
            input_ids=torch.tensor([[v.dec, *said[1:-1]]]), encoder_hidden_states=states
        ).logits[0]
        places = batch["question.targets"][row]
        assert int(places.sum()) == len(said) - 1  # each word of the answer, and its end
        close(ours[row][places], logits)


@torch.no_grad()
def test_answers_are_generated_as_the_class_generates_them(folders: Path) -> None:
    published = saved(folders, BlipForQuestionAnswering, EQUAL)
    teacher, theirs = load_huggingface(str(published.folder)), published.model
    assert teacher.tokenizer is not None
    v, pixels = teacher.tokenizer.vocabulary, batch_of(teacher)[PIXELS][:1]
    asked = teacher.tokenizer.captions(QUESTIONS[:1])[0]
    ids = torch.tensor([[v.enc, *asked[1:]]])
    theirs.config.text_config.sep_token_id = v.sep
    greedy = {"max_new_tokens": 4, "num_beams": 1, "do_sample": False}
    reference = theirs.generate(ids, pixels, torch.ones_like(ids), **greedy)[0, 1:].tolist()
    decoder = Decoder(
        model=teacher.model,
        logits=Want("answer", "logits"),
        rows="question",
        vocabulary=v,
        longest=len(asked) + 3,
    )
    (ours,) = decoder.greedy([[v.dec, *asked[1:-1]]], pixels)
    assert ours == [one for one in reference if one != v.sep][: len(ours)]
    assert len(ours) == min(4, len([one for one in reference if one != v.sep]))


@torch.no_grad()
def test_retrieval_at_real_width_equals_the_class_with_all_maps(folders: Path) -> None:
    published = saved(folders, BlipForImageTextRetrieval, REAL)
    teacher, theirs = load_huggingface(str(published.folder)), published.model
    batch = batch_of(teacher)
    image, text, match = Want("image", "embedding"), Want("text", "embedding"), Want("fused", "logits")
    maps = {Want(mode, "attention", 1) for mode in ("image", "text", "fused")}
    crossed, states = Want("fused", "cross_attention", 0), Want("text", "hidden", 1)
    ours = teacher.signals(batch, frozenset({image, text, match, crossed, states, *maps}))
    ids, real = batch["caption.ids"], batch["caption.mask"]
    grounded = ids.clone()
    grounded[:, 0] = teacher.blueprint.architecture.vocabulary.enc
    seen = theirs.vision_model(pixel_values=batch[PIXELS], output_attentions=True)
    read = {"attention_mask": real.long(), "output_attentions": True, "output_hidden_states": True}
    words = theirs.text_encoder(input_ids=ids, **read)
    both = theirs.text_encoder(input_ids=grounded, encoder_hidden_states=seen.last_hidden_state, **read)
    close(ours[image] @ ours[text].T, theirs(ids, batch[PIXELS], False, real.long()).itm_score)
    close(ours[match], theirs(grounded, batch[PIXELS], True, real.long()).itm_score)
    close(ours[states][real], words.hidden_states[2][real])
    close(ours[Want("image", "attention", 1)], seen.attentions[1])
    places = real[:, None, :, None]
    for want, map_ in (
        (Want("text", "attention", 1), words.attentions[1]),
        (Want("fused", "attention", 1), both.attentions[1]),
        (crossed, both.cross_attentions[0]),
    ):
        close(ours[want] * places, map_ * places)


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        (BlipForImageTextRetrieval, 223_744_258),
        (BlipForConditionalGeneration, 223_971_644),
        (BlipForQuestionAnswering, 361_230_140),
    ],
)
def test_parameters_are_as_many_as_published(tmp_path: Path, kind: type[Any], count: int) -> None:
    config = BlipConfig(architectures=[kind.__name__], text_config={"num_attention_heads": 12})
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        assert sum(one.numel() for one in kind(config).parameters()) == count
    model = Blueprint("blip", read_config(tmp_path)).on_meta()
    assert sum(one.numel() for one in model.parameters()) == count
    assert model.text_network.positions.weight.shape == (512, 768)  # all rows, of which captions take 40
    assert model.architecture.max_tokens == 40


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (BlipForImageTextRetrieval, {"image", "text", "fused", "contrast"}),
        (BlipForConditionalGeneration, {"image", "decoder"}),
        (BlipForQuestionAnswering, {"image", "answer"}),
    ],
)
def test_a_class_says_what_it_holds_and_nothing_else(folders: Path, kind: type[Any], said: set[str]) -> None:
    teacher = load_huggingface(str(saved(folders, kind, EQUAL).folder))
    assert modes(teacher.offers) == said
    found = teacher.signals(
        batch_of(teacher),
        frozenset(teacher.offers) - {Want("contrast", "temperature"), Want("fused", "labels")},
    )
    assert all(bool(value.isfinite().all()) for value in found.values())
    again = BlipArchitecture.from_dict(teacher.blueprint.architecture.to_dict())
    assert again == teacher.blueprint.architecture


def test_what_the_library_assumes_of_a_config_is_what_we_assume() -> None:
    """Eight heads among it, where BLIP has twelve: a config that leaves them out means eight."""
    for ours, theirs in ((VISION_DEFAULTS, BlipVisionConfig()), (TEXT_DEFAULTS, BlipTextConfig())):
        assert ours == {name: getattr(theirs, name) for name in ours}
    assert TEXT_DEFAULTS["num_attention_heads"] == 8


def test_an_image_side_that_was_never_trained_is_told(tmp_path: Path) -> None:
    published = save(tmp_path / "blip", *EQUAL)
    with torch.no_grad():
        for parameter in published.model.vision_model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=BlipVisionConfig().initializer_range)
    published.model.save_pretrained(published.folder)
    with pytest.raises(TeacherError, match="its image side says the same of every picture") as told:
        load_huggingface(str(published.folder))
    assert "\n" not in str(told.value)
    theirs = published.model.config
    theirs.vision_config.initializer_range = BlipVisionConfig().initializer_range
    BlipForImageTextRetrieval(theirs).save_pretrained(published.folder)  # as it is made, all biases 0
    with pytest.raises(TeacherError, match="its image side says the same of every picture"):
        load_huggingface(str(published.folder))


@torch.no_grad()
def test_the_pooled_feature_is_normalised_once(folders: Path) -> None:
    published = saved(folders, BlipForImageTextRetrieval, ODD)
    teacher = load_huggingface(str(published.folder))
    batch, want = batch_of(teacher), Want("image", "pooled")
    theirs = published.model.vision_model(pixel_values=batch[PIXELS])
    ours = teacher.signals(batch, frozenset({want}))[want]
    close(ours, theirs.last_hidden_state[:, 0])
    assert float((ours - theirs.pooler_output).abs().max()) > 0.1  # the norm, a second time


def test_fused_attention_is_ours_alone(folders: Path, tmp_path: Path) -> None:
    """The class computes its maps in any case; a config that asks it for a kernel is no hindrance here."""
    published = saved(folders, BlipForImageTextRetrieval, ODD)
    with pytest.raises(ValueError, match=r"sdpa|scaled_dot_product"):
        BlipForImageTextRetrieval.from_pretrained(published.folder, attn_implementation="sdpa")
    edit(published.folder, "attn_implementation", "sdpa")
    load_huggingface(str(published.folder))


def test_questions_need_two_sides_of_one_width(tmp_path: Path) -> None:
    published = save(tmp_path / "blip", *ODD, kind=BlipForQuestionAnswering)
    with pytest.raises(
        TeacherError, match=r"hidden_size 80 and text_config\.hidden_size 24; allowed: the same"
    ):
        load_huggingface(str(published.folder))


def test_a_head_that_is_not_the_word_table_is_named(folders: Path, tmp_path: Path) -> None:
    published = save(tmp_path / "blip", *ODD, kind=BlipForConditionalGeneration)
    weights = dict(published.model.state_dict())
    name = "text_decoder.cls.predictions.decoder.weight"
    weights[name] = weights[name] + 1
    (published.folder / "model.safetensors").unlink()
    torch.save(weights, published.folder / "pytorch_model.bin")
    with pytest.raises(TeacherError) as told:
        load_huggingface(str(published.folder))
    assert f"{name} differs from text_decoder.bert.embeddings.word_embeddings.weight" in str(told.value)


@pytest.mark.parametrize(
    ("task", "servings"),
    [
        ("retrieval", {"image": 0, "text": 7, "fused": 7}),
        ("captioning", {"image": 0, "decoder": 7}),
        ("vqa", {"image": 0, "answer": 7}),
    ],
)
def test_flops_of_a_sample_are_those_of_the_whole(
    folders: Path, monkeypatch: pytest.MonkeyPatch, task: str, servings: dict[str, int]
) -> None:
    teacher = load_huggingface(str(saved(folders, KINDS[task], EQUAL).folder))
    passes = [Serving(mode=mode, tokens=tokens) for mode, tokens in servings.items()]
    subject = Subject(blueprint=teacher.blueprint, servings=passes)
    found = flops_by_mode(subject)
    monkeypatch.setattr(Blip, "sample", lambda architecture: Sample(architecture=architecture))
    assert flops_by_mode(subject) == found
