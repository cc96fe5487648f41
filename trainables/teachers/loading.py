"""One door for teachers: a name of the table, a folder in either format, or a hub id."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from spaces.errors import PluginError, TeacherError
from spaces.paths import user_path
from spaces.plugins import resolve, unknown
from trainables.datasets.base import Dataset
from trainables.model_folder import is_model_folder
from trainables.signals import QUESTION
from trainables.teachers import FIRST, LOADERS, TEACHERS
from trainables.teachers.embedded import folder_teacher
from trainables.teachers.teacher import Teacher

LARGEST_UNKNOWN_SHARE = 0.2  # of the words of a data set; above, the teacher reads another language


def load_teacher(name: str) -> Teacher:
    """Return the teacher called `name`.

    Args:
        name: `embedded`, a folder (our export format or Hugging Face), or a hub id such as `owner/model`.

    Raises:
        TeacherError: nothing of that name, or files that cannot be used.
        PluginError: a bare word that is neither a folder nor in the table.
    """
    folder = user_path(name)
    if name in TEACHERS:
        teacher: Teacher = resolve(TEACHERS, name, "teachers").load()
        return teacher
    if folder.is_dir() and is_model_folder(folder):
        return folder_teacher(name, folder)
    if folder.is_dir() or name.count("/") == 1:
        load: Callable[[str], Teacher] = resolve(LOADERS, _model_type(folder), "teachers")
        return load(str(folder) if folder.is_dir() else name)
    if "/" in name or folder.exists():
        raise TeacherError(
            f"teacher {name}: is no folder. Give a model folder, a hub id (owner/model) or 'embedded'."
        )
    raise PluginError(
        f"{unknown('teachers', name, TEACHERS)} Or give a model folder, or a hub id (owner/model)."
    )


def _model_type(folder: Path) -> str:
    """Return the row of `LOADERS` for a Hugging Face folder; the first loader names what it cannot hold.

    Files of a hub id are not here yet, and whether they can be fetched is the loader's business.
    """
    try:
        kind = str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, LookupError, TypeError):  # told by the loader, with its remedy
        kind = FIRST
    return kind if kind in LOADERS else FIRST


def check_pairing(
    teacher: Teacher,
    dataset: Dataset,
    captions: Sequence[str],
    *,
    questions: Sequence[str] = (),
    answers: Sequence[str] = (),
) -> None:
    """Refuse a teacher that was trained on another task, or that cannot read the texts.

    Args:
        teacher: the teacher.
        dataset: the data set; its specification is empty where it is bound to no task.
        captions, questions, answers: some of its texts; questions count where the teacher reads any.

    Raises:
        TeacherError: names both fingerprints, or the kinds of texts with their unknown words.
    """
    trained_on = teacher.files.measured.get("data_specification", "")
    if trained_on and dataset.specification and trained_on != dataset.specification:
        raise TeacherError(
            f"teacher {teacher.files.name}: was trained on data specification {trained_on}, this data set is "
            f"{dataset.specification}. Train it again: python -m trainables.teachers.blip.pretrain --out DIR."
        )
    texts = {"captions": captions}
    if any(offer.rows == QUESTION for offer in teacher.offers.values()):
        texts |= {
            "questions": questions,
            "answers": answers,
        }  # each by itself: many captions would hide a few answers
    told = [text for kind, some in texts.items() if (text := _unread(teacher, kind, some))]
    if told:
        raise TeacherError(
            f"teacher {teacher.files.name}: its tokenizer does not know {', and '.join(told)}; allowed: "
            f"{LARGEST_UNKNOWN_SHARE:.0%}. Give a teacher that reads such text: --teacher with a folder, or owner/model of a "
            "hub; a tokenizer of word pieces can spell every word."
        )


def _unread(teacher: Teacher, kind: str, texts: Sequence[str]) -> str:
    """Return how much of some texts a teacher cannot read, "" where that is little."""
    if not texts or teacher.tokenizer is None:
        return ""
    unknown, total, example = teacher.tokenizer.unknown_words(list(texts))
    if not total or unknown / total <= LARGEST_UNKNOWN_SHARE:
        return ""
    return f"{unknown / total:.0%} of the words of the {kind} ({unknown:,} of {total:,}, such as {example!r})"
