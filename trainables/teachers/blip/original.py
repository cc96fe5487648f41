"""Load what the authors of BLIP saved: a file `{"model": state dict}`, for pre-training, retrieval, captioning or questions.

Names are those of their code, sizes follow from shapes. Momentum copies and queues of training are left out, and listed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spaces.errors import ShapeError, TeacherError
from spaces.paths import user_path
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.model_folder import fingerprint
from trainables.preprocess import PreprocessConfig
from trainables.teachers.blip.huggingface import PIXELS, filled
from trainables.teachers.blip.huggingface_config import (
    ANSWERING,
    CAPTIONING,
    CONFIG,
    LONGEST_TEXT,
    PARTS,
    RETRIEVAL,
    mlp_ratio,
    read_tokenizer,
)
from trainables.teachers.blip.huggingface_names import published_name
from trainables.teachers.json_file import read_object
from trainables.teachers.preprocessing import FILES as PROCESSOR_FILES
from trainables.teachers.settings import natural, pictures_for, positive, section
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.teachers.weights import read_state
from trainables.tokenizer import Tokenizer, VocabularyConfig
from trainables.tokenizer_files import WHOLE

ENDING = ".pth"
TEXT_SIZES = "med_config.json"  # beside the code of the authors; of the text side alone
HEAD = 64  # channels of an attention head, of ViT-B, ViT-L and BERT alike
IMAGE_EPS, TEXT_EPS = 1e-6, 1e-12  # of the norms, in the authors' code
PRETRAINED = "pre-training"
TRAINING_ONLY = (
    ("momentum copies", re.compile(r"^(visual_encoder|text_encoder|text_decoder|vision_proj|text_proj)_m\.")),
    ("queues", re.compile(r"^(image_queue|text_queue|queue_ptr|idx_queue|ptr_queue)$")),
)
IMAGE_SIDE, OURS = "visual_encoder.", "image_encoder.vit."  # timm's vision transformer in both
OWN_OF_DECODER = re.compile(r"^text_decoder\.bert\.encoder\.layer\.\d+\.attention\.")
DECODER, ENCODER = "text_decoder.bert.", "text_encoder."


@dataclass(frozen=True, kw_only=True)
class Original:
    """What a file of the authors holds.

    Attributes:
        kind: what it was trained for: a class of the library, or `PRETRAINED`.
        weights: by the names of transformers, those of a tied decoder once.
        temperature: of ITC; None without.
        left_out: what only training needs: what it is, and how many tensors.
    """

    kind: str
    weights: dict[str, Tensor]
    temperature: float | None
    left_out: Mapping[str, int]


def load_original(name: str) -> Teacher:
    """Return the teacher of a file, or of a folder that holds one; tokenizer files lie beside it.

    Heads, which shapes do not tell, are of 64 channels as in all of BLIP, unless `config.json` (of transformers) or
    `med_config.json` (of the authors) beside it says otherwise.

    Raises:
        TeacherError: files missing, damaged, with objects beside tensors, or of another model.
    """
    path = _file(user_path(name))
    found = read_original(path)
    sizes = _architecture(path, found)
    config, tokenizer, more = read_tokenizer(path.parent, sizes)
    preprocess, pixels = _pictures(path.parent, config.image_size)
    model = filled(path, config, found.weights)
    notes = [f"{path.name} is a checkpoint of BLIP's authors, for {found.kind}", pixels, *more]
    if found.left_out:
        left = ", ".join(f"{what} ({count} tensors)" for what, count in found.left_out.items())
        notes.append(f"left out of {path.name}, since only training needs it: {left}")
    if found.temperature is not None:
        model.temperature.fill_(found.temperature)
        notes.append(f"ITC temperature {found.temperature:.4g}, of its checkpoint")
    files = TeacherFiles(name=name, folder=path.parent, fingerprint=fingerprint(model), notes=tuple(notes))
    teacher = Teacher(model, tokenizer, preprocess, files, blueprint=Blueprint("blip", config))
    teacher.temperature = found.temperature
    return teacher


def _file(place: Path) -> Path:
    """Return the file of weights.

    Raises:
        TeacherError: a folder with several.
    """
    if place.is_file():
        return place
    files = sorted(place.glob(f"*{ENDING}"))
    if len(files) != 1:
        names = ", ".join(one.name for one in files[:4])
        raise TeacherError(
            f"{place}: holds {len(files)} files *{ENDING} ({names}); allowed: one, or the name of one. Give the file itself."
        )
    return files[0]


def read_original(path: Path) -> Original:
    """Return what a file holds.

    Raises:
        TeacherError: damaged, or of another model.
    """
    weights: dict[str, Tensor] = {}
    left_out: dict[str, int] = {}
    for key, tensor in read_state(path).items():
        what = next((what for what, named in TRAINING_ONLY if named.match(key)), None)
        if what is not None:
            left_out[what] = left_out.get(what, 0) + 1
        else:
            weights[_renamed(key)] = tensor
    kind = _kind(path, weights)
    temperature = weights.pop("temp", None) if kind in (PRETRAINED, RETRIEVAL) else None
    if kind == PRETRAINED:
        weights = _tied_once(path, weights)
    return Original(
        kind=kind,
        weights=weights,
        temperature=None if temperature is None else _temperature(path, temperature),
        left_out=left_out,
    )


def _renamed(key: str) -> str:
    """Return the name in transformers, which changed those of the image side and kept those of texts."""
    return published_name(key.replace(IMAGE_SIDE, OURS, 1)) if key.startswith(IMAGE_SIDE) else key


def _temperature(path: Path, found: Tensor) -> float:
    value = float(found) if found.numel() == 1 else float("nan")
    if not 0 < value < float("inf"):
        got = f"{value:g}" if found.numel() == 1 else f"{found.numel():,} numbers"
        raise TeacherError(f"{path}, temp: got {got}; allowed: one number above 0. Give another checkpoint.")
    return value


def _kind(path: Path, weights: Mapping[str, Tensor]) -> str:
    """Return what a state dict was trained for.

    Raises:
        TeacherError: for something else.
    """

    def has(beginning: str) -> bool:
        return any(key.startswith(beginning) for key in weights)

    allowed = "allowed: of pre-training, retrieval, captioning and questions. Give one of these, or a folder of transformers"
    if any(".crossattention.self0." in key for key in weights) or has("cls_head."):
        raise TeacherError(f"{path}: is a checkpoint of NLVR2, with a head for two pictures; {allowed}.")
    seen, encoder, decoder, joint = map(has, ("vision_model.", ENCODER, "text_decoder.", "vision_proj."))
    kinds = {
        (True, True, True): PRETRAINED,
        (True, False, True): RETRIEVAL,
        (False, True, False): CAPTIONING,
        (True, True, False): ANSWERING,
    }
    if not seen or (encoder, decoder, joint) not in kinds:
        first = ", ".join(sorted(weights)[:3]) or "nothing"
        raise TeacherError(
            f"{path}: is no checkpoint of BLIP ({len(weights)} tensors, such as {first}); {allowed}."
        )
    return kinds[encoder, decoder, joint]


def _tied_once(path: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of pre-training, whose decoder has its self-attention alone to itself, without what stands twice.

    Raises:
        TeacherError: two that ought to be one differ.
    """
    found = dict(weights)
    for key, tensor in weights.items():
        if not key.startswith(DECODER) or OWN_OF_DECODER.match(key):
            continue
        twin = key.replace(DECODER, ENCODER, 1)
        if twin in weights and not torch.equal(tensor, weights[twin]):
            raise TeacherError(
                f"{path}: {key} differs from {twin}; allowed: equal ones, since pre-training ties all of the decoder but its "
                "self-attention. Give another checkpoint."
            )
        del found[key]
    head, words = "text_decoder.cls.predictions.decoder.weight", f"{ENCODER}embeddings.word_embeddings.weight"
    tied = found.pop(head, None)
    if tied is not None and words in found and not torch.equal(tied, found[words]):
        raise TeacherError(
            f"{path}: {head} differs from {words}; allowed: equal ones. Give another checkpoint."
        )
    return found


