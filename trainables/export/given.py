"""What a caller gives to a student, pictures and texts: brought into the form of training, or refused by name."""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from spaces.errors import ExportError
from spaces.rules import show
from trainables.datasets.pictures import square
from trainables.preprocess import Framing

Picture = Image.Image | np.ndarray
Pictures = Sequence[Picture] | np.ndarray
"""Pictures as PIL images of any mode, seen as in training, or uint8 arrays (H, W, 3), or one array (N, H, W, 3)."""


def pictures(images: Pictures | Iterable[Picture]) -> list[Picture]:
    """Return pictures as a list; what gives them one by one is read to its end.

    Raises:
        ExportError: it is one picture, or nothing that holds any.
    """
    if isinstance(images, Image.Image):
        raise ExportError("images: got one picture; allowed: a list of them. Write [picture].")
    if not isinstance(images, Iterable):
        raise ExportError(
            f"images: got {show(images)} ({type(images).__name__}); allowed: a list of pictures. Give one."
        )
    return list(images)


def texts(given: Sequence[str] | Iterable[str]) -> list[str]:
    """Return texts as a list; what gives them one by one, such as a file, is read to its end.

    Raises:
        ExportError: it is one text, which is a sequence of letters, or holds something else.
    """
    found = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    wrong = [one for one in found if not isinstance(one, str)] or (found if isinstance(given, str) else [])
    if wrong:
        raise ExportError(
            f"texts: got {show(wrong[0])}; allowed: a list of texts, such as ['a dog']. Give one."
        )
    return found


def pairs(method: str, images: Pictures, words: Sequence[str]) -> tuple[list[Picture], list[str]]:
    """Return pictures and texts, one of each for each.

    Raises:
        ExportError: they are no lists of such, or of different lengths.
    """
    found, told = pictures(images), texts(words)
    if len(found) != len(told):
        raise ExportError(
            f"{method}: got {len(found)} images and {len(told)} texts; allowed: one text per image."
        )
    return found, told


def squares(images: Pictures, framing: Framing) -> np.ndarray:
    """Return (N, S, S, 3) uint8, the pixels that training would see.

    Raises:
        ExportError: one is no picture, or its file is broken.
    """
    found = [_square(number, image, framing) for number, image in enumerate(pictures(images))]
    return np.stack(found) if found else np.zeros((0, framing.side, framing.side, 3), dtype=np.uint8)


def _square(number: int, image: Picture, framing: Framing) -> np.ndarray:
    try:
        return square(_picture(image), framing)
    except ExportError:
        raise
    except Exception as error:  # Pillow reads a file only now, and raises whatever its format leads to
        name = getattr(image, "filename", "") or ""
        place = f"image {number}{f' ({name})' if name else ''}"
        raise ExportError(f"{place}: cannot be used ({error or type(error).__name__}).") from error


def _picture(image: Picture) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return Image.fromarray(image)
    got = (
        f"{image.dtype} array of shape {image.shape}"
        if isinstance(image, np.ndarray)
        else type(image).__name__
    )
    raise ExportError(f"image: got {got}; allowed: PIL images or uint8 arrays of shape (height, width, 3).")
