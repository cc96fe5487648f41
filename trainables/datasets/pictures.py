"""A picture as the square of pixels that the models see, up to normalisation."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

# What Pillow raises for data that is no picture, or is cut off or damaged.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def square(picture: Image.Image, side: int) -> np.ndarray:
    """Return (side, side, 3) uint8: RGB, resized without regard to its proportions, bicubic."""
    resized = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.uint8)


def read_square(path: Path, side: int) -> np.ndarray:
    """Return (side, side, 3) uint8 of a file.

    Raises:
        OSError, SyntaxError, ValueError: one of `BROKEN`.
    """
    with Image.open(path) as picture:
        return square(picture, side)


def check_header(path: Path) -> None:
    """Read as much of a file as tells that it is a picture.

    Raises:
        OSError, SyntaxError, ValueError: one of `BROKEN`.
    """
    with Image.open(path):
        pass
