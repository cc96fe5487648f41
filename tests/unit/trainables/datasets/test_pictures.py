"""What is seen of a picture in every mode and format, worked by hand; the same in training and in an exported student."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from spaces.errors import DatasetError
from trainables.datasets.pictures import read_square, square
from trainables.preprocess import Framing

Pixels = list[list[int]]
ORIENTATION = 0x0112


def seen(picture: Image.Image) -> Pixels:
    """Return the pixels of a picture row by row; it is a square and keeps its size."""
    found: Pixels = square(picture, Framing(picture.width)).reshape(-1, 3).tolist()
    return found


def grey(*values: int) -> Pixels:
    return [[value] * 3 for value in values]


def opened(picture: Image.Image, form: str, **options: Any) -> Image.Image:
    """Return a picture as its file is opened."""
    file = io.BytesIO()
    picture.save(file, form, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def of(mode: str, values: list[Any], side: int = 2) -> Image.Image:
    """Return a picture of the values of its pixels."""
    picture = Image.new(mode, (side, side))
    picture.putdata(values)
    return picture


def png(bits: int, color: int, rows: list[bytes], *, width: int, transparent: bytes) -> Image.Image:
    """Return a PNG of `len(rows)` rows with a transparent colour, byte by byte, as Pillow would not write it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), bits, color, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"tRNS", transparent) + body + chunk(b"IEND", b"")
    return Image.open(io.BytesIO(data))


SIXTEEN = np.array([[0, 257], [32896, 65535]], np.uint16)  # 0, 1, 128 and 255 times 257


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG2000"])
def test_16_bits_of_grey_are_scaled_by_their_range(form: str) -> None:
    picture = opened(Image.fromarray(SIXTEEN), form)
    assert picture.mode.startswith("I;16")
    assert seen(picture) == grey(0, 1, 128, 255)


@pytest.mark.parametrize("order", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_the_order_of_bytes_does_not_matter(order: str) -> None:
    stored = SIXTEEN.astype(">u2" if order == "I;16B" else "<u2").tobytes()
    picture = Image.frombytes(order, (2, 2), stored)
    assert seen(picture) == grey(0, 1, 128, 255)


def test_a_dark_picture_of_16_bits_stays_dark() -> None:
    assert seen(Image.fromarray(np.array([[0, 100], [200, 255]], np.uint16))) == grey(0, 0, 1, 1)


def test_grey_that_is_rounded_goes_to_the_nearest_level() -> None:
    # 128.5 * 257 = 33024.5: below it lies 128, above it 129
    assert seen(Image.fromarray(np.array([[33024, 33025], [128, 129]], np.uint16))) == grey(128, 129, 0, 1)


def test_16_bits_of_a_pgm_are_scaled_too() -> None:
    data = b"P5 2 2 1000\n" + struct.pack(">4H", 0, 500, 1000, 250)
    picture = Image.open(io.BytesIO(data))
    assert picture.mode == "I"
    # 500 of 1000 is half of the range, 250 a quarter
    assert seen(picture) == grey(0, 128, 255, 64)


def tiff(values: bytes, *, bits: int, form: int = 1, photometric: int = 1) -> Image.Image:
    """Return a TIFF of 2 x 2 pixels of one channel, byte by byte.

    Args:
        values: little-endian, uncompressed.
        bits: per pixel.
        form: 1 unsigned, 2 signed, 3 floats.
        photometric: 1 black is zero, 0 white is zero.
    """
    tags = [(256, 3, 2), (257, 3, 2), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 200)]
    tags += [(277, 3, 1), (278, 3, 2), (279, 4, len(values)), (339, 3, form)]
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + table + struct.pack("<I", 0)
    return Image.open(io.BytesIO(head.ljust(200, b"\0") + values))


