"""The teachers that come with the project: one of scenes, 3.3 M parameters, trained by `teachers.blip.pretrain`; and of objects.

Those of objects are small models of published classes, which the loader of their class reads like any other.
"""

from dataclasses import replace
from pathlib import Path

from spaces.errors import TeacherError
from spaces.plugins import resolve
from trainables.model_folder import read_model_folder
from trainables.teachers import LOADERS
from trainables.teachers.teacher import Teacher, TeacherFiles

FOLDER = Path(__file__).parent / "embedded_weights"
OF_OBJECTS = Path(__file__).parent / "objects"


class EmbeddedTeacher:
    """The shipped folder; `python -m trainables.teachers.blip.pretrain` reproduces it."""

    @staticmethod
    def load() -> Teacher:
        """Return the teacher.

        Raises:
            TeacherError: the shipped files are damaged.
        """
        return folder_teacher("embedded", FOLDER)


class EmbeddedBeit:
    """A `BeitModel` of objects; `python -m trainables.teachers.objects.pretrain beit` reproduces it."""

    @staticmethod
    def load() -> Teacher:
        """Return the teacher.

        Raises:
            TeacherError: the shipped files are damaged.
        """
        return published_teacher("embedded-beit", OF_OBJECTS / "embedded_beit", "beit")


class EmbeddedClip:
    """A `CLIPModel` of objects; `python -m trainables.teachers.objects.pretrain clip` reproduces it."""

    @staticmethod
    def load() -> Teacher:
        """Return the teacher.

        Raises:
            TeacherError: the shipped files are damaged.
        """
        return published_teacher("embedded-clip", OF_OBJECTS / "embedded_clip", "clip")


class EmbeddedDino:
    """A `ViTModel` of objects; `python -m trainables.teachers.objects.pretrain dino` reproduces it."""

    @staticmethod
    def load() -> Teacher:
        """Return the teacher.

        Raises:
            TeacherError: the shipped files are damaged.
        """
        return published_teacher("embedded-dino", OF_OBJECTS / "embedded_dino", "vit")


def published_teacher(name: str, folder: Path, kind: str) -> Teacher:
    """Return the teacher in a folder that `save_pretrained` wrote, called `name`.

    Args:
        name: of the teacher.
        folder: of its files.
        kind: row of `LOADERS`.

    Raises:
        TeacherError: the folder is damaged.
    """
    teacher: Teacher = resolve(LOADERS, kind, "teachers")(str(folder))
    teacher.files = replace(teacher.files, name=name)
    return teacher


def folder_teacher(name: str, folder: Path) -> Teacher:
    """Return the teacher in a model folder, called `name`.

    Raises:
        TeacherError: the folder is damaged, or holds a head that itself reads a teacher.
    """
    read = read_model_folder(folder)
    if read.source:
        raise TeacherError(
            f"{folder}: is a student that reads {', '.join(sorted(map(str, read.source)))} of its own teacher; allowed: a model "
            "that sees for itself. Give that teacher."
        )
    files = TeacherFiles(name=name, folder=folder, fingerprint=read.fingerprint, measured=read.measured)
    return Teacher(read.model, read.tokenizer, read.preprocess, files, blueprint=read.blueprint)
