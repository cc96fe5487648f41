"""From a candidate's config to the objects that train it."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from spaces.errors import ShapeError
from spaces.paths import user_path
from spaces.plugins import resolve
from trainables.configs import made_config
from trainables.datasets import DATASETS
from trainables.datasets.base import Dataset, Progress
from trainables.datasets.contents import state_of
from trainables.datasets.encoded import EncodedSplit
from trainables.families import FAMILIES
from trainables.families.base import Blueprint, Family, Surroundings
from trainables.families.origin import Begun, Importance, Origin, versions
from trainables.losses import LOSSES
from trainables.losses.base import Ends, Loss, pair_lack, source_lack
from trainables.signals import NOTHING, Offers
from trainables.tasks.base import Task, wants_of
from trainables.teachers.kept import FileStates, open_teacher, state_of_teacher
from trainables.teachers.loading import check_pairing
from trainables.teachers.published import open_published
from trainables.teachers.teacher import Teacher
from trainables.training.step import DistillationStep

TOLD_UNKNOWN = 0.01  # of words; so much every metric of texts loses at most
TOLD_CUT = 0.01  # of texts of which the end is not read; less is told to nobody
PROBED_TEXTS = 2000


def make_dataset(settings: Mapping[str, Any]) -> Dataset:
    """Return the data set of `{"kind": ..., options}`.

    Raises:
        PluginError: unknown kind or option.
        DatasetError: an option out of range, or files that cannot be used.
    """
    options = dict(settings)
    kind = resolve(DATASETS, options.pop("kind", ""), "datasets")
    made: Dataset = kind(made_config(kind.Config, options, "dataset"))
    return made


@lru_cache(maxsize=2)
def _shared_teacher(name: str, device: str, state: FileStates) -> Teacher:
    return open_teacher(name).to(device)


def shared_teacher(name: str, device: str) -> Teacher:
    """Return the teacher, kept for the next trial of this process; opened anew once something was written to its folder.

    Its weights are read when somebody asks for them: a trial with a cache may never do.
    """
    return _shared_teacher(name, device, state_of_teacher(name))


@lru_cache(maxsize=4)
def _shared_dataset(dataset: str, state: tuple[int, ...]) -> Dataset:
    return make_dataset(json.loads(dataset))


def shared_dataset(settings: Mapping[str, Any]) -> Dataset:
    """Return the data set, kept for the next trial of this process; opened anew once a file that it names was touched."""
    return _shared_dataset(json.dumps(dict(settings), sort_keys=True), _state(settings))


def _state(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Return what moves when somebody writes the file that settings name: cheap, where a fingerprint reads all of it.

    () where they name none, or none that can be looked at: whoever opens it says what is wrong.
    """
    with suppress(OSError, TypeError, ValueError):
        place = settings.get("file") or settings.get("root", "")
        several = place if isinstance(place, list | tuple) else [place]
        return tuple(number for one in several for number in state_of(user_path(one)))
    return ()


@lru_cache(maxsize=8)
def _shared_split(teacher: Teacher, dataset: str, fingerprint: str, name: str) -> EncodedSplit:
    return prepare_split(teacher, shared_dataset(json.loads(dataset)), name, lambda line: None)


def shared_split(teacher: str, device: str, dataset: Mapping[str, Any], name: str) -> EncodedSplit:
    """Return a split in the teacher's encoding, kept for the next trial of this process as long as the data is the same."""
    settings = json.dumps(dict(dataset), sort_keys=True)
    return _shared_split(shared_teacher(teacher, device), settings, shared_dataset(dataset).fingerprint, name)


