"""Sizes of published BLIP teachers without their weights, for a plan."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from tokenizers import Tokenizer as Backend
from tokenizers.models import WordLevel

from spaces.errors import ShapeError, TeacherError
from trainables.families.base import Blueprint
from trainables.preprocess import PreprocessConfig
from trainables.teachers.blip.assembled import KIND, check_part, joined
from trainables.teachers.blip.huggingface_config import ANSWERING, CAPTIONING, RETRIEVAL, sizes_of
from trainables.teachers.naming import TeacherName
from trainables.teachers.outline import NO_WEIGHTS, PLANNED
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.tokenizer import Tokenizer

SPECIAL = {
    "[PAD]": 0,
    "[UNK]": 100,
    "[CLS]": 101,
    "[SEP]": 102,
}  # of bert-base-uncased, whose words BLIP reads
HEADS = 12  # where `BlipTextConfig` assumes 8


def base(kind: str, image_size: int = 384) -> dict[str, Any]:
    """Return the config of a BLIP-base: ViT-B/16 and a BERT-base with cross-attention (Li et al. 2022, section 4.1)."""
    return {
        "model_type": "blip",
        "architectures": [kind],
        "text_config": {"num_attention_heads": HEADS},
        "vision_config": {"image_size": image_size, "layer_norm_eps": 1e-6},
    }


def retrieving() -> dict[str, Any]:
    """Return the config of what was trained for retrieval."""
    return base(RETRIEVAL)


def captioning() -> dict[str, Any]:
    """Return the config of what was trained for captions."""
    return base(CAPTIONING)


def answering() -> dict[str, Any]:
    """Return the config of what was trained for questions."""
    return base(ANSWERING)


def outline(told: TeacherName, path: Path, settings: Mapping[str, Any]) -> Teacher:
    """Return a teacher that knows its sizes, and has no weights.

    Args:
        told: its name, taken apart; of its prompt no size hangs.
        path: of its config, for messages.
        settings: what that says.

    Raises:
        TeacherError: sizes that this program cannot hold exactly.
    """
    name, found = str(told), sizes_of(path, dict(settings))
    side = told.image_size or found.image_size
    if side % found.patch_size:
        raise TeacherError(
            f"teacher {name}: got image_size {side} with patches of {found.patch_size}; allowed: a multiple of it."
        )
    found = replace(found, image_size=side)
    words = found.vocabulary
    ids = replace(words, pad=SPECIAL["[PAD]"], cls=SPECIAL["[CLS]"], sep=SPECIAL["[SEP]"])
    architecture = replace(found, vocabulary=ids)
    backend = Backend(WordLevel(dict(SPECIAL), unk_token="[UNK]"))

    files = TeacherFiles(
        name=name,
        folder=path.parent,
        fingerprint=NO_WEIGHTS,
        measured=PLANNED,
        notes=(
            f"planned from its config alone ({path}); a search needs its weights, and downloads what is not here",
        ),
    )
    return Teacher(
        _unread(name),
        Tokenizer(backend, ids, architecture.max_tokens),
        PreprocessConfig(image_size=architecture.image_size),
        files,
        blueprint=Blueprint("blip", architecture),
    )


def assembled(told: TeacherName, parts: Mapping[str, Teacher]) -> Teacher:
    """Return a teacher of several checkpoints that knows its sizes; the weights of some of them, or of all, are not here.

    Args:
        told: its name, taken apart.
        parts: task -> teacher, of sizes alone or not.

    Raises:
        TeacherError: one is none of BLIP, cannot do its part, or does not fit the others.
    """
    name = str(told)
    for task, one in parts.items():
        check_part(name, task, one)
    try:
        architecture = joined(parts, told.image_size)
    except ShapeError as error:
        raise TeacherError(f"teacher {name}: {error} Give checkpoints that read alike.") from error
    first = parts[architecture.first]
    sizes = architecture.parts[architecture.first]
    assert first.tokenizer is not None  # `check_part` looked
    files = TeacherFiles(
        name=name,
        folder=first.files.folder,
        fingerprint=NO_WEIGHTS,
        measured=PLANNED,
        notes=tuple(dict.fromkeys(note for one in parts.values() for note in one.files.notes)),
    )
    return Teacher(
        _unread(name),
        Tokenizer(first.tokenizer.backend, sizes.vocabulary, sizes.max_tokens),
        replace(first.preprocess, image_size=sizes.image_size),
        files,
        blueprint=Blueprint(KIND, architecture),
    )


def _unread(name: str) -> Callable[[], NoReturn]:
    def read() -> NoReturn:
        raise TeacherError(
            f"teacher {name}: its weights are not here, and a plan reads none. Bring them, then search."
        )

    return read
