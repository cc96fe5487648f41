"""What the config file of a published teacher says: its sections, and values that a model can have."""

from pathlib import Path
from typing import Any

from spaces.errors import TeacherError
from spaces.rules import show
from spaces.values import is_number
from trainables.preprocess import PreprocessConfig
from trainables.teachers.preprocessing import read_preprocess


def section(path: Path, settings: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a section of a config; {} for one that is left out or null.

    Raises:
        TeacherError: it is no object.
    """
    found = settings.get(name) or {}
    if not isinstance(found, dict):
        raise TeacherError(f"{path}, {name}: got a {type(found).__name__}, allowed is one JSON object.")
    return found


def classes_of(settings: dict[str, Any]) -> list[Any]:
    """Return the names of the classes that a config was saved from, as it says them."""
    classes = settings.get("architectures")
    return classes if isinstance(classes, list) else [] if classes is None else [classes]


def natural(path: Path, name: str, got: object, *, what: str = "") -> int:
    """Return a whole number above 0.

    Args:
        path, name: of the file and of the key, for the message.
        got: what stands there.
        what: it is, for the message.

    Raises:
        TeacherError: it is none.
    """
    if not isinstance(got, int) or isinstance(got, bool) or got < 1:
        raise TeacherError(
            f"{path}, {name}: got {show(got)}; allowed: a whole number above 0{what and f', {what}'}."
        )
    return got


def positive(path: Path, name: str, got: object) -> float:
    """Return a number above 0, such as the constant of a norm.

    Raises:
        TeacherError: it is none.
    """
    if not is_number(got) or got <= 0:
        raise TeacherError(f"{path}, {name}: got {show(got)}; allowed: a number above 0.")
    return float(got)


def square_side(path: Path, name: str, got: object) -> int:
    """Return the side of a square that is written as one number or twice.

    Raises:
        TeacherError: it is no square.
    """
    if isinstance(got, list | tuple) and len(got) == 2 and got[0] == got[1]:
        got = got[0]
    return natural(path, name, got, what="the side of a square")


def pictures_for(folder: Path, image_size: int) -> PreprocessConfig:
    """Return what a folder's image processor does to a picture, for a model that sees pictures of one size only.

    Args:
        folder: of the teacher.
        image_size: side of what the model sees.

    Raises:
        TeacherError: as `read_preprocess`; or the two sizes differ.
    """
    found = read_preprocess(folder)
    if found.image_size != image_size:
        raise TeacherError(
            f"{folder}: its image processor makes pictures of side {found.image_size}, config.json says image_size {image_size}; "
            "allowed: the same. Check that the two belong together."
        )
    return found
