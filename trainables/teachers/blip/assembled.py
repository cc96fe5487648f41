"""One teacher of several checkpoints of this family, each of which says what it was trained for."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import torch

from spaces.errors import TeacherError
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.assembled import MODES, RETRIEVAL, Assembled, AssembledArchitecture
from trainables.families.blip.model import Blip
from trainables.families.blip.positions import interpolated
from trainables.signals import Want
from trainables.teachers.loading import load_teacher
from trainables.teachers.naming import TeacherName
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.tokenizer import Tokenizer

NEEDED = {
    "retrieval": Want("text", "embedding"),
    "captioning": Want("decoder", "logits"),
    "vqa": Want("answer", "logits"),
}
KIND = "blip_assembled"


def load_assembled(name: str) -> Teacher:
    """Return the teacher of `retrieval=NAME,captioning=NAME,vqa=NAME`, one or more of them.

    Pictures are those of the first part: the tables of positions of others that were trained at another size are interpolated,
    as BLIP does between its resolutions. A temperature in the name is left to the caller.

    Raises:
        TeacherError: a checkpoint that is none of BLIP, cannot do its part, or reads other texts or pixels than the first.
    """
    told = TeacherName.parsed(name)
    loaded = {task: load_teacher(place) for task, place in told.parts.items()}
    for task, one in loaded.items():
        check_part(name, task, one)
    first, *others = loaded
    base = loaded[first]
    for task in others:
        _check_reads_alike(name, first, base, task, loaded[task])
    architecture = joined(loaded)
    shape = architecture.parts[first]
    side, tokens = shape.image_size, shape.max_tokens
    with torch.device("meta"):
        model = Assembled(architecture)
    for task, one in loaded.items():
        model.parts[task] = _resized(one.model, architecture.parts[task])
    notes = [
        f"{task}={place} says {', '.join(_said(architecture, task))}" for task, place in told.parts.items()
    ]
    notes += [
        f"{task} was trained on pictures of {_architecture(one).image_size} px and gets those of {first}, {side} px: its table "
        "of positions is interpolated, as BLIP does"
        for task, one in loaded.items()
        if _architecture(one).image_size != side
    ]
    shared = dict.fromkeys(note for one in loaded.values() for note in one.files.notes)
    printed = "+".join(f"{task} {one.files.fingerprint} {side} {tokens}" for task, one in loaded.items())
    files = TeacherFiles(
        name=name,
        folder=base.files.folder,
        fingerprint=hashlib.sha256(printed.encode()).hexdigest()[:16],
        notes=(*notes, *shared),
    )
    tokenizer = base.tokenizer
    assert tokenizer is not None  # `check_part` looked
    shorter = Tokenizer(tokenizer.backend, tokenizer.vocabulary, tokens)
    made = Teacher(model, shorter, base.preprocess, files, blueprint=Blueprint(KIND, architecture))
    if RETRIEVAL in loaded:
        made.temperature = loaded[RETRIEVAL].temperature
    return made


def joined(parts: Mapping[str, Teacher], side: int = 0) -> AssembledArchitecture:
    """Return the sizes of several checkpoints together.

    Args:
        parts: task -> teacher.
        side: of the pictures; 0 for those of the first part.

    Raises:
        TeacherError: the patches of one do not fill the pictures.
        ShapeError: their vocabularies differ.
    """
    tokens = min(_architecture(one).max_tokens for one in parts.values())
    side = side or next(iter(parts.values())).preprocess.image_size
    return AssembledArchitecture(
        parts={task: _shared(_architecture(one), side, tokens) for task, one in parts.items()}
    )


def check_part(name: str, task: str, teacher: Teacher) -> None:
    """Refuse a checkpoint for a part of a teacher.

    Raises:
        TeacherError: it is none of BLIP, or cannot do it.
    """
    place = teacher.files.name
    where = f"teacher {name}: {task}={place}"
    if teacher.blueprint.kind != "blip" or teacher.tokenizer is None:
        raise TeacherError(
            f"{where}: is a teacher of kind {teacher.blueprint.kind!r}; allowed: checkpoints of BLIP. Give it alone as --teacher "
            f"{place}, or another one."
        )
    if NEEDED[task] not in teacher.offers:
        can = ", ".join(one for one, want in NEEDED.items() if want in teacher.offers) or "none of the three"
        raise TeacherError(
            f"{where}: has no {NEEDED[task]}, which {task} needs; it can do {can}. Give a checkpoint that was trained for {task}."
        )


def _check_reads_alike(name: str, first: str, base: Teacher, task: str, other: Teacher) -> None:
    """Refuse a part that would read the same batch as other texts or pixels.

    Raises:
        TeacherError: says what differs.
    """
    assert base.tokenizer is not None  # `check_part` looked
    assert other.tokenizer is not None
    mine, theirs = base.tokenizer, other.tokenizer
    words = mine.backend.get_vocab(), theirs.backend.get_vocab()
    if mine.vocabulary != theirs.vocabulary or words[0] != words[1]:
        differ = [word for word, number in words[0].items() if words[1].get(word) != number]
        example = f", such as {min(differ)!r}" if differ else ""
        raise TeacherError(
            f"teacher {name}: {task} reads texts as other tokens than {first} ({len(words[1]):,} and {len(words[0]):,} of them"
            f"{example}); allowed: one vocabulary for all parts. Give checkpoints of one tokenizer."
        )
    resized = replace(other.preprocess, image_size=base.preprocess.image_size)
    if resized != base.preprocess:
        raise TeacherError(
            f"teacher {name}: {task} normalises or resizes pictures otherwise than {first} ({resized.to_dict()} and "
            f"{base.preprocess.to_dict()}); allowed: the same but for the size. Give checkpoints of one image processor."
        )


def _architecture(teacher: Teacher) -> BlipArchitecture:
    found: BlipArchitecture = teacher.blueprint.architecture
    return found


def _said(architecture: AssembledArchitecture, task: str) -> list[str]:
    """Return the modes that a part says, for the user."""
    modes = sorted(MODES[task] & {want.mode for want in Assembled.offers(architecture)})
    return [*(["image"] if task == architecture.first else []), *modes]


def _shared(part: BlipArchitecture, side: int, tokens: int) -> BlipArchitecture:
    """Return a part for pictures of another side and texts of another length; its table of positions stays whole.

    Raises:
        TeacherError: its patches do not fill such pictures.
    """
    if side % part.patch_size:
        raise TeacherError(
            f"pictures of {side} px: are no multiple of a part's patch of {part.patch_size}; allowed: checkpoints whose patches "
            "fill the pictures of the first one."
        )
    rows = part.positions or part.max_tokens
    return replace(part, image_size=side, max_tokens=tokens, positions=rows if rows != tokens else 0)


def _resized(model: object, part: BlipArchitecture) -> Blip:
    """Return the model with the weights of another, its table of picture positions interpolated where the sizes differ."""
    assert isinstance(model, Blip)
    weights = dict(model.state_dict())
    key = "image_encoder.vit.pos_embed"
    weights[key] = interpolated(weights[key], part.grid)
    made = Blip(part)
    made.load_state_dict(weights, assign=True)
    return made.eval()