def test_a_tiff_says_how_many_bits_are_white() -> None:
    # four values of 12 bits: 0xFFF, 0x800 | 0x000, 0x7FF; two of them in three bytes, each row padded to bytes
    picture = tiff(bytes.fromhex("FFF8000007FF"), bits=12)
    # 2048 / 4095 * 255 = 127.53, 2047 / 4095 * 255 = 127.47
    assert seen(picture) == grey(255, 128, 0, 127)


def test_a_tiff_says_whether_zero_is_white() -> None:
    values = SIXTEEN.astype("<u2").tobytes()
    assert seen(tiff(values, bits=16)) == grey(0, 1, 128, 255)
    assert seen(tiff(values, bits=16, photometric=0)) == grey(255, 254, 127, 0)
    eight = bytes([0, 1, 128, 255])
    assert seen(tiff(eight, bits=8, photometric=0)) == grey(255, 254, 127, 0)


def test_floats_are_taken_from_0_to_1(tmp_path: Path) -> None:
    values = np.array([[0, 0.5], [0.2, 1]], np.float32)
    expected = grey(0, 128, 51, 255)
    assert seen(Image.fromarray(values)) == expected
    assert seen(opened(Image.fromarray(values), "TIFF")) == expected
    assert seen(opened(Image.fromarray(values), "PPM")) == expected  # a PFM


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0, 1, 2, 255], "floats from 0 to 255"),
        ([0, -1, 0, 0], "floats from -1 to 0"),
        ([0, 0, float("nan"), 1], "floats from nan to nan"),
        ([0, 0, 0, float("inf")], "floats from 0 to inf"),
        ([0, 0, 0, -float("inf")], "floats from -inf to 0"),
    ],
)
def test_floats_beyond_are_refused_with_their_range(values: list[float], told: str) -> None:
    with pytest.raises(DatasetError, match=rf"mode F holds {told}; allowed: 0 \(black\) to 1 \(white\)"):
        seen(of("F", values))


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (lambda: of("I", [0, 5, 9, 255]), "mode I of a picture in memory holds integers from 0 to 255"),
        (lambda: opened(of("I", [0, 5, 9, 65535]), "TIFF"), "mode I of TIFF holds integers from 0 to 65535"),
        (lambda: of("I", [-7, 5, 9, 70000]), "integers from -7 to 70000"),
        (lambda: tiff(struct.pack("<4h", -5, 0, 1, 2), bits=16, form=2), "mode I of TIFF holds integers from -5 to 2"),
    ],
)  # fmt: skip
def test_integers_that_do_not_say_what_is_white_are_refused(picture: Any, told: str) -> None:
    with pytest.raises(
        DatasetError, match=f"{told} and does not say which is white. Save it with 8 or 16 bits"
    ):
        seen(picture())


def test_alpha_is_composited_on_white() -> None:
    black, red = (0, 0, 0), (255, 0, 0)
    picture = of("RGBA", [(*black, 0), (*black, 255), (*black, 51), (*red, 102)])
    # 51 is a fifth: 255 * 4 / 5 = 204; 102 is two fifths: the white behind red leaves 153
    expected = [[255] * 3, [0] * 3, [204] * 3, [255, 153, 153]]
    assert seen(picture) == expected
    assert seen(opened(picture, "PNG")) == expected
    assert seen(opened(picture, "WEBP", lossless=True, exact=True)) == expected
    assert seen(picture.convert("RGBa")) == expected, "colours that are multiplied by alpha already"


def test_grey_with_alpha_is_composited_on_white() -> None:
    picture = of("LA", [(0, 0), (0, 255), (0, 51), (100, 255)])
    expected = grey(255, 0, 204, 100)
    assert seen(picture) == expected
    assert seen(opened(picture, "PNG")) == expected
    assert seen(picture.convert("La")) == expected


def palette_picture() -> Image.Image:
    picture = of("P", [0, 1, 2, 1])
    picture.putpalette([0, 0, 0, 10, 20, 30, 200, 100, 0])
    return picture


