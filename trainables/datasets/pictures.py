"""A picture as the square of pixels that the models see, up to normalisation. Training and exported students share it.

| mode of the file | what is seen |
|---|---|
| 1, L, P, RGB, CMYK, YCbCr, LAB, HSV | as Pillow converts it to RGB |
| LA, RGBA, PA and the like, a transparent colour or palette | composited on white |
| I;16 and its byte orders | white is 65,535, or what the bits of a TIFF say (4,095 with 12) |
| F (floats) | white is 1; a value outside of 0 to 1 is refused |
| I (32 bit integers) | white is 65,535 in PNG and PGM; others say no white and are refused |

No rule looks at one picture's values to choose its scale: two pictures of one data set could come out differently then.
"""

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from spaces.errors import DatasetError
from trainables.preprocess import INTERPOLATIONS, Framing

VERSION = 2  # raise it whenever a change here changes a pixel; it is part of every fingerprint of pictures
LARGE = 16_000_000  # pixels; larger pictures are decoded one at a time, so that memory stays bounded
NARROWEST = 200  # times the short side, where that is resized: a line would fill the memory

_one_large = threading.Lock()
_ORIENTATION = 0x0112  # of EXIF
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ROUNDING = 1e-5  # by which a float may lie outside of 0 to 1


def square(picture: Image.Image, framing: Framing) -> np.ndarray:
    """Return (side, side, 3) uint8: upright RGB on white, framed as the model wants it.

    Raises:
        Exception: see `seen`.
    """
    return np.asarray(_framed(seen(picture), framing), dtype=np.uint8)


