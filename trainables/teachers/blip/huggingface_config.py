"""Sizes, preprocessing and tokenizer of a Hugging Face BLIP folder; what we cannot hold is refused."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from spaces.errors import ShapeError, TeacherError
from spaces.rules import show
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.teachers.json_file import read_object
from trainables.teachers.settings import classes_of, natural, section, square_side
from trainables.tokenizer import Tokenizer, VocabularyConfig

CONFIG = "config.json"
ARCHITECTURE = "BlipForImageTextRetrieval"
PROJECTED_ANEW = (
    "BlipModel"  # its two projections are drawn afresh when any published checkpoint is loaded into it
)
LONGEST_TEXT = (
    35  # tokens; BLIP's retrieval length (Li et al. 2022). Published position tables have 512 rows.
)

# What the library assumes for a key that a config file leaves out (BlipVisionConfig, BlipTextConfig).
VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 384,
    "patch_size": 16,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
}
TEXT = {
    "vocab_size": 30524,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 512,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "bos_token_id": 30522,
    "is_decoder": True,
}
EMBEDDING = 256


def read_config(folder: Path) -> BlipArchitecture:
    """Return the sizes; the special ids are still those of the config alone, see `read_tokenizer`.

    Texts longer than `LONGEST_TEXT` tokens are cut, as BLIP's own evaluation does, and the position table
    with them: `max_tokens` is the length at which costs are counted and students are built.

    Raises:
        TeacherError: no config, another architecture, or an option that our family lacks.
    """
    path = folder / CONFIG
    settings = read_object(path)
    _require_architecture(path, settings)
    vision = {**VISION, **section(path, settings, "vision_config")}
    text = {**TEXT, **section(path, settings, "text_config")}
    for name, side in (("vision_config", vision), ("text_config", text)):
        _require(path, f"{name}.hidden_act", side["hidden_act"], ("gelu",))
    _require(path, "text_config.is_decoder", text["is_decoder"], (True,))
    vocabulary = natural(path, "text_config.vocab_size", text["vocab_size"])
    depth = natural(path, "text_config.num_hidden_layers", text["num_hidden_layers"])
    longest = natural(path, "text_config.max_position_embeddings", text["max_position_embeddings"])
    try:
        return BlipArchitecture(
            image=_encoder(path, "vision_config", vision),
            text=_encoder(path, "text_config", text),
            fusion=tuple(range(depth)),
            embedding=natural(
                path, "image_text_hidden_size", settings.get("image_text_hidden_size", EMBEDDING)
            ),
            image_size=square_side(path, "vision_config.image_size", vision["image_size"]),
            patch_size=square_side(path, "vision_config.patch_size", vision["patch_size"]),
            max_tokens=min(longest, LONGEST_TEXT),
            vocabulary=VocabularyConfig(
                size=vocabulary, pad=0, cls=0, sep=0, dec=text["bos_token_id"], enc=vocabulary - 1
            ),
            decoder=False,
            image_norm_eps=float(vision["layer_norm_eps"]),
            text_norm_eps=float(text["layer_norm_eps"]),
        )
    except ShapeError as error:
        raise TeacherError(f"{path}: {error}") from error


def _require_architecture(path: Path, settings: dict[str, Any]) -> None:
    kind, classes = settings.get("model_type"), classes_of(settings)
    if kind == "blip" and PROJECTED_ANEW in classes:
        raise TeacherError(
            f"{path}: got architectures {show(classes)}; allowed: {ARCHITECTURE}. The projections of a {PROJECTED_ANEW} are "
            f"of no published training; give the checkpoint saved as {ARCHITECTURE}, such as Salesforce/blip-itm-base-coco."
        )
    if kind != "blip" or ARCHITECTURE not in classes:
        raise TeacherError(
            f"{path}: got model_type {show(kind)} with architectures {show(classes)}; allowed: 'blip' with "
            f"{ARCHITECTURE}, such as Salesforce/blip-itm-base-coco, or a folder that search/export.py wrote."
        )


def read_tokenizer(folder: Path, config: BlipArchitecture) -> tuple[BlipArchitecture, Tokenizer]:
    """Return the config with all special ids, and the tokenizer.

    BLIP's [DEC] is the text config's `bos_token_id`; [ENC] is the tokenizer's token of that name, otherwise
    the last row of the word table, as in the published checkpoints.

    Raises:
        TeacherError: no tokenizer, one without [CLS], [SEP] or [PAD], or one larger than the word table.
    """
    size = config.vocabulary.size
    tokenizer = Tokenizer.from_folder(folder, config.vocabulary, config.max_tokens)
    found = {
        name: tokenizer.backend.token_to_id(name) for name in ("[PAD]", "[CLS]", "[SEP]", "[DEC]", "[ENC]")
    }
    ids: dict[str, int] = {name: number for name, number in found.items() if number is not None}
    missing = [name for name in ("[PAD]", "[CLS]", "[SEP]") if name not in ids]
    if missing:
        raise TeacherError(
            f"{folder}: the tokenizer has no {', '.join(missing)}; allowed: a BERT tokenizer that has them."
        )
    largest = tokenizer.backend.get_vocab_size() - 1
    if largest >= size:
        raise TeacherError(
            f"{folder}: the tokenizer gives ids up to {largest}, text_config.vocab_size is {size}; allowed: "
            "below it. Check that tokenizer and weights belong together."
        )
    begin = config.vocabulary.dec
    if isinstance(begin, int) and 0 < begin < size:
        ids["[DEC]"] = begin
    if "[DEC]" not in ids:
        raise TeacherError(
            f"{folder / CONFIG}, text_config.bos_token_id: got {show(begin)}; allowed: "
            f"1 to {size - 1}, BLIP's [DEC] token."
        )
    vocabulary = VocabularyConfig(
        size=size,
        pad=ids["[PAD]"],
        cls=ids["[CLS]"],
        sep=ids["[SEP]"],
        dec=ids["[DEC]"],
        enc=ids.get("[ENC]", size - 1),
    )
    complete = replace(config, vocabulary=vocabulary)
    tokenizer.backend.no_padding()  # a saved tokenizer may remember the padding of its last call
    tokenizer.backend.no_truncation()
    return complete, Tokenizer(tokenizer.backend, complete.vocabulary, complete.max_tokens)


def _require(path: Path, name: str, got: object, allowed: tuple[object, ...]) -> None:
    if got not in allowed:
        shown = " or ".join(map(show, allowed))
        raise TeacherError(
            f"{path}, {name}: got {show(got)}; allowed: {shown}. This program knows no other BLIP."
        )


def _encoder(path: Path, name: str, side: dict[str, Any]) -> EncoderConfig:
    width, inner, depth, heads = (
        natural(path, f"{name}.{key}", side[key])
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    )
    return EncoderConfig(width=width, depth=depth, heads=heads, mlp_ratio=_ratio(width, inner))


def _ratio(width: int, inner: int) -> float:
    """Return the ratio that gives exactly `inner` again once multiplied by `width` and cut."""
    ratio = inner / width
    return ratio if int(width * ratio) == inner else math.nextafter(ratio, math.inf)
