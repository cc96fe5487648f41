"""Writing a student as a folder of plain files, with the part of its teacher that it reads."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spaces.errors import ExportError, TeacherError
from spaces.files import atomic_folder, make_folder, write_text
from trainables.datasets.texts import AS_THEY_ARE, TextForm
from trainables.families.base import Blueprint, Family
from trainables.model_folder import READS, Reading, write_model_folder
from trainables.preprocess import INTERPOLATIONS, PreprocessConfig
from trainables.signals import NOTHING, PICTURE, Want, Wants, classes_meaning, reads_texts
from trainables.teachers.teacher import Teacher
from trainables.tokenizer import Tokenizer

CARD = "README.md"
CANDIDATE = "candidate.json"
PREPROCESSOR = "preprocessor_config.json"
LOGITS = Want("image", "logits")


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What is deployed of a student.

    Attributes:
        blueprint: of the student itself.
        source: the signals of its teacher that it reads, see `costs.subject.source_of`; none of a student that stands alone.
        classes: names of the classes that it tells apart, in the order of its logits; () where it has none.
        texts: how the data read texts that it was trained on.
    """

    blueprint: Blueprint
    source: Wants = NOTHING
    classes: tuple[str, ...] = ()
    texts: TextForm = AS_THEY_ARE


def export_student(
    student: Family,
    teacher: Teacher,
    *,
    deployed: Deployed,
    measured: dict[str, Any],
    out: Path,
    card: str,
) -> Path:
    """Write a student as a folder; it appears whole or not at all.

    Args:
        student: the model.
        teacher: whose tokenizer and preprocessing it was trained with.
        deployed: its sizes, what it reads of the teacher, and its classes.
        measured: figures and origin, JSON-able, kept in config.json; but `job`, what trains the student again, as a file of
            its own that `python -m trainables.worker` takes.
        out: the new folder.
        card: text of its README.md, see `model_card`.

    Returns:
        The folder.

    Raises:
        ExportError: `out` exists and is not empty; the tokenizer's files are gone; the classes are not those of its logits.
        StorageError: it cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out}: exists already; allowed: a new or an empty folder. Give another --out.")
    blueprint, source = deployed.blueprint, deployed.source
    _check_classes(deployed)
    with_texts = any(teacher.offers[want].rows not in ("", PICTURE) for want in source)
    tokenizer = _tokenizer(teacher) if with_texts or reads_texts(blueprint.offers) else None
    reading = Reading(
        preprocess=teacher.preprocess,
        tokenizer=tokenizer,
        folder=teacher.files.folder,
        source=source,
        classes=deployed.classes,
        texts=deployed.texts if tokenizer else AS_THEY_ARE,
    )
    make_folder(out.parent)
    with atomic_folder(out) as draft:
        write_model_folder(
            draft,
            student,
            kind=blueprint.kind,
            reading=reading,
            measured={name: value for name, value in measured.items() if name != "job"},
        )
        if source:
            _write_part(draft / READS, teacher, source)
        if measured.get("job"):
            write_text(draft / CANDIDATE, json.dumps(measured["job"], indent=1) + "\n")
        write_text(draft / PREPROCESSOR, json.dumps(_image_processor(teacher.preprocess), indent=2) + "\n")
        write_text(draft / CARD, card)
    return out


def _write_part(folder: Path, teacher: Teacher, source: Wants) -> None:
    """Write the part of a teacher that says `source` as a model folder; the tokenizer lies with the student."""
    blueprint = teacher.blueprint.deployed(source)
    part, whole = blueprint.build().eval(), teacher.model.state_dict()
    part.load_state_dict({name: whole[name] for name in part.state_dict()})
    write_model_folder(
        folder,
        part,
        kind=blueprint.kind,
        reading=Reading(preprocess=teacher.preprocess, tokenizer=None, folder=teacher.files.folder),
        measured={"part_of": teacher.files.name, "fingerprint": teacher.files.fingerprint},
    )


def _check_classes(deployed: Deployed) -> None:
    """Refuse names that are not those of the classes that a student tells apart: its figures would be of other things."""
    offer = deployed.blueprint.offers.get(LOGITS)
    if offer is None or not deployed.classes:
        return
    if offer.meaning != classes_meaning(deployed.classes) or offer.size("C") != len(deployed.classes):
        raise ExportError(
            f"classes: got {len(deployed.classes)} names ({', '.join(deployed.classes[:3])}, ...), which are not those of the "
            f"{offer.size('C')} classes that this student was trained on; allowed: the same in the same order. Put back the "
            "run's own run.json."
        )


def _tokenizer(teacher: Teacher) -> Tokenizer:
    """Return the teacher's tokenizer, whose files can still be copied."""
    if teacher.tokenizer is None:
        raise ExportError(
            f"teacher {teacher.files.name}: has no tokenizer, and this student reads texts. Give its own teacher."
        )
    try:
        Tokenizer.from_folder(
            teacher.files.folder, teacher.tokenizer.vocabulary, teacher.tokenizer.max_tokens
        )
    except TeacherError as error:
        raise ExportError(str(error)) from error
    return teacher.tokenizer


def _image_processor(preprocess: PreprocessConfig) -> dict[str, Any]:
    """Return the preprocessing as `transformers.AutoImageProcessor` reads it; ViT's does just these steps, CLIP's crops."""
    side, resized = preprocess.image_size, preprocess.resize
    square = {"height": side, "width": side}
    crop = {"do_center_crop": True, "crop_size": square} if resized else {}
    both = {"height": resized or side, "width": resized or side}
    return {
        "image_processor_type": "CLIPImageProcessor" if resized else "ViTImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": resized} if resized and not preprocess.squash else both,
        **crop,
        "resample": INTERPOLATIONS.index(preprocess.interpolation),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }
