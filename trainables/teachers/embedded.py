"""The teachers that come with the project: one of scenes, 3.3 M parameters, trained by `teachers.blip.pretrain`; and of objects.

Those of objects are small models of published classes, which the loader of their class reads like any other.
"""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

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


class OfObjects:
    """A model of a published class; `python -m trainables.teachers.objects.pretrain` reproduces it.

    Attributes:
        name: of the teacher; its folder is called so, too.
        kind: row of `LOADERS`.
    """

    name: ClassVar[str]
    kind: ClassVar[str]

    @classmethod
    def load(cls) -> Teacher:
        """Return the teacher.

        Raises:
            TeacherError: the shipped files are damaged.
        """
        folder = OF_OBJECTS / cls.name.replace("-", "_")
        teacher: Teacher = resolve(LOADERS, cls.kind, "teachers")(str(folder))
        teacher.files = replace(teacher.files, name=cls.name)
        return teacher


class EmbeddedBeit(OfObjects):
    """A `BeitModel` of objects."""

    name, kind = "embedded-beit", "beit"


class EmbeddedClip(OfObjects):
    """A `CLIPModel` of objects."""

    name, kind = "embedded-clip", "clip"


class EmbeddedDino(OfObjects):
    """A `ViTModel` of objects."""

    name, kind = "embedded-dino", "vit"


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
