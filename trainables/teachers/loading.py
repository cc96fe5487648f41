"""One door for teachers: a name of the table, a folder in any known format, or a hub id."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from spaces.errors import PluginError, ShapeError, TeacherError
from spaces.paths import user_path
from spaces.plugins import meant, resolve, unknown
from spaces.rules import show
from trainables.datasets.base import Dataset
from trainables.families.base import Blueprint
from trainables.model_folder import is_model_folder
from trainables.signals import QUESTION
from trainables.teachers import LOADERS, OTHER_FORMS, TEACHERS
from trainables.teachers.embedded import folder_teacher
from trainables.teachers.hub import CONFIG, hub_folder
from trainables.teachers.json_file import read_object
from trainables.teachers.naming import TeacherName
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.teachers.weights import PLACES
from trainables.tokenizer import Tokenizer

ORIGINAL, SEVERAL = "original", "several"  # rows of what the authors saved, and of what is made of parts
ORIGINAL_ENDINGS = (".pth", ".pt")  # of a folder's files, the first
TIMM = "timm"  # row of what config of timm names no model type, and beginning of names of its models
LARGEST_UNKNOWN_SHARE = 0.2  # of the words of a data set; above, the teacher reads another language


def load_teacher(name: str) -> Teacher:
    """Return the teacher called `name`.

    Args:
        name: `embedded`, a folder (our export format, Hugging Face or timm), a hub id such as `owner/model`, or a name
            of timm such as `timm/vit_small_patch14_dinov2`, with or without a tag; or several of these, with a temperature or a
            prompt, see `naming`.

    Raises:
        TeacherError: nothing of that name, or files that cannot be used.
        PluginError: a bare word that is neither a folder nor in the table.
    """
    told = TeacherName.parsed(name)
    teacher = _loader(SEVERAL)(name) if told.parts else _one(told.whole)
    if told.image_size and told.image_size != teacher.preprocess.image_size:
        teacher = _sized(teacher, told.image_size)
    if told.temperature is not None:
        teacher.tell_temperature(told.temperature, origin="as its name says")
    if told.prompt:
        teacher.tokenizer = _prompting(teacher, told.prompt)
        note = f"captions go on from {told.prompt!r}, in training, evaluation and exported students; it is not in the loss"
        teacher.files = _another(teacher.files, f"prompt {told.prompt}", note)
    if told.whole != name:
        teacher.files = replace(teacher.files, name=name)
    return teacher


def _another(files: TeacherFiles, change: str, note: str) -> TeacherFiles:
    """Return where a teacher came from that says other things now: it has another fingerprint, and a note tells why."""
    told = hashlib.sha256(f"{files.fingerprint} {change}".encode()).hexdigest()[:16]
    return replace(files, fingerprint=told, notes=(*files.notes, note))


def _sized(teacher: Teacher, side: int) -> Teacher:
    """Return a teacher that is shown pictures of another side; what is known of its quality was measured at its own.

    Raises:
        TeacherError: its family cannot, or its patches do not fill them.
    """
    before, files = teacher.preprocess, teacher.files
    try:
        sized = teacher.plan.at_size(side).architecture
    except ShapeError as error:
        raise TeacherError(f"teacher {files.name}, {error}") from error
    note = f"is shown pictures of {side} px instead of {before.image_size}: its table of positions is interpolated"
    shorter = before.resize and round(before.resize * side / before.image_size)
    made = Teacher(
        lambda: teacher.model.at_size(side),  # read when somebody asks
        teacher.tokenizer,
        replace(before, image_size=side, resize=shorter),
        _another(files, f"image_size {side}", note),
        blueprint=Blueprint(teacher.blueprint.kind, sized),
    )
    made.temperature = teacher.temperature
    return made


def _prompting(teacher: Teacher, prompt: str) -> Tokenizer:
    """Return a teacher's tokenizer with a prompt.

    Raises:
        TeacherError: it has none, or cannot say the prompt.
    """
    if teacher.tokenizer is None:
        raise TeacherError(
            f"teacher {teacher.files.name}, prompt: got {prompt!r}, and this teacher reads no texts. Leave it out."
        )
    try:
        return teacher.tokenizer.prompting(prompt)
    except TeacherError as error:
        raise TeacherError(f"teacher {teacher.files.name}, {error}") from error


def _one(name: str) -> Teacher:
    """Return the teacher that is one model."""
    folder = user_path(name)
    if name in TEACHERS:
        teacher: Teacher = resolve(TEACHERS, name, "teachers").load()
        return teacher
    if folder.is_dir() and is_model_folder(folder):
        return folder_teacher(name, folder)
    if _is_original(folder):
        return _loader(ORIGINAL)(str(folder))
    if folder.is_dir():
        return _loader(_model_type(folder))(str(folder))
    if name.count("/") == 1:
        ours = name.startswith(f"{TIMM}/")  # what it is called on the hub is its loader's business
        return _loader(TIMM if ours else _model_type(hub_folder(name)))(name)
    if "/" in name or folder.exists():
        raise TeacherError(
            f"teacher {name}: is no folder. Give a model folder, a hub id (owner/model), a file of original weights or "
            "'embedded'."
        )
    raise PluginError(
        f"{unknown('teachers', name, TEACHERS)} Or give a model folder, or a hub id (owner/model)."
    )


def _is_original(folder: Path) -> bool:
    """Return whether a file is of original weights, or a folder holds such, and none that `transformers` looks for."""
    if folder.is_file():
        return folder.suffix in ORIGINAL_ENDINGS
    return any(folder.glob(f"*{ORIGINAL_ENDINGS[0]}")) and not any((folder / one).is_file() for one in PLACES)


def _loader(kind: str) -> Callable[[str], Teacher]:
    found: Callable[[str], Teacher] = resolve(LOADERS, kind, "teachers")
    return found


def _model_type(folder: Path) -> str:
    """Return the row of `LOADERS` for a published folder.

    Raises:
        TeacherError: no config, or of a model that no row reads.
    """
    settings = read_object(folder / CONFIG)
    kind = settings.get("model_type")
    if kind in (None, "timm_wrapper") and "architecture" in settings:
        return TIMM
    known = [one for one in LOADERS if one not in OTHER_FORMS]
    if isinstance(kind, str) and kind in known:
        return kind
    another = (
        isinstance(kind, str)
        and any(  # with a number behind, say: a model of its own, no slip
            kind.startswith(one) and not kind[len(one) :][:1].isalpha() for one in known
        )
    )
    guess = meant(kind, known) if isinstance(kind, str) and not another else ""
    raise TeacherError(
        f"{folder / CONFIG}, model_type: got {show(kind)}, which no loader reads.{guess and f' {guess}'} "
        f"Known: {', '.join(known)}. Give such a teacher, a timm model, or a folder that search/export.py wrote."
    )


def check_pairing(
    teacher: Teacher,
    dataset: Dataset,
    captions: Sequence[str],
    *,
    questions: Sequence[str] = (),
    answers: Sequence[str] = (),
    statements: Sequence[str] = (),
) -> None:
    """Refuse a teacher that was trained on another task, or that cannot read the texts.

    Args:
        teacher: the teacher.
        dataset: the data set; its specification is empty where it is bound to no task.
        captions, questions, answers, statements: some of its texts; questions count where the teacher reads any.

    Raises:
        TeacherError: names both fingerprints, or the kinds of texts with their unknown words.
    """
    trained_on = teacher.files.measured.get("data_specification", "")
    if trained_on and dataset.specification and trained_on != dataset.specification:
        again = teacher.files.measured.get("command", "")
        others = ", ".join(name for name in TEACHERS if name != teacher.files.name)
        raise TeacherError(
            f"teacher {teacher.files.name}: was trained on data specification {trained_on}, this data set is "
            f"{dataset.specification}. Give a teacher of this data (with names of their own: {others})"
            + (f", or train it again where the data set has changed: {again}." if again else ".")
        )
    texts = {"captions": captions, "statements": statements}
    if any(offer.rows == QUESTION for offer in teacher.offers.values()):
        texts |= {
            "questions": questions,
            "answers": answers,
        }  # each by itself: many captions would hide a few answers
    told = [] if teacher.tokenizer is None else unread(teacher.tokenizer, texts)
    if told:
        raise TeacherError(
            f"teacher {teacher.files.name}: its tokenizer does not know {', and '.join(told)}; allowed: "
            f"{LARGEST_UNKNOWN_SHARE:.0%}. Give a teacher that reads such text: --teacher with a folder, or owner/model of a "
            "hub; a tokenizer of word pieces can spell every word."
        )


def unread(tokenizer: Tokenizer, texts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return how much of some texts a tokenizer does not know, a clause for each kind of them of which that is not little.

    Args:
        tokenizer: of a teacher.
        texts: what they are, in the plural -> some of them.
    """
    told = []
    for kind, some in texts.items():
        unknown, total, example = tokenizer.unknown_words(list(some))
        if total and unknown / total > LARGEST_UNKNOWN_SHARE:
            told.append(
                f"{unknown / total:.0%} of the words of the {kind} ({unknown:,} of {total:,}, such as {example!r})"
            )
    return told
