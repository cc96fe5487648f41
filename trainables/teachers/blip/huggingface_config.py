"""Sizes, preprocessing and tokenizer of a Hugging Face BLIP folder; what we cannot hold is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from spaces.errors import ShapeError, TeacherError
from spaces.rules import show
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.preprocess import PreprocessConfig
from trainables.teachers.preprocessing import read_preprocess
from trainables.tokenizer import Tokenizer, VocabularyConfig

CONFIG = "config.json"
ARCHITECTURE = "BlipForImageTextRetrieval"
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
    settings = _read(path)
    _require_architecture(path, settings)
    vision = {**VISION, **_section(path, settings, "vision_config")}
    text = {**TEXT, **_section(path, settings, "text_config")}
    for name, section in (("vision_config", vision), ("text_config", text)):
        _require(path, f"{name}.hidden_act", section["hidden_act"], ("gelu",))
    _require(path, "text_config.is_decoder", text["is_decoder"], (True,))
    vocabulary = _natural(path, "text_config.vocab_size", text["vocab_size"])
    depth = _natural(path, "text_config.num_hidden_layers", text["num_hidden_layers"])
    longest = _natural(path, "text_config.max_position_embeddings", text["max_position_embeddings"])
    try:
        return BlipArchitecture(
            image=_encoder(path, "vision_config", vision),
            text=_encoder(path, "text_config", text),
            fusion=tuple(range(depth)),
            embedding=_natural(
                path, "image_text_hidden_size", settings.get("image_text_hidden_size", EMBEDDING)
            ),
            image_size=_side(path, "vision_config.image_size", vision["image_size"]),
            patch_size=_side(path, "vision_config.patch_size", vision["patch_size"]),
            max_tokens=min(longest, LONGEST_TEXT),
            vocabulary=VocabularyConfig(
                size=vocabulary, pad=0, cls=0, sep=0, dec=text["bos_token_id"] or -1, enc=vocabulary - 1
            ),
            decoder=False,
            image_norm_eps=float(vision["layer_norm_eps"]),
            text_norm_eps=float(text["layer_norm_eps"]),
        )
    except ShapeError as error:
        raise TeacherError(f"{path}: {error}") from error


def _require_architecture(path: Path, settings: dict[str, Any]) -> None:
    kind, classes = settings.get("model_type"), settings.get("architectures")
    classes = classes if isinstance(classes, list) else [] if classes is None else [classes]
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
    if 0 <= config.vocabulary.dec < size:
        ids["[DEC]"] = config.vocabulary.dec
    if "[DEC]" not in ids:
        raise TeacherError(
            f"{folder / CONFIG}, text_config.bos_token_id: got {config.vocabulary.dec}; allowed: "
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


def read_square(folder: Path, image_size: int) -> PreprocessConfig:
    """Return what the folder's image processor does, whose pictures must have the side that positions are learned for.

    Raises:
        TeacherError: pictures of another side, or see `read_preprocess`.
    """
    found = read_preprocess(folder)
    if found.image_size != image_size:
        raise TeacherError(
            f"{folder}: the image processor makes pictures of side {found.image_size}, vision_config.image_size is "
            f"{image_size}; allowed: the same. Save the image processor that belongs to these weights."
        )
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise TeacherError(
            f"{path}: cannot be read ({error}). Save or download the teacher again."
        ) from error
    if not isinstance(settings, dict):
        raise TeacherError(f"{path}: got a {type(settings).__name__}, allowed is one JSON object.")
    return settings


def _section(path: Path, settings: dict[str, Any], name: str) -> dict[str, Any]:
    section = settings.get(name) or {}
    if not isinstance(section, dict):
        raise TeacherError(f"{path}, {name}: got a {type(section).__name__}, allowed is one JSON object.")
    return section


def _require(path: Path, name: str, got: object, allowed: tuple[object, ...]) -> None:
    if got not in allowed:
        shown = " or ".join(map(show, allowed))
        raise TeacherError(
            f"{path}, {name}: got {show(got)}; allowed: {shown}. This program knows no other BLIP."
        )


def _natural(path: Path, name: str, got: object) -> int:
    if not isinstance(got, int) or isinstance(got, bool) or got < 1:
        raise TeacherError(f"{path}, {name}: got {show(got)}; allowed: a whole number above 0.")
    return got


def _side(path: Path, name: str, got: object) -> int:
    """Return the side of a square that is written as one number or twice."""
    if isinstance(got, list) and len(got) == 2 and got[0] == got[1]:
        got = got[0]
    return _natural(path, name, got)


def _encoder(path: Path, name: str, section: dict[str, Any]) -> EncoderConfig:
    width, inner, depth, heads = (
        _natural(path, f"{name}.{key}", section[key])
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    )
    return EncoderConfig(width=width, depth=depth, heads=heads, mlp_ratio=_ratio(width, inner))


def _ratio(width: int, inner: int) -> float:
    """Return the ratio that gives exactly `inner` again once multiplied by `width` and cut."""
    ratio = inner / width
    return ratio if int(width * ratio) == inner else math.nextafter(ratio, math.inf)
