"""From a candidate's config to the objects that train it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from spaces.errors import PluginError, ShapeError
from spaces.plugins import resolve
from trainables.datasets import DATASETS
from trainables.datasets.base import Dataset, Progress
from trainables.datasets.encoded import EncodedSplit
from trainables.losses import LOSSES
from trainables.losses.base import Loss
from trainables.models import MODELS
from trainables.models.blip import Blip
from trainables.models.config import BlipConfig, EncoderConfig, fusion_positions
from trainables.models.inherit import inherit_image, inherit_text
from trainables.step import DistillationStep
from trainables.teachers.loading import check_pairing, load_teacher
from trainables.teachers.teacher import Teacher

INITS = ("random", "inherit")


def make_dataset(settings: Mapping[str, Any]) -> Dataset:
    """Return the data set of `{"kind": ..., options}`.

    Raises:
        PluginError: unknown kind or option.
        DatasetError: an option out of range, or files that cannot be used.
    """
    options = dict(settings)
    kind = resolve(DATASETS, options.pop("kind", ""), "datasets")
    try:
        config = kind.Config(**options)
    except TypeError as error:
        raise PluginError(f"dataset {settings['kind']}: {error}.") from error
    made: Dataset = kind(config)
    return made


@lru_cache(maxsize=2)
def shared_teacher(name: str, device: str) -> Teacher:
    """Return the teacher, kept for the next trial of this process."""
    teacher = load_teacher(name)
    teacher.model.to(device)
    return teacher


@lru_cache(maxsize=8)
def _shared_split(teacher: str, device: str, dataset: str, name: str) -> EncodedSplit:
    made = make_dataset(json.loads(dataset))
    owner = shared_teacher(teacher, device)
    split = made.split(name, image_size=owner.config.image_size, progress=lambda line: None)
    check_pairing(owner, made, split.captions[:2000])
    return EncodedSplit(split, owner.tokenizer, owner.preprocess)


def shared_split(teacher: str, device: str, dataset: Mapping[str, Any], name: str) -> EncodedSplit:
    """Return a split in the teacher's encoding, kept for the next trial of this process."""
    return _shared_split(teacher, device, json.dumps(dict(dataset), sort_keys=True), name)


def prepare_split(teacher: Teacher, dataset: Dataset, name: str, progress: Progress) -> EncodedSplit:
    """Return a split in the teacher's encoding, telling the progress of work done for the first time."""
    split = dataset.split(name, image_size=teacher.config.image_size, progress=progress)
    check_pairing(teacher, dataset, split.captions[:2000])
    return EncodedSplit(split, teacher.tokenizer, teacher.preprocess)


def student_config(config: Mapping[str, Any], teacher: BlipConfig) -> BlipConfig:
    """Return the student's sizes: the candidate's widths, depths and fusion; all else as the teacher has it.

    Raises:
        ShapeError: sizes that do not fit together.
        PluginError: an unknown student kind.
    """
    student = config["student"]
    resolve(MODELS, student["kind"], "models")
    fusion = student["fusion"]
    depth = int(student["text"]["depth"])
    sizes = {
        side: EncoderConfig(**{k: student[side][k] for k in ("width", "depth", "heads", "mlp_ratio")})
        for side in ("image", "text")
    }
    return replace(
        teacher,
        image=sizes["image"],
        text=sizes["text"],
        fusion=fusion_positions(depth, int(fusion["layers"]), fusion.get("placement", "last")),
        embedding=int(student["embedding"]),
        decoder=teacher.decoder,
    )


def build_student(config: Mapping[str, Any], teacher: Teacher, seed: int) -> Blip:
    """Return the student with its initial weights.

    Raises:
        ShapeError: sizes that do not fit together.
    """
    torch.manual_seed(seed)
    family: type[Blip] = resolve(MODELS, config["student"]["kind"], "models")
    model = family(student_config(config, teacher.config))
    if config["student"]["image"]["init"] == "inherit":
        inherit_image(model, teacher.model)
    if config["student"]["text"]["init"] == "inherit":
        inherit_text(model, teacher.model)
    return model


def loss_config(name: str, options: Mapping[str, Any]) -> Loss.Config:
    """Return a loss's options.

    Raises:
        PluginError: an unknown loss or option.
    """
    kind = resolve(LOSSES, name, "losses")
    try:
        return kind.Config(**options)
    except (TypeError, PluginError) as error:
        raise PluginError(f"losses.{name}: {str(error).rstrip('.')}.") from error


def build_losses(
    config: Mapping[str, Any], student: BlipConfig, teacher: BlipConfig
) -> tuple[dict[str, Loss], dict[str, float]]:
    """Return the active losses and their weights; one that a dual encoder cannot feed is left out.

    Raises:
        TeacherError: a loss that this teacher can feed for no student.
        ShapeError: no loss is left.
    """
    losses: dict[str, Loss] = {}
    weights: dict[str, float] = {}
    for name, options in config["losses"].items():
        made = loss_config(name, options)
        if made.weight == 0:
            continue
        kind: type[Loss] = resolve(LOSSES, name, "losses")
        if (
            kind.unfeedable_by_teacher(made, teacher) is None
            and kind.feedable(made, student, teacher) is not None
        ):
            continue
        losses[name] = kind(made, student, teacher)
        weights[name] = made.weight
    if not losses:
        raise ShapeError(
            f"losses: this student can feed none of {', '.join(config['losses']) or 'them'}. "
            "Give it fusion layers, or a loss that needs none (itc)."
        )
    return losses, weights


def build_step(config: Mapping[str, Any], teacher: Teacher, *, seed: int) -> DistillationStep:
    """Return student and losses of a candidate as one module."""
    student = build_student(config, teacher, seed)
    losses, weights = build_losses(config, student.config, teacher.config)
    return DistillationStep(
        student,
        losses,
        weights=weights,
        negatives=config["training"].get("itm_negatives", "teacher"),
        blind=bool(config.get("blind", False)),
    )