def test_palettes_may_have_transparent_colours() -> None:
    picture = palette_picture()
    colours = [[0, 0, 0], [10, 20, 30], [200, 100, 0], [10, 20, 30]]
    white = [255] * 3
    assert seen(picture) == colours
    assert seen(opened(picture, "PNG")) == colours
    assert seen(opened(picture, "PNG", transparency=1)) == [colours[0], white, colours[2], white]
    assert seen(opened(picture, "PNG", transparency=bytes([0, 255, 255]))) == [white, *colours[1:]]
    assert seen(opened(picture, "GIF", transparency=2)) == [*colours[:2], white, colours[3]]
    with_alpha = Image.merge("RGBA", [*picture.convert("RGB").split(), of("L", [0, 255, 255, 255])])
    assert seen(with_alpha.convert("PA" if "PA" in Image.MODES else "RGBA"))[0] == white


def test_one_colour_may_be_transparent() -> None:
    white = [255] * 3
    rgb = of("RGB", [(9, 8, 7), (1, 2, 3), (9, 8, 7), (4, 5, 6)])
    assert seen(opened(rgb, "PNG", transparency=(9, 8, 7))) == [white, [1, 2, 3], white, [4, 5, 6]]
    assert seen(opened(of("L", [0, 9, 0, 200]), "PNG", transparency=0)) == grey(255, 9, 255, 200)
    assert seen(opened(of("1", [0, 1, 1, 0]), "PNG", transparency=0)) == grey(255, 255, 255, 255)
    sixteen = png(
        16, 0, [struct.pack(">2H", 0, 25700), struct.pack(">2H", 0, 65535)], width=2, transparent=b"\0\0"
    )
    assert seen(sixteen) == grey(255, 100, 255, 255)


def test_a_transparent_colour_is_compared_in_the_bits_of_the_file() -> None:
    # 2 bits a pixel: 0, 1, 2, 3, of which 1 (grey 85) is transparent; 4 bits: 1 (grey 17)
    two = png(2, 0, [bytes([0b00010000]), bytes([0b10110000])], width=2, transparent=b"\0\1")
    assert seen(two) == grey(0, 255, 170, 255)
    four = png(4, 0, [bytes([0x01]), bytes([0x2F])], width=2, transparent=b"\0\1")
    assert seen(four) == grey(0, 255, 34, 255)
    rows = [struct.pack(">6H", 0x1234, 0, 0, 0x8000, 0, 0), struct.pack(">6H", 0, 0, 0, 0x1234, 0, 0)]
    colours = png(16, 2, rows, width=2, transparent=struct.pack(">3H", 0x1234, 0, 0))
    assert seen(colours) == [[255] * 3, [128, 0, 0], [0, 0, 0], [255] * 3]