def _architecture(path: Path, found: Original) -> BlipArchitecture:
    """Return the sizes that shapes tell, with heads and norms as files beside or all of BLIP have them.

    Raises:
        TeacherError: shapes of no such model, or heads that nothing tells.
    """
    weights = found.weights
    text = DECODER if found.kind == CAPTIONING else ENCODER
    patches = _shape(path, weights, "vision_model.embeddings.patch_embedding.weight", 4)
    places = _shape(path, weights, "vision_model.embeddings.position_embedding", 3)
    words = _shape(path, weights, f"{text}embeddings.word_embeddings.weight", 2)
    longest = _shape(path, weights, f"{text}embeddings.position_embeddings.weight", 2)[0]
    inner = {
        "image": _shape(path, weights, "vision_model.encoder.layers.0.mlp.fc1.weight", 2)[0],
        "text": _shape(path, weights, f"{text}encoder.layer.0.intermediate.dense.weight", 2)[0],
    }
    joint, grid = "vision_proj.weight", round((places[1] - 1) ** 0.5)
    if grid**2 + 1 != places[1]:
        raise TeacherError(
            f"{path}, visual_encoder.pos_embed: got {places[1]} places; allowed: a square and one."
        )
    depth = {
        "image": _depth(weights, r"^vision_model\.encoder\.layers\.(\d+)\."),
        "text": _depth(weights, rf"^{re.escape(text)}encoder\.layer\.(\d+)\."),
    }
    width = {"image": patches[0], "text": words[1]}
    beside = _beside(path.parent)
    parts = {**PARTS, PRETRAINED: {"decodes": ("decoder",), "temperature_given": True}}[found.kind]
    begin = None if _names_decoder(path.parent, words[0]) else words[0] - 2
    try:
        sides = {
            side: EncoderConfig(
                width=width[side],
                depth=depth[side],
                heads=_heads(path, side, width[side], beside[side]),
                mlp_ratio=mlp_ratio(width[side], inner[side]),
            )
            for side in ("image", "text")
        }
        return BlipArchitecture(
            image=sides["image"],
            text=sides["text"],
            fusion=tuple(range(depth["text"])),
            embedding=_shape(path, weights, joint, 2)[0] if joint in weights else width["text"],
            image_size=grid * patches[2],
            patch_size=patches[2],
            max_tokens=min(longest, LONGEST_TEXT),
            positions=longest if longest > LONGEST_TEXT else 0,
            vocabulary=VocabularyConfig(size=words[0], pad=0, cls=0, sep=0, dec=begin, enc=words[0] - 1),
            image_norm_eps=_eps(path, "image", beside["image"], IMAGE_EPS),
            text_norm_eps=_eps(path, "text", beside["text"], TEXT_EPS),
            **parts,
        )
    except ShapeError as error:
        raise TeacherError(f"{path}: {error}") from error


