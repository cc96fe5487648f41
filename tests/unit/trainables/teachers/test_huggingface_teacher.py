"""A Hugging Face BLIP folder gives the same numbers in our family as in its own class."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from safetensors.torch import load_file, save_file
from trainables.outputs import Batch, Want
from trainables.teachers.huggingface import load_huggingface
from trainables.teachers.huggingface_config import LONGEST_TEXT
from transformers import (
    AutoTokenizer,
    BlipConfig,
    BlipForImageTextRetrieval,
    BlipImageProcessor,
    BlipImageProcessorPil,
)

from spaces.errors import TeacherError
from tests import tolerance
from trainables.datasets.pictures import square
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher
from trainables.tokenizer import write_word_tokenizer

WORDS = ("a", "red", "blue", "circle", "square", "left", "of", "the", "two", "green", "above", "star")
CAPTIONS = [
    "a red circle",
    "two green star above the blue square",
    "a star",
    "the blue square left of a red star",
]
OPS = 3 * 12 * 80  # layers of 80 at most

VISION = {"hidden_size": 32, "intermediate_size": 72, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT = {"hidden_size": 48, "intermediate_size": 100, "num_hidden_layers": 3, "num_attention_heads": 3}
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text wider": ({**VISION, "image_size": 32}, TEXT),
    "image wider": (
        {**VISION, "hidden_size": 80, "num_attention_heads": 5, "image_size": 48, "layer_norm_eps": 1e-6},
        {**TEXT, "hidden_size": 24, "num_attention_heads": 6, "num_hidden_layers": 2},
    ),
}


@dataclass(frozen=True)
class Published:
    """The Hugging Face model, and the folder it was saved to."""

    folder: Path
    model: BlipForImageTextRetrieval


def save(folder: Path, vision: dict[str, Any], text: dict[str, Any], *, positions: int = 20) -> Published:
    """Save a random model with its tokenizer and image processor, as a user would."""
    folder.mkdir()
    vocabulary = write_word_tokenizer(folder, WORDS, positions)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = BlipConfig(
        vision_config={**vision, "patch_size": 16, "initializer_range": 0.02},
        text_config={
            **text,
            "vocab_size": len(tokenizer),  # it adds [MASK]
            "max_position_embeddings": positions,
            "bos_token_id": vocabulary.dec,
            "initializer_range": 0.05,
        },
        image_text_hidden_size=16,
    )
    torch.manual_seed(3)
    model = BlipForImageTextRetrieval(config).eval()
    with torch.no_grad():  # fresh biases and norms are constants, which would hide a wrong name
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    side = vision["image_size"]
    BlipImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    return Published(folder, model)


@pytest.fixture(scope="module", params=SIZES.values(), ids=SIZES.keys())
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return save(tmp_path_factory.mktemp("published") / "blip", *request.param)


@pytest.fixture
def copied(tmp_path: Path, small: Published) -> Path:
    """A folder that a test may spoil."""
    return Path(shutil.copytree(small.folder, tmp_path / "blip"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return save(tmp_path_factory.mktemp("small") / "blip", *SIZES["text wider"])


def make_batch(teacher: Teacher) -> Batch:
    rows = teacher.tokenizer.captions(CAPTIONS)
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    side = teacher.config.image_size
    images = torch.randn(len(rows), 3, side, side, generator=torch.Generator().manual_seed(1))
    keys = torch.arange(len(rows))
    return Batch(
        images=images,
        caption_ids=ids,
        caption_mask=mask,
        caption_keys=keys,
        image_keys=keys,
        caption_rows=keys,
    )


def close(ours: torch.Tensor | None, theirs: torch.Tensor) -> None:
    assert ours is not None
    tolerance.close(ours, theirs, ops=OPS)


@torch.no_grad()
def test_image_tokens_states_and_itc_equal_the_hugging_face_class(published: Published) -> None:
    teacher, theirs = load_huggingface(str(published.folder)), published.model
    batch = make_batch(teacher)
    last = teacher.config.text.depth - 1
    ours = teacher.outputs(batch, frozenset({Want("image", "embedding"), Want("text", "hidden", last)}))
    assert ours.image is not None
    assert ours.text is not None
    reference = theirs(
        input_ids=batch.caption_ids,
        attention_mask=batch.caption_mask.long(),
        pixel_values=batch.images,
        use_itm_head=False,
    )
    assert reference.last_hidden_state.std() > 0.1  # the library's default initialisation leaves the ViT dead
    close(ours.image.tokens_BPD, reference.last_hidden_state)
    real = batch.caption_mask
    assert ours.text.tokens_BTD is not None
    close(ours.text.tokens_BTD[real], reference.question_embeds[real])
    close(ours.text.hidden[last][real], reference.question_embeds[real])
    assert ours.image.embedding_BE is not None
    assert ours.text.embedding_BE is not None
    close(ours.image.embedding_BE @ ours.text.embedding_BE.T, reference.itm_score)


@torch.no_grad()
def test_embeddings_equal_the_hugging_face_class(published: Published) -> None:
    teacher, theirs = load_huggingface(str(published.folder)), published.model
    batch = make_batch(teacher)
    tokens = theirs.vision_model(pixel_values=batch.images).last_hidden_state[:, 0]
    states = theirs.text_encoder(input_ids=batch.caption_ids, attention_mask=batch.caption_mask.long())
    normal = torch.nn.functional.normalize
    close(teacher.model.encode_image(batch.images).embedding_BE, normal(theirs.vision_proj(tokens), dim=-1))
    text = normal(theirs.text_proj(states.last_hidden_state[:, 0]), dim=-1)
    close(teacher.model.encode_text(batch.caption_ids, batch.caption_mask).embedding_BE, text)


@torch.no_grad()
def test_grounded_states_and_itm_equal_the_hugging_face_class(published: Published) -> None:
    teacher, theirs = load_huggingface(str(published.folder)), published.model
    batch = make_batch(teacher)
    last = teacher.config.text.depth - 1
    ours = teacher.outputs(batch, frozenset({Want("fused", "logits"), Want("fused", "hidden", last)})).fused
    assert ours is not None
    ids = batch.caption_ids.clone()
    ids[:, 0] = teacher.config.vocabulary.enc  # the class leaves this swap to its caller
    reference = theirs(
        input_ids=ids, attention_mask=batch.caption_mask.long(), pixel_values=batch.images, use_itm_head=True
    )
    close(ours.logits_N2, reference.itm_score)
    close(ours.hidden[last][batch.caption_mask], reference.question_embeds[batch.caption_mask])


def test_sizes_heads_norms_and_special_ids_are_those_of_the_files(published: Published) -> None:
    teacher, theirs = load_huggingface(str(published.folder)), published.model.config
    config = teacher.config
    for ours, section in ((config.image, theirs.vision_config), (config.text, theirs.text_config)):
        assert (ours.width, ours.depth, ours.heads) == (
            section.hidden_size,
            section.num_hidden_layers,
            section.num_attention_heads,
        )
    assert config.image_norm_eps == theirs.vision_config.layer_norm_eps
    assert config.text_norm_eps == theirs.text_config.layer_norm_eps
    assert config.fusion == tuple(range(config.text.depth))
    assert not config.has_decoder
    v = config.vocabulary
    assert (v.size, v.pad, v.cls, v.sep, v.dec, v.enc) == (6 + len(WORDS) + 1, 0, 2, 3, 4, 5)
    assert float(teacher.model.temperature) == pytest.approx(0.07)
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())


def test_tokens_equal_the_hugging_face_tokenizer(small: Published) -> None:
    teacher, theirs = load_huggingface(str(small.folder)), AutoTokenizer.from_pretrained(small.folder)
    assert (
        teacher.tokenizer.captions(["A red CIRCLE of unknown"])
        == theirs(["A red CIRCLE of unknown"]).input_ids
    )


def test_padding_that_a_saved_tokenizer_remembers_is_switched_off(copied: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(copied)
    theirs(CAPTIONS, padding="max_length", truncation=True, max_length=9)
    theirs.save_pretrained(copied)
    assert json.loads((copied / "tokenizer.json").read_text())["padding"] is not None
    rows = load_huggingface(str(copied)).tokenizer.captions(["a star"])
    assert [len(row) for row in rows] == [4]


def test_vocabulary_file_alone_is_enough_and_the_last_row_is_enc(copied: Path) -> None:
    words = [*(copied / "vocab.txt").read_text().split()[:4], *WORDS]  # as published: without [DEC] and [ENC]
    (copied / "tokenizer.json").unlink()
    (copied / "vocab.txt").write_text("\n".join(words) + "\n")
    config = json.loads((copied / "config.json").read_text())
    config["text_config"]["bos_token_id"] = 17
    (copied / "config.json").write_text(json.dumps(config))
    teacher = load_huggingface(str(copied))
    assert (teacher.config.vocabulary.dec, teacher.config.vocabulary.enc) == (17, 18)
    assert teacher.tokenizer.captions(["a red star"]) == [[2, 4, 5, 15, 3]]


def picture() -> Image.Image:
    """A picture that is not square, with edges and slopes."""
    y, x = np.mgrid[0:53, 0:91]
    pixels = np.stack([x * 2.7, y * 4.5, 255 * ((x // 7 + y // 5) % 2)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def test_preprocessing_equals_the_image_processors(small: Published) -> None:
    teacher = load_huggingface(str(small.folder))
    preprocess = teacher.preprocess
    pixels = torch.from_numpy(square(picture(), preprocess.image_size).copy()).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in (preprocess.mean, preprocess.std))
    ours = (pixels - mean) / std
    exact = BlipImageProcessorPil.from_pretrained(small.folder)(picture(), return_tensors="pt").pixel_values[
        0
    ]
    tolerance.close(ours, exact, ops=3)  # scale, mean, deviation
    # the torchvision backend rounds its bicubic weights otherwise: at most two grey levels of 255
    near = BlipImageProcessor.from_pretrained(small.folder)(picture(), return_tensors="pt").pixel_values[0]
    assert float(((ours - near) * std * 255).abs().max()) <= 2.001


def test_weights_in_the_older_pickled_file_are_read_too(copied: Path, small: Published) -> None:
    weights = load_file(copied / "model.safetensors")
    weights["text_encoder.embeddings.position_ids"] = torch.arange(20)[None]  # older releases stored it
    (copied / "model.safetensors").unlink()
    torch.save(weights, copied / "pytorch_model.bin")
    teacher = load_huggingface(str(copied))
    assert teacher.files.fingerprint == load_huggingface(str(small.folder)).files.fingerprint


def test_the_position_table_is_cut_to_the_length_of_blips_texts(tmp_path: Path) -> None:
    long = save(tmp_path / "blip", *SIZES["text wider"], positions=64)
    teacher = load_huggingface(str(long.folder))
    assert teacher.config.max_tokens == LONGEST_TEXT == 35
    table = long.model.text_encoder.embeddings.position_embeddings.weight
    assert torch.equal(teacher.model.text_network.positions.weight, table[:35])


def test_the_door_of_teachers_finds_a_hugging_face_folder(small: Published) -> None:
    assert load_teacher(str(small.folder)).files.folder == small.folder


def edit(folder: Path, path: str, value: object, file: str = "config.json") -> None:
    settings = json.loads((folder / file).read_text())
    *sections, key = path.split(".")
    place = settings
    for section in sections:
        place = place[section]
    place[key] = value
    (folder / file).write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("architectures", ["BlipForConditionalGeneration"], "allowed: 'blip' with BlipForImageTextRetrieval"),
        ("architectures", ["BlipModel"], "got model_type 'blip' with architectures"),
        ("model_type", "clip", "got model_type 'clip'"),
        (
            "vision_config.hidden_act",
            "quick_gelu",
            "vision_config.hidden_act: got 'quick_gelu'; allowed: 'gelu'",
        ),
        ("text_config.hidden_act", "relu", "text_config.hidden_act: got 'relu'"),
        ("text_config.is_decoder", False, "text_config.is_decoder: got False; allowed: True"),
        ("text_config.num_attention_heads", 5, "width must be a multiple of heads"),
        ("text_config.num_hidden_layers", "3", "text_config.num_hidden_layers: got '3'"),
        ("vision_config.image_size", [32, 48], "vision_config.image_size"),
        ("text_config.vocab_size", 9, "the tokenizer gives ids up to 18"),
    ],
)
def test_what_our_family_cannot_hold_is_refused_by_name(
    copied: Path, path: str, value: object, told: str
) -> None:
    edit(copied, path, value)
    with pytest.raises(TeacherError) as caught:
        load_huggingface(str(copied))
    assert told in str(caught.value)
    assert str(copied) in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("do_resize", False, "do_resize: got False"),
        ("do_center_crop", True, "do_center_crop"),
        ("resample", 2, "resample: got 2; allowed: 3"),
        ("size", {"height": 64, "width": 64}, "size: got (64, 64); allowed: (32, 32)"),
        ("rescale_factor", 1.0, "allowed: 1/255"),
        ("image_mean", [0.5], "three numbers each"),
    ],
)
def test_other_preprocessing_is_refused_by_name(copied: Path, path: str, value: object, told: str) -> None:
    edit(copied, path, value, "preprocessor_config.json")
    with pytest.raises(TeacherError) as caught:
        load_huggingface(str(copied))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("config.json", "config.json: cannot be read"),
        ("model.safetensors", "holds no weights; allowed: model.safetensors or pytorch_model.bin"),
        ("preprocessor_config.json", "holds neither preprocessor_config.json"),
        ("tokenizer.json", "holds neither tokenizer.json nor vocab.txt"),
    ],
)
def test_a_missing_file_is_named(copied: Path, name: str, told: str) -> None:
    (copied / name).unlink()
    if name == "tokenizer.json":
        (copied / "vocab.txt").unlink()
    with pytest.raises(TeacherError) as caught:
        load_huggingface(str(copied))
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_damaged_file_is_named(copied: Path, name: str) -> None:
    (copied / name).write_bytes((copied / name).read_bytes()[:30])
    with pytest.raises(TeacherError, match=f"{name}: cannot be read"):
        load_huggingface(str(copied))


def test_a_damaged_pickled_file_is_named(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").write_bytes(b"no pickle")
    with pytest.raises(TeacherError, match=r"pytorch_model\.bin: cannot be read"):
        load_huggingface(str(copied))


def test_missing_unknown_and_misshapen_weights_are_named_as_they_are_published(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    del weights["vision_proj.weight"]
    weights["vision_model.surprise"] = torch.zeros(2)
    weights["itm_head.bias"] = torch.zeros(3)
    save_file(weights, copied / "model.safetensors")
    with pytest.raises(TeacherError) as caught:
        load_huggingface(str(copied))
    assert "missing vision_proj.weight" in str(caught.value)
    assert "unknown vision_model.surprise" in str(caught.value)
    assert "itm_head.bias (3,) instead of (2,)" in str(caught.value)


def test_a_hub_id_is_taken_from_the_cache_first(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def snapshot(name: str, *, allow_patterns: list[str], local_files_only: bool = False) -> str:
        asked.append(local_files_only)
        return str(copied)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    teacher = load_huggingface("someone/blip")
    assert asked == [True]
    assert (teacher.files.name, teacher.files.folder) == ("someone/blip", copied)


def test_a_hub_id_that_is_not_cached_is_downloaded(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(name: str, *, allow_patterns: list[str], local_files_only: bool = False) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not cached")
        return str(copied)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert load_huggingface("someone/blip").files.folder == copied
