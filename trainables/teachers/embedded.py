"""The teacher that comes with the project: 3.3 M parameters, trained on scenes by `teachers.blip.pretrain`."""

from pathlib import Path

from spaces.errors import TeacherError
from trainables.model_folder import read_model_folder
from trainables.teachers.teacher import Teacher, TeacherFiles

FOLDER = Path(__file__).parent / "embedded_weights"


class EmbeddedTeacher:
    """The shipped folder; `python -m trainables.teachers.blip.pretrain` reproduces it."""

    @staticmethod
    def load() -> Teacher:
        """Return the teacher.

        Raises:
            TeacherError: the shipped files are damaged.
        """
        return folder_teacher("embedded", FOLDER)


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
