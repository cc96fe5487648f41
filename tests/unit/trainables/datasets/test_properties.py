"""Whatever a user's data holds: a result, or an error that names the place; never another exception."""

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from spaces.errors import DatasetError
from trainables.datasets.base import Split
from trainables.datasets.jsonl import JsonlDataset
from trainables.datasets.pictures import square
from trainables.preprocess import Framing

pytestmark = [pytest.mark.properties, pytest.mark.timeout(3000), pytest.mark.filterwarnings("ignore")]

T = TypeVar("T")

SIDE = 4
NAMES = ("image", "caption", "captions", "question", "answer", "questions", "split")
PICTURES = ("a.png", "b.png", "./a.png", "sub/c.gif", "link.png")
PLACES = (
    *PICTURES,
    "pipe",
    "sub",
    "broken.png",
    "loop",
    "/dev/zero",
    "",
    ".",
    "..",
    "x" * 300,
    "a\0b",
    "~",
    "a.png/b",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder of good and odd files, with a cache of its own; pictures beyond 100,000 pixels are bombs here."""
    made = tmp_path_factory.mktemp("data")
    (made / "sub").mkdir()
    for level, name in enumerate(("a.png", "b.png", "sub/c.gif")):
        Image.new("L", (5, 3), 90 * level).save(made / name)
    (made / "link.png").symlink_to("b.png")
    (made / "loop").symlink_to("loop")
    (made / "broken.png").write_bytes(b"no picture")
    os.mkfifo(made / "pipe")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(made / "cache"))
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
        yield made


def split_of(data: JsonlDataset, name: str) -> Split:
    return data.split(name, framing=Framing(SIDE), progress=lambda line: None)


def told(error: str, file: Path) -> None:
    """Check that a message names the file, is told in few lines, and can be printed."""
    lines = error.splitlines()
    assert 1 <= len(lines) <= 11
    assert str(file) in lines[0]
    assert all(line.isprintable() and len(line) < 2000 for line in lines), lines
    if re.search(r": (holds no rows|no (training|validation) rows)", lines[0]) is None:
        assert re.match(rf"{re.escape(str(file))}:\d+: ", lines[0]), lines[0]


def tried(call: Callable[[], T]) -> tuple[T | None, str | None]:
    """Return what a call gives, or the message of the error that it may raise."""
    try:
        return call(), None
    except DatasetError as error:
        note(str(error))
        return None, str(error)


def result(file: Path, **options: Any) -> JsonlDataset | None:
    """Read a data set whole; None where it is refused with a message that names the place."""

    def read() -> tuple[JsonlDataset, list[Split]]:
        data = JsonlDataset(JsonlDataset.Config(file=str(file), **options))
        return data, [split_of(data, name) for name in data.split_names]

    found, error = tried(read)
    if found is None:
        told(str(error), file)
        return None
    data, splits = found
    assert {split.name for split in splits} >= {"train", "val"}
    for split in splits:
        assert split.pixels.shape == (split.num_images, SIDE, SIDE, 3)
        assert set(split.caption_images.tolist()) == set(range(split.num_images))
        assert len(split.questions) == len(split.answers) == len(split.question_images)
        assert all(text.strip() for text in (*split.captions, *split.questions, *split.answers))
    assert data.describe().isprintable()
    return data


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**4000, -(10**4299), 2**63, 1e300])
    | st.floats()
    | st.text()
    | st.sampled_from(
        [*PLACES, *NAMES, "train", "val", "test", "\ud800", "\u200b", "a dog", "\x1b[2J", "A" * 5000]
    )
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
# mostly sound, so that odd values meet rows that would otherwise pass
sound = st.fixed_dictionaries(
    {
        "image": st.sampled_from(PICTURES),
        "caption": st.just("a dog"),
        "split": st.sampled_from(["train", "val"]),
    }
)
odd = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), values, max_size=3)
rows = sound | st.builds(lambda row, changes: row | changes, sound, odd) | odd | values


@given(some=st.lists(rows, max_size=6))
def test_any_json_rows(folder: Path, some: list[Any]) -> None:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in some))
    data = result(file)
    if data is not None:
        assert sum(split_of(data, name).num_images for name in data.split_names) <= len(some)


VALID = "".join(
    json.dumps({"image": name, "caption": "a dog", "question": "why ?", "answer": "so", "split": split})
    + "\n"
    for name, split in (("a.png", "train"), ("b.png", "val"))
).encode()


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return bytes that were changed, cut out, doubled or put in at some places, and perhaps cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        put = draw(
            st.binary(max_size=4)
            | st.sampled_from([b"\xff" * 4, b"\0" * 4, b"[" * 3000, b"\x7f\xff\xff\xff"])
        )
        data[place : place + draw(st.sampled_from([0, 1, len(put), 50]))] = put
    end = draw(st.just(len(data)) | st.integers(0, len(data)))
    return bytes(data[:end])


@given(
    content=damaged(VALID) | st.binary(max_size=200) | st.binary(max_size=40).map(lambda some: VALID + some)
)
def test_any_bytes_as_a_jsonl_file(folder: Path, content: bytes) -> None:
    file = folder / "bytes.jsonl"
    file.write_bytes(content)
    result(file)


@given(names=st.tuples(*[st.text(max_size=8) | st.sampled_from(NAMES) for _ in range(3)]))
def test_any_names_of_fields(folder: Path, names: tuple[str, str, str]) -> None:
    file = folder / "fields.jsonl"
    file.write_bytes(VALID)
    options: dict[str, Any] = dict(zip(("image_field", "caption_field", "split_field"), names, strict=True))
    _, error = tried(lambda: JsonlDataset(JsonlDataset.Config(file=str(file), **options)))
    if error is None:
        result(file, **options)
    else:
        assert "allowed: three different printable names" in error
        assert len(set(names)) < 3 or "" in names or not all(map(str.isprintable, names))


@given(place=st.text() | st.sampled_from(PLACES), of_root=st.booleans())
def test_any_text_as_a_place(folder: Path, place: str, of_root: bool) -> None:
    (folder / "good.jsonl").write_bytes(VALID)
    good = str(folder / "good.jsonl")
    options: dict[str, Any] = {"file": good, "image_root": place} if of_root else {"file": place}
    _, error = tried(lambda: JsonlDataset(JsonlDataset.Config(**options)))
    if error is not None:
        assert error.startswith("dataset.image_root: " if of_root else "dataset.file: ")
        assert error.isprintable()


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def samples() -> list[bytes]:
    """Return small pictures of many formats, modes and kinds of metadata."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 11, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    sixteen = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    floats = Image.fromarray(noise[..., 0].astype(np.float32) / 255)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    found = [
        saved(rgb, form)
        for form in (
            "PNG",
            "JPEG",
            "GIF",
            "BMP",
            "TIFF",
            "WEBP",
            "PPM",
            "TGA",
            "PCX",
            "SGI",
            "QOI",
            "DDS",
            "ICO",
        )
    ]
    found += [saved(rgba, form) for form in ("PNG", "WEBP", "TIFF", "JPEG2000", "ICO", "TGA")]
    found += [saved(sixteen, form) for form in ("PNG", "TIFF", "JPEG2000", "PPM")]
    found += [
        saved(floats, "TIFF"),
        saved(floats, "PPM"),
        saved(rgb.convert("LAB"), "TIFF"),
        saved(rgb.convert("CMYK"), "JPEG"),
    ]
    found += [saved(rgb, form, exif=exif) for form in ("PNG", "JPEG", "WEBP", "TIFF")]
    found += [
        saved(grey, "PNG", transparency=7),
        saved(rgb.quantize(4), "PNG", transparency=b"\0\xff\x80"),
        saved(grey.convert("1"), "PNG"),
    ]
    found += [
        saved(grey, form, save_all=True, append_images=[grey])
        for form in ("GIF", "TIFF", "PNG", "WEBP", "MPO")
    ]
    return [*found, saved(rgb, "TIFF", compression="tiff_lzw"), saved(rgb, "JPEG", progressive=True)]