def prepare_split(teacher: Teacher, dataset: Dataset, name: str, progress: Progress) -> EncodedSplit:
    """Return a split in the teacher's encoding, telling the progress of work done for the first time."""
    split = dataset.split(name, framing=teacher.preprocess.framing, progress=progress)
    check_pairing(
        teacher,
        dataset,
        _probed(split.captions),
        questions=_probed(split.questions),
        answers=_probed(split.answers),
        statements=_probed(split.statements.texts),
    )
    for noun, texts in (("captions", split.captions), ("statements", split.statements.texts)):
        cut = teacher.tokenizer.cut_share(_probed(texts)) if teacher.tokenizer else 0.0
        if teacher.tokenizer and cut >= TOLD_CUT:
            progress(
                f"WARNING: of {cut:.0%} of the {noun} of {name} the end is not read: the teacher {teacher.files.name} reads "
                f"{teacher.tokenizer.room} tokens of each. Texts that begin alike are then one and the same; give shorter ones"
            )
    for noun, texts in (("captions", split.captions), ("answers", split.answers)):
        unknown, total, word = (
            teacher.tokenizer.unknown_words(list(_probed(texts))) if teacher.tokenizer else (0, 0, "")
        )
        if total and unknown / total >= TOLD_UNKNOWN:
            progress(
                f"WARNING: {unknown / total:.1%} of the words of the {noun} of {name} are unknown to the teacher "
                f"{teacher.files.name}, such as {word!r}: who is to say one is counted as wrong, and "
                "texts that differ in these alone are one and the same"
            )
    if teacher.tokenizer and teacher.tokenizer.answers:
        cut = teacher.tokenizer.cut_questions_share(_probed(split.questions), _probed(split.answers))
        if cut >= TOLD_CUT:
            progress(
                f"WARNING: of {cut:.0%} of the questions of {name} the beginning, or all, is not read: the teacher "
                f"{teacher.files.name} reads {teacher.tokenizer.max_tokens - 2} tokens of question and answer together. Give "
                "shorter answers"
            )
    return EncodedSplit(split, teacher.tokenizer, teacher.preprocess, classes=dataset.classes)


