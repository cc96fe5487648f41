"""The embedded teacher of objects that is of this family."""

from pathlib import Path

from trainables.teachers.embedded import folder_teacher
from trainables.teachers.teacher import Teacher

FOLDER = Path(__file__).parent / "embedded_objects"


class EmbeddedBlip:
    """A model of objects with a decoder; `python -m trainables.teachers.blip.pretrain_objects` reproduces it."""

    @staticmethod
    def load() -> Teacher:
        """Return the teacher.

        Raises:
            TeacherError: the shipped files are damaged.
        """
        return folder_teacher("embedded-blip", FOLDER)