# what stands in the four corners of the stored picture, and where each is seen after EXIF's orientation 1 to 8
STORED = [0, 50, 100, 150]
UPRIGHT = {
    1: (0, 50, 100, 150), 2: (50, 0, 150, 100), 3: (150, 100, 50, 0), 4: (100, 150, 0, 50),
    5: (0, 100, 50, 150), 6: (100, 0, 150, 50), 7: (150, 50, 100, 0), 8: (50, 150, 0, 100),
}  # fmt: skip


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_pictures_are_seen_upright(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    assert seen(opened(of("L", STORED), form, exif=exif)) == grey(*UPRIGHT[orientation])
    sixteen = Image.fromarray(np.array(STORED, np.uint16).reshape(2, 2) * 257)
    assert seen(opened(sixteen, form, exif=exif)) == grey(*UPRIGHT[orientation])


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_is_none_turns_nothing(value: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    assert seen(opened(of("L", STORED), "PNG", exif=exif)) == grey(*STORED)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
@pytest.mark.parametrize(
    "torn", [b"II*\0", b"garbage", b"b'Exif\\x00", b"Exif\0\0\0\x08\0\x02\x01\x12\0\x03"]
)
def test_torn_exif_makes_no_picture_unreadable(form: str, torn: bytes) -> None:
    """Programs write such (python-pillow/Pillow#5528, #8348); the pixels are sound, and nothing says that they are turned."""
    file = opened(of("L", STORED), form, exif=torn, lossless=True)
    with pytest.raises(Exception, match=r"TIFF|unpack"):
        file.getexif()
    assert seen(opened(of("L", STORED), form, exif=torn, lossless=True)) == grey(*STORED)


def test_a_torn_profile_of_imagemagick_makes_no_picture_unreadable() -> None:
    told = PngInfo()
    told.add_text("Raw profile type exif", "\nexif\n      10\nzzzz")
    assert seen(opened(of("L", STORED), "PNG", pnginfo=told)) == grey(*STORED)


def test_a_photograph_is_turned_as_its_camera_was_held() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    wide = Image.new("L", (32, 16))
    wide.paste(255, (0, 0, 16, 16))  # the left half is white: turned clockwise, it comes on top
    found = square(opened(wide, "JPEG", exif=exif, quality=95), Framing(4))[:, :, 0]
    assert found.min(axis=1).tolist()[0] > 200
    assert found.max(axis=1).tolist()[3] < 50


def test_bits_greys_and_colours_are_what_they_were() -> None:
    assert seen(of("1", [0, 1, 1, 0])) == grey(0, 255, 255, 0)
    assert seen(of("L", [0, 7, 100, 255])) == grey(0, 7, 100, 255)
    colours = [[1, 2, 3], [255, 0, 0], [0, 255, 9], [9, 9, 9]]
    assert seen(of("RGB", [tuple(one) for one in colours])) == colours
    assert seen(of("RGBX", [(*one, 0) for one in colours])) == colours
    cmyk = of("CMYK", [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 255)])
    assert seen(cmyk) == [[255] * 3, [0, 255, 255], [255, 0, 0], [0] * 3]
    hsv = of("HSV", [(0, 0, 0), (0, 0, 255), (0, 255, 255), (85, 255, 255)])
    assert seen(hsv) == [[0] * 3, [255] * 3, [255, 0, 0], [0, 255, 0]]
    ycbcr = of("YCbCr", [(0, 128, 128), (255, 128, 128), (100, 128, 128), (50, 128, 128)])
    assert seen(ycbcr) == grey(0, 255, 100, 50)


def test_lab_is_converted() -> None:
    # a = b = 0 is 128 in Pillow; L* = 128 / 2.55 = 50.2 has a luminance of 0.1866, which is sRGB 119.5
    picture = of("LAB", [(0, 128, 128), (255, 128, 128), (128, 128, 128), (128, 128, 128)])
    for one in (picture, opened(picture, "TIFF")):
        assert np.abs(np.array(seen(one)) - grey(0, 255, 120, 120)).max() <= 2


def test_the_first_frame_of_several_is_taken() -> None:
    first, second = of("L", [0, 50, 100, 150]), of("L", [255] * 4)
    for form in ("GIF", "TIFF", "PNG"):
        assert seen(opened(first, form, save_all=True, append_images=[second])) == grey(*STORED)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_metadata_that_say_nothing_hide_no_pixels() -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 20)
    assert seen(Image.open(io.BytesIO(file.getvalue()))) == grey(*[0] * 16)


def test_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (30, 30)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with pytest.raises(Image.DecompressionBombError):
        read_square(tmp_path / "bomb.png", Framing(4))


def test_a_large_picture_is_read_as_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (9, 9), 77).save(tmp_path / "a.png")
    monkeypatch.setattr("trainables.datasets.pictures.LARGE", 80)
    assert set(read_square(tmp_path / "a.png", Framing(4)).reshape(-1).tolist()) == {77}


def test_a_picture_that_is_a_program_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(DatasetError, match="an EPS file is a program, which is not run"):
        read_square(tmp_path / "a.png", Framing(4))