def _shape(path: Path, weights: Mapping[str, Tensor], key: str, axes: int) -> Sequence[int]:
    if key not in weights or weights[key].ndim != axes:
        got = "nothing" if key not in weights else f"shape {tuple(weights[key].shape)}"
        raise TeacherError(
            f"{path}, {key}: got {got}; allowed: a tensor of {axes} axes. Give another checkpoint."
        )
    return tuple(weights[key].shape)


def _depth(weights: Mapping[str, Tensor], layer: str) -> int:
    return 1 + max(int(found[1]) for key in weights if (found := re.match(layer, key)))


def _beside(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what files beside the weights say of the two sides."""
    if (folder / CONFIG).is_file():
        settings = read_object(folder / CONFIG)
        return {
            side: section(folder / CONFIG, settings, name)
            for side, name in (("image", "vision_config"), ("text", "text_config"))
        }
    text = folder / TEXT_SIZES
    return {"image": {}, "text": read_object(text) if text.is_file() else {}}


def _eps(path: Path, side: str, told: Mapping[str, Any], usual: float) -> float:
    return positive(path.parent, f"layer_norm_eps of the {side} side", told.get("layer_norm_eps", usual))


def _heads(path: Path, side: str, width: int, told: Mapping[str, Any]) -> int:
    if "num_attention_heads" in told:
        return natural(path.parent, f"num_attention_heads of the {side} side", told["num_attention_heads"])
    if width % HEAD:
        raise TeacherError(
            f"{path}: its {side} side is {width} wide, and heads of {HEAD} channels, as in BLIP, do not fill it; weights do not "
            f"tell others. Put a {CONFIG} of transformers beside it, with num_attention_heads of both sides."
        )
    return width // HEAD


def _names_decoder(folder: Path, vocabulary: int) -> bool:
    """Return whether the tokenizer beside the weights has a token [DEC]; BLIP adds it behind BERT's, before [ENC].

    Raises:
        TeacherError: there is no tokenizer.
    """
    if not any((folder / name).is_file() for name in WHOLE):
        raise TeacherError(
            f"{folder}: holds no tokenizer beside the weights; allowed: {' or '.join(WHOLE)}. Put vocab.txt of bert-base-uncased "
            "there, which BLIP reads."
        )
    nobody = VocabularyConfig(size=vocabulary, pad=0, cls=0, sep=0)
    return Tokenizer.from_folder(folder, nobody, 2).backend.token_to_id("[DEC]") is not None


def _pictures(folder: Path, image_size: int) -> tuple[PreprocessConfig, str]:
    """Return what is done to a picture, and the sentence that says so."""
    if any((folder / name).is_file() for name in PROCESSOR_FILES):
        return pictures_for(folder, image_size), PIXELS
    square = PreprocessConfig(image_size=image_size)
    return (
        square,
        f"pixels are as its authors' evaluation makes them: {image_size} px square, Pillow's bicubic, CLIP's mean",
    )