def seen(picture: Image.Image) -> Image.Image:
    """Return what is seen of a picture: upright RGB on white.

    Of several frames the current one is taken: the first, where none was chosen.

    Raises:
        DatasetError: it is a program, it has no pixels, or they do not say which value is white.
        Exception: whatever Pillow raises for data that is broken or cut off; it is not bound to some types.
    """
    if picture.format == "EPS":  # Pillow would hand it to Ghostscript, whoever wrote it
        raise DatasetError("an EPS file is a program, which is not run. Save it as PNG")
    key = _transparent(picture)  # before it is loaded: then nothing tells any more how many bits the file has
    picture.load()
    if not (picture.width and picture.height):
        raise DatasetError(f"a picture of {picture.width} x {picture.height} has no pixels. Give another")
    turn = _turn(picture)
    flat = _on_white(picture, key)
    return flat if turn is None else flat.transpose(turn)


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """Return how a picture is turned upright; None where it is, or where nobody can read what its file says of that."""
    try:
        return _UPRIGHT.get(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow raises whatever torn EXIF leads it to, and the pixels are sound
        return None


def whole(picture: Image.Image) -> None:
    """Read a picture to its end, to know that it can be read; a JPEG at an eighth of its size, which costs least.

    Raises:
        Exception: see `seen`.
    """
    large = picture.width * picture.height > LARGE
    with _one_large if large else nullcontext():
        if picture.format == "JPEG":  # all of its data is read nevertheless
            picture.draft(picture.mode, (1, 1))
        seen(picture)


def _framed(picture: Image.Image, framing: Framing) -> Image.Image:
    """Return the square of a picture."""
    side, resample = framing.side, Image.Resampling(INTERPOLATIONS.index(framing.interpolation))
    if framing.resize is None:
        return picture.resize((side, side), resample)
    short = min(picture.size)
    width, height = (
        framing.resize if framing.squash else framing.resize * one // short for one in picture.size
    )
    if not framing.squash:
        refuse_line(picture)
    left, top = framing.start(width), framing.start(height)
    return picture.resize((width, height), resample).crop((left, top, left + side, top + side))


def refuse_line(picture: Image.Image) -> None:
    """Refuse a picture of which a square could only be cut out of a very much larger one.

    Raises:
        DatasetError: says so.
    """
    if max(picture.size) > NARROWEST * min(picture.size):
        raise DatasetError(
            f"a picture of {picture.width} x {picture.height} is a line; allowed: one side up to {NARROWEST} times the other. "
            "Crop it"
        )


def read_square(path: Path | BinaryIO, framing: Framing) -> np.ndarray:
    """Return (side, side, 3) uint8 of a file, or of the bytes of one.

    Raises:
        DatasetError: its values do not say which of them is white.
        Exception: see `square`.
    """
    with Image.open(path) as picture:
        large = picture.width * picture.height > LARGE
        with _one_large if large else nullcontext():
            return square(picture, framing)


def check_header(path: Path) -> None:
    """Read as much of a file as tells that it is a picture.

    Raises:
        Exception: see `square`.
    """
    with Image.open(path):
        pass


def _transparent(picture: Image.Image) -> Any:
    """Return the transparent colour as the decoded pixels have it, or None.

    Pillow 13 leaves that of a PNG as it stands in the file, and compares it with pixels of 8 bits.
    """
    key = picture.info.get("transparency")
    tile = getattr(picture, "tile", None)
    raw = tile[0][3] if tile else None
    if raw in ("L;2", "L;4") and isinstance(key, int):
        return key * (85 if raw == "L;2" else 17)
    if raw == "RGB;16B" and isinstance(key, tuple):
        return tuple(value >> 8 for value in key)
    return key


def _on_white(picture: Image.Image, key: Any) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        return _scaled(picture, key).convert("RGB")
    if picture.mode == "La":  # Pillow takes it to LA only
        picture = picture.convert("LA")
    if not (key is not None or picture.has_transparency_data):
        return picture.convert("RGB")
    if key is not None and key != picture.info.get("transparency"):
        picture = picture.copy()
        picture.info["transparency"] = key
    seen = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")


def _scaled(picture: Image.Image, key: Any) -> Image.Image:
    """Return a picture of one channel with more than 8 bits as grey of 8 bits."""
    values = np.asarray(picture)
    if picture.mode == "F":
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # NaN, too
            raise DatasetError(
                f"mode F holds floats from {low:g} to {high:g}; allowed: 0 (black) to 1 (white). "
                "Save it so, or with 8 or 16 bits"
            )
        grey = np.rint(np.clip(values, 0, 1).astype(np.float64) * 255).astype(np.uint8)
    else:
        white = _white(picture, values)
        grey = ((values.astype(np.int64) * 255 + white // 2) // white).astype(np.uint8)
    tags = getattr(picture, "tag_v2", {})
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow 13 turns 8 bits only
        grey = 255 - grey
    if isinstance(key, int):
        grey = np.where(values == key, np.uint8(255), grey)
    return Image.fromarray(grey)


def _white(picture: Image.Image, values: np.ndarray) -> int:
    """Return which value of a picture of integers is white, as its format says.

    Raises:
        DatasetError: it does not say so, or a value lies beyond.
    """
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    white = 65535
    if picture.mode == "I":
        told = picture.format in ("PNG", "PPM")  # Pillow's readers scale to 16 bits there
    else:
        told = picture.format != "FITS"  # its 16 bits are signed, with an offset that Pillow does not read
        bits = getattr(picture, "tag_v2", {}).get(_BITS, (16,))
        white = 2 ** int(bits[0] if isinstance(bits, tuple) else bits) - 1
    if not told:
        raise DatasetError(
            f"mode {picture.mode} of {picture.format or 'a picture in memory'} holds integers from {low} to {high} and "
            "does not say which is white. Save it with 8 or 16 bits unsigned (PNG, TIFF), or as floats from 0 to 1"
        )
    if low < 0 or high > white:
        raise DatasetError(
            f"mode {picture.mode} holds integers from {low} to {high}; allowed: 0 (black) to {white} (white). "
            "Save it so, or with 8 bits"
        )
    return white
