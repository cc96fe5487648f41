"""The teacher that comes with the project: a BLIP of 3.3 M parameters, trained on scenes by `pretrain`."""

from pathlib import Path

from trainables.model_folder import read_model_folder
from trainables.teachers.teacher import Teacher, TeacherFiles

FOLDER = Path(__file__).parent / "embedded_weights"


class EmbeddedTeacher:
    """Loads the shipped folder; `python -m trainables.teachers.pretrain` reproduces it."""

    @staticmethod
    def load() -> Teacher:
        """Return the teacher.

        Raises:
            TeacherError: the shipped files are damaged.
        """
        read = read_model_folder(FOLDER)
        files = TeacherFiles(
            name="embedded", folder=FOLDER, fingerprint=read.fingerprint, measured=read.measured
        )
        return Teacher(read.model, read.tokenizer, read.preprocess, files)
