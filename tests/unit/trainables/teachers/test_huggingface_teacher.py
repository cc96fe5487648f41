"""A Hugging Face BLIP folder gives the same numbers in our family as in its own class."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    BlipImageProcessor,
    BlipImageProcessorPil,
)

from tests.unit.trainables.teachers.published import SIZES, WORDS, Published, edit, save
from trainables.datasets.pictures import square
from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.model import Blip
from trainables.signals import PIXELS, Batch, Signals, Want
from trainables.teachers.blip.huggingface import load_huggingface
from trainables.teachers.blip.huggingface_config import LONGEST_TEXT
from trainables.teachers.blip.huggingface_names import published_name
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher
from trainables.tokenizer import Tokenizer

CAPTIONS = [
    "a red circle",
    "two green star above the blue square",
    "a star",
    "the blue square left of a red star",
]
ROUNDINGS = 64  # products of at most 100 channels through at most 2 + 3 layers, summed in another order


def architecture_of(teacher: Teacher) -> BlipArchitecture:
    architecture: BlipArchitecture = teacher.blueprint.architecture
    return architecture


def tokenizer_of(teacher: Teacher) -> Tokenizer:
    assert teacher.tokenizer is not None
    return teacher.tokenizer


def make_batch(teacher: Teacher) -> Batch:
    rows = tokenizer_of(teacher).captions(CAPTIONS)
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    side = architecture_of(teacher).image_size
    pixels = torch.randn(len(rows), 3, side, side, generator=torch.Generator().manual_seed(1))
    keys = torch.arange(len(rows))
    fields = {PIXELS: pixels, "caption.ids": ids, "caption.mask": mask, "caption.key": keys}
    return Batch(fields=fields, rows={"picture": keys, "caption": keys})


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    allowed = ROUNDINGS * torch.finfo(torch.float32).eps * max(float(theirs.abs().max()), 1.0)
    torch.testing.assert_close(ours, theirs, atol=allowed, rtol=0)


IMAGE, TEXT, TOKENS = Want("image", "embedding"), Want("text", "embedding"), Want("image", "tokens")


@torch.no_grad()
def test_image_tokens_states_and_itc_equal_the_hugging_face_class(published: Published) -> None:
    teacher, theirs = load_huggingface(str(published.folder)), published.model
    batch = make_batch(teacher)
    states = Want("text", "hidden", architecture_of(teacher).text.depth - 1)
    ours: Signals = teacher.signals(batch, frozenset({TOKENS, IMAGE, TEXT, states}))
    reference = theirs(
        input_ids=batch["caption.ids"],
        attention_mask=batch["caption.mask"].long(),
        pixel_values=batch[PIXELS],
        use_itm_head=False,
    )
    assert reference.last_hidden_state.std() > 0.1  # the library's default initialisation leaves the ViT dead
    close(ours[TOKENS], reference.last_hidden_state)
    real = batch["caption.mask"]
    close(ours[states][real], reference.question_embeds[real])
    close(ours[IMAGE] @ ours[TEXT].T, reference.itm_score)


@torch.no_grad()
def test_embeddings_equal_the_hugging_face_class(published: Published) -> None:
    teacher, theirs = load_huggingface(str(published.folder)), published.model
    batch = make_batch(teacher)
    tokens = theirs.vision_model(pixel_values=batch[PIXELS]).last_hidden_state[:, 0]
    states = theirs.text_encoder(input_ids=batch["caption.ids"], attention_mask=batch["caption.mask"].long())
    normal = torch.nn.functional.normalize
    ours = teacher.signals(batch, frozenset({IMAGE, TEXT}))
    close(ours[IMAGE], normal(theirs.vision_proj(tokens), dim=-1))
    close(ours[TEXT], normal(theirs.text_proj(states.last_hidden_state[:, 0]), dim=-1))


@torch.no_grad()
def test_grounded_states_and_itm_equal_the_hugging_face_class(published: Published) -> None:
    teacher, theirs = load_huggingface(str(published.folder)), published.model
    batch = make_batch(teacher)
    match, states = Want("fused", "logits"), Want("fused", "hidden", architecture_of(teacher).text.depth - 1)
    ours = teacher.signals(batch, frozenset({match, states}))
    ids = batch["caption.ids"].clone()
    ids[:, 0] = architecture_of(teacher).vocabulary.enc  # the class leaves this swap to its caller
    reference = theirs(
        input_ids=ids,
        attention_mask=batch["caption.mask"].long(),
        pixel_values=batch[PIXELS],
        use_itm_head=True,
    )
    real = batch["caption.mask"]
    close(ours[match], reference.itm_score)
    close(ours[states][real], reference.question_embeds[real])


def test_sizes_heads_norms_and_special_ids_are_those_of_the_files(published: Published) -> None:
    teacher, theirs = load_huggingface(str(published.folder)), published.model.config
    config = architecture_of(teacher)
    assert isinstance(teacher.model, Blip)
    assert teacher.blueprint.kind == "blip"
    assert not [want for want in teacher.offers if want.mode in ("decoder", "answer")]
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
    assert teacher.lacks_temperature  # the class holds none, and nobody has told it
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())


def test_tokens_equal_the_hugging_face_tokenizer(small: Published) -> None:
    teacher, theirs = load_huggingface(str(small.folder)), AutoTokenizer.from_pretrained(small.folder)
    assert (
        tokenizer_of(teacher).captions(["A red CIRCLE of unknown"])
        == theirs(["A red CIRCLE of unknown"]).input_ids
    )


def test_padding_that_a_saved_tokenizer_remembers_is_switched_off(copied: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(copied)
    theirs(CAPTIONS, padding="max_length", truncation=True, max_length=9)
    theirs.save_pretrained(copied)
    assert json.loads((copied / "tokenizer.json").read_text())["padding"] is not None
    rows = tokenizer_of(load_huggingface(str(copied))).captions(["a star"])
    assert [len(row) for row in rows] == [4]


def test_vocabulary_file_alone_is_enough_and_the_last_row_is_enc(copied: Path) -> None:
    words = [*(copied / "vocab.txt").read_text().split()[:4], *WORDS]  # as published: without [DEC] and [ENC]
    (copied / "tokenizer.json").unlink()
    (copied / "vocab.txt").write_text("\n".join(words) + "\n")
    config = json.loads((copied / "config.json").read_text())
    config["text_config"]["bos_token_id"] = 17
    (copied / "config.json").write_text(json.dumps(config))
    teacher = load_huggingface(str(copied))
    vocabulary = architecture_of(teacher).vocabulary
    assert tokenizer_of(teacher).vocabulary == vocabulary
    assert (vocabulary.dec, vocabulary.enc) == (17, 18)
    assert tokenizer_of(teacher).captions(["a red star"]) == [[2, 4, 5, 15, 3]]


def picture() -> Image.Image:
    """A picture that is not square, with edges and slopes."""
    y, x = np.mgrid[0:53, 0:91]
    pixels = np.stack([x * 2.7, y * 4.5, 255 * ((x // 7 + y // 5) % 2)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def test_preprocessing_equals_the_image_processors(small: Published) -> None:
    teacher = load_huggingface(str(small.folder))
    preprocess = teacher.preprocess
    ours = preprocess.normalise(torch.from_numpy(square(picture(), preprocess.framing).copy())[None])[0]
    std = torch.tensor(preprocess.std).view(3, 1, 1)
    exact = BlipImageProcessorPil.from_pretrained(small.folder)(picture(), return_tensors="pt").pixel_values[
        0
    ]
    close(ours, exact)
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


def test_shards_and_half_precision_are_read_too(copied: Path, small: Published) -> None:
    expected = load_huggingface(str(small.folder))
    (copied / "model.safetensors").unlink()
    small.model.save_pretrained(copied, max_shard_size="60KB")
    assert len(list(copied.glob("model-*-of-*.safetensors"))) > 2
    assert load_huggingface(str(copied)).files.fingerprint == expected.files.fingerprint
    weights = {name: one.half() for name, one in small.model.state_dict().items()}
    for path in copied.glob("model*"):
        path.unlink()
    save_file(weights, copied / "model.safetensors")
    half = load_huggingface(str(copied)).model.state_dict()
    named = {key: published_name(key) for key in half if key != "temperature"}
    assert all(one.dtype == torch.float32 for one in half.values())
    for own, theirs in named.items():
        assert torch.equal(half[own], weights[theirs].float())


def test_what_its_image_processor_says_and_ignores_is_no_reason_to_refuse(
    copied: Path, small: Published
) -> None:
    for name, value in (("do_pad", True), ("size_divisor", 32), ("do_center_crop", None)):
        edit(copied, name, value, "preprocessor_config.json")
    assert load_huggingface(str(copied)).preprocess == load_huggingface(str(small.folder)).preprocess


@torch.no_grad()
def test_features_that_heads_read_are_those_of_the_trained_projections(published: Published) -> None:
    teacher, theirs = load_huggingface(str(published.folder)), published.model
    batch = make_batch(teacher)
    read = {"input_ids": batch["caption.ids"], "attention_mask": batch["caption.mask"].long()}
    states = {
        "image": theirs.vision_model(pixel_values=batch[PIXELS]).last_hidden_state,
        "text": theirs.text_encoder(**read).last_hidden_state,
    }
    ours = teacher.signals(batch, frozenset(want for want in teacher.offers if want.mode in states))
    everywhere = torch.ones(states["image"].shape[:2], dtype=torch.bool)
    for mode, projection, real in (
        ("image", theirs.vision_proj, everywhere),
        ("text", theirs.text_proj, batch["caption.mask"]),
    ):
        close(ours[Want(mode, "pooled")], states[mode][:, 0])
        close(ours[Want(mode, "joint")][real], projection(states[mode])[real])
        close(
            torch.nn.functional.normalize(ours[Want(mode, "joint")][:, 0], dim=-1),
            ours[Want(mode, "embedding")],
        )
    grid = ours[Want("image", "map")]
    assert grid.shape[1] == theirs.config.image_text_hidden_size
    close(grid.flatten(2).transpose(1, 2), theirs.vision_proj(states["image"])[:, 1:])


def test_the_position_table_stays_whole_and_texts_are_as_long_as_blips_captions(tmp_path: Path) -> None:
    long = save(tmp_path / "blip", *SIZES["text wider"], positions=64)
    teacher = load_huggingface(str(long.folder))
    assert architecture_of(teacher).max_tokens == tokenizer_of(teacher).max_tokens == LONGEST_TEXT == 40
    table = long.model.text_encoder.embeddings.position_embeddings.weight
    assert torch.equal(teacher.model.text_network.positions.weight, table)
    assert [len(row) for row in tokenizer_of(teacher).captions(["star " * 50])] == [40]


def test_the_door_of_teachers_finds_a_hugging_face_folder(small: Published) -> None:
    assert load_teacher(str(small.folder)).files.folder == small.folder


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