SAMPLES = samples()
MAGIC = [sample[:20] for sample in SAMPLES] + [
    b"%!PS-Adobe-3.0 EPSF-3.0\n",
    b"SIMPLE  =",
    b"8BPS\0\1",
    b"\x00\x00\x00\x1cftypavif",
]
contents = (
    st.sampled_from(SAMPLES).flatmap(damaged)
    | st.binary(max_size=300)
    | st.builds(lambda head, rest: head + rest, st.sampled_from(MAGIC), st.binary(max_size=300))
)


@given(content=contents)
def test_any_bytes_as_a_picture(folder: Path, content: bytes) -> None:
    file, picture = folder / "picture.jsonl", folder / "picture.bin"
    picture.write_bytes(content)
    file.write_text(
        json.dumps({"image": "a.png", "caption": "a dog", "split": "train"}) + "\n"
        + json.dumps({"image": "picture.bin", "caption": "a dog", "split": "val"}) + "\n"
    )  # fmt: skip
    found, error = tried(lambda: split_of(JsonlDataset(JsonlDataset.Config(file=str(file))), "val"))
    if error is not None:
        told(error, file)
        assert error.startswith(f"{file}:2: ")
        assert str(picture) in error
    if found is not None:
        assert found.pixels.shape == (1, SIDE, SIDE, 3)


@given(stored=arrays.arrays(np.uint16, (3, 3)))
def test_any_picture_of_16_bits_is_scaled_by_its_range(stored: np.ndarray) -> None:
    found = square(Image.open(io.BytesIO(saved(Image.fromarray(stored), "PNG"))), Framing(3))
    assert np.array_equal(found[..., 0], np.floor(stored.astype(np.float64) / 257 + 0.5))
    assert np.array_equal(found[..., 0], found[..., 2])


@given(stored=arrays.arrays(np.uint8, (3, 3, 4)))
def test_any_picture_with_alpha_lies_on_white(stored: np.ndarray) -> None:
    found = square(Image.open(io.BytesIO(saved(Image.fromarray(stored), "PNG"))), Framing(3)).astype(
        np.float64
    )
    alpha = stored[..., 3:].astype(np.float64) / 255
    assert np.abs(found - (stored[..., :3] * alpha + 255 * (1 - alpha))).max() <= 1


@given(
    mode=st.sampled_from(sorted(Image.MODES)),
    size=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    data=st.data(),
)
def test_any_picture_in_memory(mode: str, size: tuple[int, int], data: st.DataObject) -> None:
    picture = Image.new(mode, size)
    if min(size):
        width = len(picture.tobytes())
        picture.frombytes(data.draw(st.binary(min_size=width, max_size=width)))
    transparent = data.draw(
        st.none() | st.integers(0, 300) | st.binary(max_size=4) | st.tuples(*[st.integers(0, 255)] * 3)
    )
    if transparent is not None and mode in ("1", "L", "P", "RGB"):
        picture.info["transparency"] = transparent
    broken = (ValueError, TypeError) if transparent is not None else ()
    try:
        found, _ = tried(lambda: square(picture, Framing(SIDE)))
    except broken:  # as Pillow tells it; `embed_images` adds the picture's number
        return
    if found is not None:
        assert found.shape == (SIDE, SIDE, 3)
        assert found.dtype == np.uint8
