"""Broken pictures and texts: each is left out with its reason or refused in one message; none ends a training later."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.unit.trainables.datasets.formats.made_data import read
from tests.unit.trainables.datasets.prepare import public
from trainables.datasets.prepare.form import MANIFEST, SHARDS


def table(root: Path, rows: list[dict[str, Any]]) -> Path:
    """Write two good pictures, one to train on and one to validate on, and more rows to train on."""
    root.mkdir(parents=True, exist_ok=True)
    good = [
        {"image": "good.jpg", "caption": "good", "split": "train"},
        {"image": "val.jpg", "caption": "v", "split": "val"},
    ]
    public.put(root / "good.jpg", 1)
    public.put(root / "val.jpg", 2)
    told = [*good, *({"split": "train"} | row for row in rows)]
    (root / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    return root / "data.jsonl"


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def bomb() -> bytes:
    """Return a PNG whose header says that it has 40,000 x 40,000 pixels."""
    content = bytearray(encoded(Image.new("1", (1, 1)), "PNG"))
    content[16:24] = (40_000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    return bytes(content)


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "zero-byte": (lambda: b"", "it is empty"),
    "cut JPEG": (lambda: encoded(noise(), "JPEG")[:-500], "truncated"),
    "cut PNG": (lambda: encoded(noise(), "PNG")[:-500], "truncated"),
    "text": (lambda: b"<html>404</html>" * 20, "of another format"),
    "no header": (lambda: encoded(noise(), "JPEG")[4:], "of another format"),
    "decompression bomb": (bomb, "decompression bomb"),
    "a line": (lambda: encoded(Image.new("RGB", (5000, 9)), "PNG"), "5000 x 9 is a line; allowed: one side"),
}

SOUND: dict[str, Callable[[], bytes]] = {
    "grey": lambda: encoded(noise().convert("L"), "JPEG"),
    "CMYK": lambda: encoded(noise().convert("CMYK"), "JPEG"),
    "16 bits": lambda: encoded(Image.fromarray(np.full((9, 9), 40_000, dtype=np.uint16)), "PNG"),
    "animated": lambda: encoded(noise(), "GIF", save_all=True, append_images=[noise().rotate(90)]),
    "palette with alpha": lambda: encoded(noise().convert("P"), "PNG", transparency=3),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_picture_is_left_out_and_told(tmp_path: Path, name: str) -> None:
    make, why = BROKEN[name]
    file = table(tmp_path / "own", [{"image": "bad.jpg", "caption": "bad"}])
    (tmp_path / "own" / "bad.jpg").write_bytes(make())
    assert public.prepare("jsonl", file, tmp_path / "out") == 0
    (told,) = public.quarantine(tmp_path / "out")
    assert (told["what"], told["name"], told["place"]) == ("picture", "bad.jpg", "data.jsonl:3")
    assert why in told["reason"]
    assert read(public.opened(tmp_path / "out"), "train").captions == ["good"]
    assert any(
        "left out while it was prepared: 1 picture" in one
        for one in public.opened(tmp_path / "out").remarks()
    )


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("flags", [(), ("--longest-side", "16")], ids=["as they are", "made smaller"])
def test_a_picture_of_an_odd_mode_is_kept(tmp_path: Path, name: str, flags: tuple[str, ...]) -> None:
    file = table(tmp_path / "own", [{"image": "odd.jpg", "caption": "odd"}])
    (tmp_path / "own" / "odd.jpg").write_bytes(SOUND[name]())
    assert public.prepare("jsonl", file, tmp_path / "out", *flags) == 0
    assert public.quarantine(tmp_path / "out") == []
    assert read(public.opened(tmp_path / "out"), "train").captions == ["good", "odd"]


def test_larger_pictures_are_made_smaller_and_others_keep_their_bytes(tmp_path: Path) -> None:
    file = table(tmp_path / "own", [{"image": "large.png", "caption": "large"}])
    public.save(Image.new("RGB", (300, 200), (10, 200, 30)), tmp_path / "own" / "large.png")
    assert public.prepare("jsonl", file, tmp_path / "out", "--longest-side", "60") == 0
    small, large = public.opened(tmp_path / "out")._rows["train"].places  # type: ignore[attr-defined]
    assert small.content() == (tmp_path / "own" / "good.jpg").read_bytes()
    with Image.open(io.BytesIO(large.content())) as picture:
        assert (picture.format, picture.size) == ("JPEG", (60, 40))
        assert np.allclose(np.asarray(picture.convert("RGB")), (10, 200, 30), atol=3)


@pytest.mark.parametrize(
    ("caption", "why"),
    [
        ("", "is empty"),
        (" \n\t", "is empty"),
        ("\u200b", "is empty"),
        (17, "is no text but int 17"),
        (None, ""),
        ({"a": 1}, "is no text but dict"),
        ("x" * 10_000, "has 10,000 letters; allowed: 2,000"),
        ("a \ud800", "lone surrogate"),
    ],
)
def test_a_caption_that_is_none_is_left_out_and_told(tmp_path: Path, caption: Any, why: str) -> None:
    file = table(tmp_path / "own", [{"image": "two.jpg", "captions": ["fine", caption]}])
    public.put(tmp_path / "own" / "two.jpg", 3)
    assert public.prepare("jsonl", file, tmp_path / "out") == 0
    (told,) = public.quarantine(tmp_path / "out")
    assert (told["what"], told["name"], told["place"]) == ("caption", "two.jpg", "data.jsonl:3 caption[1]")
    assert why in told["reason"]
    assert read(public.opened(tmp_path / "out"), "train").captions == ["good", "fine"]


def test_a_picture_whose_captions_are_all_gone_is_left_out(tmp_path: Path) -> None:
    file = table(tmp_path / "own", [{"image": "two.jpg", "captions": ["", " "]}])
    public.put(tmp_path / "own" / "two.jpg", 3)
    assert public.prepare("jsonl", file, tmp_path / "out") == 0
    assert [one["what"] for one in public.quarantine(tmp_path / "out")] == ["caption", "caption", "picture"]
    assert read(public.opened(tmp_path / "out"), "train").num_images == 1


def test_other_scripts_are_kept(tmp_path: Path) -> None:
    told = ["ένας σκύλος", "一只狗", "कुत्ता", "كلب", "🐕"]
    file = table(tmp_path / "own", [{"image": "two.jpg", "captions": told}])
    public.put(tmp_path / "own" / "two.jpg", 3)
    assert public.prepare("jsonl", file, tmp_path / "out") == 0
    assert read(public.opened(tmp_path / "out"), "train").captions[1:] == told
    assert read(public.opened(tmp_path / "out", text="plain"), "train").captions[1:] == told


@pytest.mark.parametrize("line", [b"{not json", b"[1, 2]", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_a_line_that_is_no_row_is_left_out_and_told(tmp_path: Path, line: bytes) -> None:
    file = table(tmp_path / "own", [])
    file.write_bytes(file.read_bytes() + line + b"\n")
    assert public.prepare("jsonl", file, tmp_path / "out") == 0
    (told,) = public.quarantine(tmp_path / "out")
    assert told["place"] == "data.jsonl:3"


def test_nothing_left_is_refused_with_an_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = table(tmp_path / "own", [])
    (tmp_path / "own" / "val.jpg").write_bytes(b"")
    assert public.prepare("jsonl", file, tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "no val picture can be read; 1 entries are left out, such as data.jsonl:2: it is empty" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--vg", "."), "--vg: is not read by --kind jsonl; allowed for: vqav2"),
        (("--annotations", "x"), "--annotations: is not read by --kind jsonl"),
        (("--val-ratio", "1.5"), "--val-ratio, --test-ratio: got 1.5"),
        (("--longest-side", "3"), "--longest-side: got 3"),
        (("--shard-pictures", "0"), "--shard-pictures: got 0"),
        (("--image-root", "/nowhere"), "--image-root /nowhere: does not exist"),
    ],
)
def test_flags_that_cannot_be_used_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], why: str
) -> None:
    assert public.prepare("jsonl", table(tmp_path / "own", []), tmp_path / "out", *flags) == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flag", ["--root", "--out", "--image-root"])
def test_an_empty_place_is_not_the_folder_one_is_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        public.prepare("jsonl", table(tmp_path / "own", []), tmp_path / "out", flag, "")
    assert ended.value.code == 2
    assert f"argument {flag}: got ''; allowed: a path" in capsys.readouterr().err


def test_a_flipped_byte_in_a_shard_is_refused_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.unit.trainables.datasets.formats.made_data import error_of

    file = table(tmp_path / "own", [])
    assert public.prepare("jsonl", file, tmp_path / "out") == 0
    before = public.manifest(tmp_path / "out")
    shard = tmp_path / "out" / SHARDS / "train-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    assert "1 shards hold other bytes than were written: train-00000.arrow" in error_of(
        "prepared", tmp_path / "out"
    )
    assert public.prepare("jsonl", file, tmp_path / "out") == 0
    assert "train-00000.arrow: damaged; it is made anew" in capsys.readouterr().err
    assert public.manifest(tmp_path / "out") == before
    assert read(public.opened(tmp_path / "out"), "train").captions == ["good"]


def test_a_folder_that_was_not_prepared_is_refused_with_the_command(tmp_path: Path) -> None:
    from tests.unit.trainables.datasets.formats.made_data import error_of

    assert "Prepare the data first: python -m trainables.datasets.prepare" in error_of("prepared", tmp_path)
    assert public.prepare("jsonl", table(tmp_path / "own", []), tmp_path / "out") == 0
    (tmp_path / "out" / MANIFEST).rename(tmp_path / "kept.json")
    assert "its preparation is not finished. Give the same command again" in error_of(
        "prepared", tmp_path / "out"
    )
    (tmp_path / "out" / MANIFEST).write_text("{")
    assert "damaged" in error_of("prepared", tmp_path / "out")