def _probed(texts: Sequence[str]) -> Sequence[str]:
    """Return some texts of all parts of the data: it may be of several sources, one behind the other."""
    return texts[:: max(1, math.ceil(len(texts) / PROBED_TEXTS))]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A student before it exists.

    Attributes:
        training: what is trained.
        deployed: the part of it that the tasks need; what is counted, measured and exported.
    """

    training: Blueprint
    deployed: Blueprint


def student_options(config: Mapping[str, Any]) -> Any:
    """Return the `Config` of a candidate's student.

    Raises:
        PluginError: an unknown kind or option.
    """
    options = dict(config["student"])
    kind = options.pop("kind")
    return made_config(resolve(FAMILIES, kind, "families").Config, options, "student")


def student_plan(config: Mapping[str, Any], around: Surroundings, tasks: Iterable[Task]) -> Plan:
    """Return what a candidate's student will be.

    Raises:
        ShapeError: sizes that do not fit together.
        PluginError: an unknown student kind or option.
    """
    kind = config["student"]["kind"]
    family: type[Family] = resolve(FAMILIES, kind, "families")
    training = Blueprint(kind, family.draft(student_options(config), around))
    return Plan(training=training, deployed=training.deployed(wants_of(tasks)))


def build_student(
    config: Mapping[str, Any],
    teacher: Teacher,
    seed: int,
    *,
    classes: tuple[str, ...] = (),
    importance: Callable[[], Importance] | None = None,
) -> tuple[Family, Blueprint]:
    """Return the student with its initial weights, and its blueprint; its `begun` says which of them were not drawn.

    Args:
        config: of a candidate.
        teacher: its own.
        seed: of the weights that are drawn.
        classes: those of the data.
        importance: measures the teacher, for students that begin with what matters most of it.

    Raises:
        ShapeError: sizes that do not fit together.
        PluginError: a file of weights that cannot be used.
    """
    blueprint, options = student_plan(config, teacher.around(classes), ()).training, student_options(config)
    parent = teacher.model if blueprint.family.reads_teacher(options) else teacher.plan
    told: dict[str, Any] = {"importance": importance} if importance else {}
    if teacher.tokenizer:
        told["tokens"] = teacher.tokenizer.tokens
    torch.manual_seed(seed)
    model = blueprint.build()
    drawn = versions(model)
    notes = model.begin(Origin(teacher=parent, published=open_published, **told), options)
    changed = {name for name, version in versions(model).items() if version != drawn[name]}
    model.begun = Begun(
        notes=notes,
        loaded=tuple(name for name in drawn if name in changed),
        fresh=tuple(name for name in drawn if name not in changed),
    )
    model.prepare_training(config["training"])
    model.begin_training(options)
    return model, blueprint


def loss_config(name: str, options: Mapping[str, Any]) -> Loss.Config:
    """Return a loss's options.

    Raises:
        PluginError: an unknown loss or option.
    """
    kind = resolve(LOSSES, name, "losses")
    made: Loss.Config = made_config(kind.Config, options, f"losses.{name}")
    return made


def unfed_losses(config: Mapping[str, Any], student: Offers, source: Offers) -> dict[str, str]:
    """Return loss -> why this student cannot feed it, of those losses that the teacher can feed.

    Args:
        config: of a candidate.
        student, source: what both can say.
    """
    found = {name: pair_lack(kind, made, ends) for name, kind, made, ends in _pairs(config, student, source)}
    return {name: reason for name, reason in found.items() if reason is not None}


def untaught_losses(config: Mapping[str, Any], student: Offers, source: Offers) -> dict[str, str]:
    """Return active loss -> why the teacher cannot feed it: `build_losses` refuses it."""
    found = {
        name: source_lack(kind.needs_of(made, ends), ends)
        for name, kind, made, ends in _pairs(config, student, source)
        if made.weight != 0
    }
    return {name: reason for name, reason in found.items() if reason is not None}


def _pairs(
    config: Mapping[str, Any], student: Offers, source: Offers
) -> Iterator[tuple[str, type[Loss], Loss.Config, Ends]]:
    """Yield name, class and options of each loss of a candidate, and between whom it stands."""
    for name, options in config["losses"].items():
        made = loss_config(name, options)
        yield name, resolve(LOSSES, name, "losses"), made, Ends(name=name, student=student, source=source)


def build_losses(
    config: Mapping[str, Any], student: Offers, source: Offers
) -> tuple[dict[str, Loss], dict[str, float]]:
    """Return the active losses and their weights; one that this student cannot feed is left out.

    Raises:
        TeacherError: a loss that this teacher can feed for no student.
        ShapeError: no loss is left.
    """
    losses: dict[str, Loss] = {}
    weights: dict[str, float] = {}
    unfed = unfed_losses(config, student, source)
    for name, options in config["losses"].items():
        made = loss_config(name, options)
        if made.weight == 0 or name in unfed:
            continue
        kind: type[Loss] = resolve(LOSSES, name, "losses")
        losses[name] = kind(made, Ends(name=name, student=student, source=source))
        weights[name] = made.weight
    if not losses:
        raise ShapeError(
            f"losses: this student can feed none of {', '.join(config['losses']) or 'them'}. "
            "Raise the weight of a loss that it can feed, or change the student."
        )
    return losses, weights


def build_step(
    config: Mapping[str, Any],
    teacher: Teacher,
    *,
    seed: int,
    classes: tuple[str, ...] = (),
    importance: Callable[[], Importance] | None = None,
) -> tuple[DistillationStep, Blueprint]:
    """Return student and losses of a candidate as one module, and the student's blueprint; see `build_student`."""
    student, blueprint = build_student(config, teacher, seed, classes=classes, importance=importance)
    losses, weights = build_losses(config, blueprint.offers, teacher.offers)
    step = DistillationStep(student, losses, weights=weights, blind=bool(config.get("blind", False)))
    step.hidden = teacher.pictured(step.student_source) if step.blind else NOTHING
    return step, blueprint
