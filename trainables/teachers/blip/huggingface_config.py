"""Sizes and tokenizer of a Hugging Face BLIP folder of any of its three classes; what we cannot hold is refused."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from spaces.errors import ShapeError, TeacherError
from spaces.rules import show
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.teachers.json_file import read_object
from trainables.teachers.settings import classes_of, natural, positive, section, square_side
from trainables.tokenizer import Tokenizer, VocabularyConfig

CONFIG = "config.json"
RETRIEVAL, CAPTIONING, ANSWERING = (
    "BlipForImageTextRetrieval",
    "BlipForConditionalGeneration",
    "BlipForQuestionAnswering",
)
PARTS: dict[str, dict[str, Any]] = {
    RETRIEVAL: {"decoder": False, "temperature_given": True},
    CAPTIONING: {"contrast": False, "matching": False, "encoder": False, "decodes": ("decoder",)},
    ANSWERING: {"contrast": False, "matching": False, "decoder": False, "answerer": True},
}
"""What each class of the library holds of a model of our family."""
EXAMPLES = {
    RETRIEVAL: "Salesforce/blip-itm-base-coco",
    CAPTIONING: "Salesforce/blip-image-captioning-base",
    ANSWERING: "Salesforce/blip-vqa-base",
}
PROJECTED_ANEW = (
    "BlipModel"  # its two projections are drawn afresh when any published checkpoint is loaded into it
)
LONGEST_TEXT = 40  # tokens, of which BLIP captions are made (Li et al. 2022); its retrieval takes 35
UNUSED_ROWS = 128  # of a word table, which tables padded to a round number have

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

    Texts longer than `LONGEST_TEXT` tokens are cut, as BLIP's own evaluation does: `max_tokens` is the length at which costs are
    counted and students are built. The table of positions stays whole.

    Raises:
        TeacherError: no config, another architecture, or an option that our family lacks.
    """
    path = folder / CONFIG
    return sizes_of(path, read_object(path))


def sizes_of(path: Path, settings: dict[str, Any]) -> BlipArchitecture:
    """Return the sizes that a config says, see `read_config`.

    Args:
        path: of the config, for messages.
        settings: what it says.

    Raises:
        TeacherError: as `read_config`.
    """
    kind = _class_of(path, settings)
    vision = {**VISION, **section(path, settings, "vision_config")}
    text = {**TEXT, **section(path, settings, "text_config")}
    for name, side in (("vision_config", vision), ("text_config", text)):
        _require(path, f"{name}.hidden_act", side["hidden_act"], ("gelu",))
    _require(path, "text_config.is_decoder", text["is_decoder"], (True,))
    vocabulary = natural(path, "text_config.vocab_size", text["vocab_size"])
    depth = natural(path, "text_config.num_hidden_layers", text["num_hidden_layers"])
    longest = natural(path, "text_config.max_position_embeddings", text["max_position_embeddings"])
    begin = text["bos_token_id"]
    try:
        found = BlipArchitecture(
            image=_encoder(path, "vision_config", vision),
            text=_encoder(path, "text_config", text),
            fusion=tuple(range(depth)),
            embedding=natural(
                path, "image_text_hidden_size", settings.get("image_text_hidden_size", EMBEDDING)
            ),
            image_size=square_side(path, "vision_config.image_size", vision["image_size"]),
            patch_size=square_side(path, "vision_config.patch_size", vision["patch_size"]),
            max_tokens=min(longest, LONGEST_TEXT),
            positions=longest if longest > LONGEST_TEXT else 0,
            vocabulary=VocabularyConfig(size=vocabulary, pad=0, cls=0, sep=0, dec=begin, enc=vocabulary - 1),
            image_norm_eps=positive(path, "vision_config.layer_norm_eps", vision["layer_norm_eps"]),
            text_norm_eps=positive(path, "text_config.layer_norm_eps", text["layer_norm_eps"]),
            **PARTS[kind],
        )
    except ShapeError as error:
        raise TeacherError(f"{path}: {error}") from error
    if found.image_size % found.patch_size:
        raise TeacherError(
            f"{path}, vision_config.image_size: got {found.image_size} with patch_size {found.patch_size}; allowed: a multiple "
            "of the patch. Check that config and weights belong together."
        )
    if found.answerer and found.image.width != found.text.width:
        raise TeacherError(
            f"{path}: got {kind} with vision_config.hidden_size {found.image.width} and text_config.hidden_size "
            f"{found.text.width}; allowed: the same, since its decoder looks at text states through weights as wide as the "
            "pictures'. The class itself cannot run either: give another checkpoint."
        )
    return found


def _class_of(path: Path, settings: dict[str, Any]) -> str:
    """Return the class of the library that a folder was saved as.

    Raises:
        TeacherError: it is none that can teach.
    """
    kind, classes = settings.get("model_type"), classes_of(settings)
    found = [one for one in PARTS if one in classes]
    if kind == "blip" and found:
        return found[0]
    allowed = ", ".join(f"{one} (such as {example})" for one, example in EXAMPLES.items())
    if kind == "blip" and PROJECTED_ANEW in classes:
        raise TeacherError(
            f"{path}: got architectures {show(classes)}; allowed: {allowed}. The projections of a {PROJECTED_ANEW} are "
            "of no published training; give a checkpoint saved as one of these."
        )
    raise TeacherError(
        f"{path}: got model_type {show(kind)} with architectures {show(classes)}; allowed: 'blip' with {allowed}; "
        "or a folder that search/export.py wrote."
    )


def read_tokenizer(
    folder: Path, config: BlipArchitecture
) -> tuple[BlipArchitecture, Tokenizer, tuple[str, ...]]:
    """Return the config with all special ids, the tokenizer, and what the user should know of the two.

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
    unused = size - 1 - largest
    notes = (
        (
            f"its tokenizer has {largest + 1:,} tokens and its word table {size:,} rows: check that the two belong together",
        )
        if unused > UNUSED_ROWS
        else ()
    )
    return complete, Tokenizer(tokenizer.backend, complete.vocabulary, complete.max_tokens), notes


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
    return EncoderConfig(width=width, depth=depth, heads=heads, mlp_ratio=mlp_ratio(width, inner))


def mlp_ratio(width: int, inner: int) -> float:
    """Return the ratio that gives exactly `inner` again once multiplied by `width` and cut."""
    ratio = inner / width
    return ratio if int(width * ratio) == inner else math.nextafter(ratio, math.inf)
